"""Pool on a bad network: sessions that died unseen, greetings that are cut, warm sessions that do not last."""

from __future__ import annotations

import pytest
from pools import WatchedPool, begun
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError, NitroSocksError, Refused
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.net.timers import now

# -- sessions that died unseen ----------------------------------------------------------------------------------------


def test_a_session_that_is_silent_behind_open_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPEN_HEARD", 0.1)
    monkeypatch.setattr(limits, "FRESH", 0.0)
    with World(proxy=True, heartbeat=300) as world:
        pool, port = WatchedPool(world), world.target(echo)
        assert [each.ask(b"x") for each in [begun(pool, port), begun(pool, port)]] == [b"x", b"x"]
        pool.wait(lambda: pool.free == 2)
        world.proxy.blackhole(new=False)
        opened = Opened(pool, port)
        assert opened.ask(b"hello") == b"hello" and opened.end().ended_well
        assert (pool.made, pool.alive) == (3, 2), "the other one that waited is not asked"
        world.proxy.restore()


def test_a_session_that_answers_open_is_not_disturbed() -> None:
    with World() as world:
        pool, before = WatchedPool(world), now()
        pool.start()
        opened = begun(pool, world.target(echo))
        (session,) = pool._alive
        session._look_for_answer(session.tunnel.stream, before)
        assert session.tunnel.outcome is None and opened.ask(b"x") == b"x" and pool.made == 1


def test_early_data_binds_a_stream_to_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been delivered; a reconnection sorts that out."""
    monkeypatch.setattr(limits, "FRESH", BOUND)
    with World(proxy=True) as world:
        pool, port = WatchedPool(world), world.target(echo)
        pool.start()
        world.proxy.blackhole(new=False)
        opened = Opened(pool, port)
        opened.near.sendall(b"x")
        (session,) = pool._alive
        stream = session.tunnel.stream
        world.proxy.wait(lambda: stream.took_data, BOUND)
        session._look_for_answer(stream, now())
        assert session.tunnel.outcome is None
        world.proxy.restore()
        assert opened.near.recv(1) == b"x" and pool.made == 1


# -- greetings that are cut -------------------------------------------------------------------------------------------

CUTS = [("up", 200), ("up", 2_000), ("down", 1_000), ("down", 3_000)]


@pytest.mark.parametrize("rst", [True, False])
@pytest.mark.parametrize(("direction", "after"), CUTS)
def test_a_greeting_that_is_cut_is_made_again(direction: str, after: int, rst: bool) -> None:
    with World(proxy=True) as world:
        pool, port = WatchedPool(world), world.target(echo)
        first = begun(pool, port)
        for _ in range(2):
            world.proxy.cut_after(after, direction, rst)
        assert Opened(pool, port).ask(b"hello") == b"hello"
        assert first.ask(b"x") == b"x" and pool.made == 2 and world.proxy.connections >= 3


def test_the_first_greeting_is_made_once() -> None:
    with World(proxy=True) as world:
        pool = WatchedPool(world)
        world.proxy.cut_after(2_000, which="each")
        with pytest.raises(NitroSocksError):
            pool.start()
        with (opened := Opened(pool, world.target(echo))).near:
            assert opened.end().lost
        assert world.proxy.connections == 2


def failing_greet(pool: WatchedPool, error: Exception) -> list[None]:
    """Every greeting fails from now on; counts them."""
    asked: list[None] = []

    def greet() -> None:
        asked.append(None)
        pool._tell()
        raise error

    pool._dialler.greet = greet
    return asked


def test_a_refusal_is_final() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        begun(pool, port)
        asked = failing_greet(pool, Refused(Refusal.FULL))
        with (opened := Opened(pool, port)).near:
            assert opened.end().lost == "the server refuses: the server is full"
        assert len(asked) == 1


def test_greetings_end_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(limits, "GREET_AGAIN", 0.1)
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        begun(pool, port)
        asked = failing_greet(pool, NetworkError("cut"))
        with (opened := Opened(pool, port)).near:
            assert opened.end().lost == "cut"
        assert 1 < len(asked) < 9


def test_close_ends_greetings_that_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST", BOUND)
    monkeypatch.setattr(limits, "GREET_AGAIN", 2 * BOUND)
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        begun(pool, port)
        asked = failing_greet(pool, NetworkError("cut"))
        opened = Opened(pool, port)
        pool.wait(lambda: asked)
        pool.close(BOUND)
        assert opened.end().lost == "cut"


# -- warm sessions that do not last -----------------------------------------------------------------------------------


def test_warm_sessions_that_do_not_last_come_after_growing_pauses() -> None:
    with World(proxy=True) as world:
        pool = WatchedPool(world, warm=1)
        pool.start()
        began = now()
        for made in (2, 3, 4):
            world.proxy.cut()
            pool.wait(lambda made=made: pool.made == made and pool.free == 1)
        assert now() - began >= limits.BACKOFF_FIRST * (1 + 2 + 4)
        (session,) = pool._alive
        session.made_at -= limits.BACKOFF_MAX
        world.proxy.cut()
        pool.wait(lambda: pool.made == 5)
        assert pool._pause == limits.BACKOFF_FIRST, "the last one did last"
