"""Pool on a bad network: greetings that are cut are made again for a while, and what waited for one is lost with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pools import WatchedPool, begun
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError, NitroSocksError, Refused
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.session.streams import Ending

CUTS = [("up", 200), ("up", 2_000), ("down", 1_000), ("down", 3_000)]


def alone(pool: WatchedPool) -> None:
    """The pool's session takes no more, so the next stream has another one made."""
    pool.session.tunnel.draining = True


def lost(opened: Opened) -> str:
    """Why the stream was lost."""
    stream = opened.end()
    assert stream.ending is Ending.LOST
    return stream.reason


@pytest.mark.parametrize("rst", [True, False])
@pytest.mark.parametrize(("direction", "after"), CUTS)
def test_a_greeting_that_is_cut_is_made_again(direction: str, after: int, rst: bool) -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = WatchedPool(world), world.target(echo)
        first = begun(pool, port)
        alone(pool)
        for _ in range(2):
            world.proxy.cut_after(after, direction, rst)
        assert Opened(pool, port).ask(b"hello") == b"hello"
        assert first.ask(b"x") == b"x" and pool.made == 2 and world.proxy.connections >= 3


def test_the_first_greeting_is_made_once() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        world.proxy.cut_after(2_000, which="each")
        with pytest.raises(NitroSocksError):
            pool.start()
        assert lost(Opened(pool, world.target(echo)))
        assert world.proxy.connections == 2


def failing_greet(pool: WatchedPool, error: Exception, go: threading.Event | None = None) -> list[None]:
    """Every greeting fails from now on, behind `go`; counts them."""
    asked: list[None] = []

    def greet() -> Any:
        asked.append(None)
        pool._tell()
        if go is not None:
            assert go.wait(BOUND)
        raise error

    pool._dialler.greet = greet  # type: ignore[method-assign]
    return asked


def test_a_refusal_is_final() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        begun(pool, port)
        alone(pool)
        asked = failing_greet(pool, Refused(Refusal.FULL))
        assert lost(Opened(pool, port)) == "the server refuses: the server is full"
        assert len(asked) == 1


def test_greetings_end_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(limits, "GREET_AGAIN", 0.1)
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        begun(pool, port)
        alone(pool)
        asked = failing_greet(pool, NetworkError("cut"))
        assert lost(Opened(pool, port)) == "cut"
        assert 1 < len(asked) < 9


def test_close_ends_greetings_that_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST", BOUND)
    monkeypatch.setattr(limits, "GREET_AGAIN", 2 * BOUND)
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        begun(pool, port)
        alone(pool)
        asked = failing_greet(pool, NetworkError("cut"))
        opened = Opened(pool, port)
        pool.wait(lambda: asked)
        pool.close(BOUND)
        assert lost(opened) == "this side ended it"
        pool.wait(lambda: pool._making == 0)


# -- what waited ------------------------------------------------------------------------------------------------------


def start(pool: WatchedPool) -> None:
    with pytest.raises(NetworkError, match="cut"):
        pool.start()


BEGINS: dict[str, Callable[[WatchedPool], object]] = {
    "the first session": start,
    "one for a stream": lambda pool: lost(Opened(pool, 1)) == "cut",
}


@pytest.mark.parametrize("begin", BEGINS.values(), ids=BEGINS)
def test_all_that_waited_is_lost_and_what_comes_later_is_not(begin: Any) -> None:
    with World() as world:
        pool, port, go = WatchedPool(world), world.target(echo), threading.Event()
        greet, asked = pool._dialler.greet, failing_greet(pool, NetworkError("cut"), go)
        beginner = threading.Thread(target=begin, args=(pool,))
        beginner.start()
        pool.wait(lambda: asked)
        streams = [Opened(pool, port) for _ in range(3)]
        go.set()
        beginner.join(BOUND)
        assert [lost(opened) for opened in streams] == ["cut"] * 3 and len(asked) == 1
        pool._dialler.greet = greet  # type: ignore[method-assign]
        assert Opened(pool, port).ask(b"x") == b"x" and pool.made == 1


def test_what_runs_is_not_lost_with_what_waited() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        running = begun(pool, port)
        alone(pool)
        failing_greet(pool, Refused(Refusal.FULL))
        assert lost(Opened(pool, port))
        assert running.ask(b"x") == b"x" and running.clean


def test_what_waits_goes_where_there_is_room_before_the_next_one_does() -> None:
    """None overtakes another, though the session that they waited for is not there yet."""
    with World() as world:
        pool, port, go = WatchedPool(world), world.target(echo), threading.Event()
        begun(pool, port)
        alone(pool)
        asked = failing_greet(pool, NetworkError("cut"), go)
        first = Opened(pool, port)
        pool.wait(lambda: asked)
        pool.session.tunnel.draining = False
        second = Opened(pool, port)
        assert [each.ask(b"x") for each in (first, second)] == [b"x"] * 2
        assert [each.end().number for each in (first, second)] == [3, 5]
        go.set()
        pool.wait(lambda: pool._making == 0)


# -- one more, ahead of need ------------------------------------------------------------------------------------------


def crowded(pool: WatchedPool) -> None:
    """It is time for one more."""
    pool._rests_until = 0.0
    pool.session.bulk = True
    pool._make_ahead()


def test_one_more_that_cannot_be_made_is_tried_again_after_growing_pauses() -> None:
    with World() as world:
        pool = WatchedPool(world, sessions=2)
        pool.start()
        greet, asked = pool._dialler.greet, failing_greet(pool, NetworkError("cut"))
        for tries in range(1, 9):
            before = now()
            crowded(pool)
            pool.wait(lambda tries=tries: len(asked) == tries and not pool._making)
            pause = min(limits.BACKOFF_FIRST * 2 ** (tries - 1), limits.BACKOFF_MAX)
            assert before + pause <= pool._rests_until <= now() + pause
        pool._make_ahead()
        assert not pool._making, "the pause is under way"
        pool._dialler.greet = greet  # type: ignore[method-assign]
        crowded(pool)
        pool.wait(lambda: pool.alive == 2)
        assert pool._pause == limits.BACKOFF_FIRST


def test_what_waits_meanwhile_gets_a_try_of_its_own() -> None:
    with World() as world:
        pool, port, go = WatchedPool(world, sessions=2), world.target(echo), threading.Event()
        pool.start()
        greet, asked = pool._dialler.greet, failing_greet(pool, NetworkError("cut"), go)
        crowded(pool)
        pool.wait(lambda: asked)
        alone(pool)
        opened = Opened(pool, port)
        pool._dialler.greet = greet  # type: ignore[method-assign]
        go.set()
        assert opened.ask(b"x") == b"x" and pool.made == 2
