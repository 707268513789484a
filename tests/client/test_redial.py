"""Redial: the next connection is there before the old one is left, and none is left over."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from pools import WatchedPool
from roles import Roles
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client.redial import Redial
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.session.tunnel import Outcome

SOON = 0.01


class Line:
    """What Redial knows of a link."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Redialled:
    """A tunnel that counts as connected, and what its Redial did with it."""

    def __init__(self, dial: Callable[[], Line], age: float | None = SOON) -> None:
        self.roles, self.ended = Roles(), threading.Event()
        self.tunnel = self.roles.client
        self.tunnel.outcome = None
        end = self.tunnel.end

        def told(outcome: Outcome, reason: str) -> None:
            end(outcome, reason)
            self.ended.set()

        self.tunnel.end = told
        self.redial = Redial(self.tunnel, dial, age)

    def __enter__(self) -> Redialled:
        return self

    def __exit__(self, *_: object) -> None:
        self.redial.close()
        self.roles.close()


def test_the_pair_ends_when_the_next_connection_is_there() -> None:
    line = Line()
    with Redialled(lambda: line) as made:
        assert made.ended.wait(BOUND) and made.tunnel.outcome is Outcome.LEFT
        assert made.redial.take() is line and made.redial.take() is None
        made.redial.close()
    assert not line.closed.is_set(), "it belongs to whoever took it"


def test_a_connection_that_nobody_took_is_closed() -> None:
    line = Line()
    with Redialled(lambda: line) as made:
        assert made.ended.wait(BOUND)
    assert line.closed.is_set()


@pytest.mark.parametrize("failure", [NetworkError("cut"), OSError(24, "Too many open files")])
def test_a_dial_that_fails_is_tried_again(failure: Exception) -> None:
    line, failures = Line(), [failure, failure]

    def dial() -> Line:
        if failures:
            raise failures.pop()
        return line

    with Redialled(dial) as made:
        assert made.ended.wait(BOUND) and made.redial.take() is line


def test_a_dial_that_ends_behind_the_connection_leaves_nothing() -> None:
    asked, go, line = threading.Event(), threading.Event(), Line()

    def dial() -> Line:
        asked.set()
        assert go.wait(BOUND)
        return line

    with Redialled(dial) as made:
        assert asked.wait(BOUND)
        assert made.redial.take() is None
        go.set()
        assert line.closed.wait(BOUND)
        assert made.tunnel.outcome is None, "it may be on another connection by now"


def test_a_session_that_is_released_does_not_move() -> None:
    line = Line()
    with Redialled(lambda: line, age=None) as made:
        made.tunnel.disconnect()
        made.redial._prepare()
        assert line.closed.is_set() and made.tunnel.outcome is None


def test_without_a_thread_it_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Redialled(Line, age=None) as made:
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        assert made.redial._begin(5.0) == 5.0 + limits.BACKOFF_MAX


# -- with a session ---------------------------------------------------------------------------------------------------


def test_idle_sessions_move_and_none_is_left_behind() -> None:
    with World(proxy=True) as world:
        pool = WatchedPool(world, warm=1, redial=0.2)
        pool.start()
        assert world.proxy.wait_connections(6, BOUND)
        assert pool.made == pool.alive == len(world.registry) == 1
        assert Opened(pool, world.target(echo)).ask(b"hello") == b"hello"


def test_an_outage_amid_a_redial() -> None:
    """The connection is lost while the next one is made: that one is closed, and is not what RESUME goes out on."""
    with World(proxy=True) as world:
        pool = WatchedPool(world, redial=0.2)
        real, made, go = pool._dialler.connect, threading.Event(), threading.Event()

        def connect(server):
            if threading.current_thread().name != "redial":
                return real(server)
            (session,) = pool._alive
            session._redial_age = None
            world.proxy.cut()
            link = real(server)
            made.set()
            assert go.wait(BOUND)
            return link

        opened = Opened(pool, world.target(echo))
        opened.near.sendall(b"x")
        assert opened.near.recv(1) == b"x"
        pool._dialler.connect = connect
        assert made.wait(BOUND)
        opened.near.sendall(b"y")
        assert opened.near.recv(1) == b"y"
        before = world.proxy.connections
        go.set()
        world.proxy.wait(lambda: world.proxy.live == 1, BOUND)
        opened.near.sendall(b"z")
        assert opened.near.recv(1) == b"z" and world.proxy.connections == before, "the session was not disturbed"
