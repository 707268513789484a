"""Roam: the next connection is there before the old one is left, for its age, and none is left over."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pools import WatchedPool, begun
from roaming import SOON, Held, Line, Roaming
from scarce import no_threads
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.session.state import Outcome


def test_the_pair_ends_when_the_next_connection_is_there() -> None:
    line = Line()
    with Roaming(lambda: line, SOON) as made:
        assert made.ended.wait(BOUND) and made.state.outcome is Outcome.LEFT and made.state.reason == "redial"
        assert made.roam.take() is line and made.roam.take() is None
        made.roam.close()
    assert not line.closed.is_set(), "it belongs to whoever took it"


def test_a_connection_that_nobody_took_is_closed() -> None:
    line = Line()
    with Roaming(lambda: line, SOON) as made:
        assert made.ended.wait(BOUND)
    assert line.closed.is_set()


@pytest.mark.parametrize("failure", [NetworkError("cut"), OSError(24, "Too many open files")])
def test_a_dial_that_fails_is_tried_again(failure: Exception) -> None:
    line, failures = Line(), [failure, failure]

    def dial() -> Line:
        if failures:
            raise failures.pop()
        return line

    with Roaming(dial, SOON) as made:
        assert made.ended.wait(BOUND) and made.roam.take() is line


def test_a_dial_that_ends_behind_the_connection_leaves_nothing() -> None:
    line = Line()
    dial = Held(line)
    with Roaming(dial, SOON) as made:
        assert made.asked.acquire(timeout=BOUND)
        assert made.roam.take() is None
        dial.go.set()
        assert line.closed.wait(BOUND)
        assert made.state.outcome is None, "it may be on another connection by now"


def test_a_session_that_is_released_does_not_move() -> None:
    line = Line()
    dial = Held(line)
    with Roaming(dial, SOON) as made:
        assert made.asked.acquire(timeout=BOUND)
        made.state.releasing = now()
        dial.go.set()
        assert line.closed.wait(BOUND) and made.state.outcome is None
        made.roam.doubt("too late")
        assert not made.state.outbox.ping and not made.asked.acquire(blocking=False)


def test_without_a_thread_it_is_tried_later() -> None:
    with Roaming(Line) as made, no_threads("redial"):
        assert made.roam._begin(5.0) == 5.0 + limits.BACKOFF_MAX
        assert made.roam._making == 0


# -- with a session ---------------------------------------------------------------------------------------------------


def test_idle_sessions_move_and_none_is_left_behind() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world, redial=0.2)
        pool.start()
        assert world.proxy.wait_connections(6, BOUND)
        assert pool.made == pool.alive == len(world.registry) == 1
        assert Opened(pool, world.target(echo)).ask(b"hello") == b"hello"


def test_an_outage_amid_a_redial() -> None:
    """The connection is lost while the next one is made: that one is closed, and is not what RESUME goes out on."""
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world, redial=0.2)
        real, made, go = pool._dialler.connect, threading.Event(), threading.Event()

        def connect(server: tuple[str, int]) -> Any:
            if threading.current_thread().name != "redial":
                return real(server)
            pool.session._redial_age = None
            world.proxy.cut()
            link = real(server)
            made.set()
            assert go.wait(BOUND)
            return link

        pool._dialler.connect = connect  # type: ignore[method-assign]
        opened = begun(pool, world.target(echo))
        assert made.wait(BOUND)
        ping(opened)
        before = world.proxy.connections
        go.set()
        world.proxy.wait(lambda: world.proxy.live == 1, BOUND)
        ping(opened)
        assert world.proxy.connections == before, "the session was not disturbed"


def ping(opened: Opened) -> None:
    opened.near.sendall(b"x")
    assert opened.near.recv(1) == b"x"
