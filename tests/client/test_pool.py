"""Pool: warm and reused sessions, their number, what becomes of stale ones, and the end of all."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from loopback import reset, unused_port
from pools import WatchedPool, burst
from world import BOUND, Opened, World, echo, read_all

from nitrosocks_lib.client.session import ClientSession
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.timers import now


def sessions(world: World, count: int) -> bool:
    """Waits until the server has no more sessions than that."""
    return world.registry.wait_empty(lambda _: len(world.registry) > count, BOUND)


# -- warm and reused --------------------------------------------------------------------------------------------------


def test_a_warm_session_opens_without_a_handshake() -> None:
    with World(proxy=True) as world:
        pool, port = WatchedPool(world), world.target(echo)
        pool.start()
        before = world.proxy.bytes_up
        assert Opened(pool, port).ask(b"hello") == b"hello"
        assert (pool.made, world.proxy.connections) == (1, 1)
        assert world.proxy.bytes_up - before < wire.KNOCK + wire.HELLO, "less than the beginning of any handshake"


def test_streams_one_after_another_use_one_session() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        for n in range(30):
            assert burst(pool, port, 1) == [b"question 0"], n
        assert pool.made == 1 and len(world.registry) == 1


def test_fifty_at_once_twice_make_no_new_session() -> None:
    meeting = threading.Barrier(50)

    def together(sock: socket.socket) -> None:
        meeting.wait(BOUND)  # all fifty are open at the same time
        echo(sock)

    with World() as world:
        pool, port = WatchedPool(world), world.target(together)
        expected = [b"question %d" % n for n in range(50)]
        assert burst(pool, port, 50) == expected
        assert pool.made == 50
        assert burst(pool, port, 50) == expected
        assert pool.made == 50 and len(world.registry) == 50


def test_warm_sessions_are_made_behind_the_first_stream() -> None:
    with World() as world:
        pool = WatchedPool(world, warm=2)
        pool.start()
        opened = Opened(pool, world.target(echo))
        pool.wait(lambda: pool.free == 2 and pool.alive == 3)
        assert opened.ask(b"x") == b"x"


def test_warm_sessions_that_cannot_be_made_are_tried_again() -> None:
    with World(proxy=True) as world:
        pool, port = WatchedPool(world, warm=1), world.target(echo)
        pool.start()
        world.proxy.refuse(True)
        opened = Opened(pool, port)
        world.proxy.wait_connections(3)
        world.proxy.refuse(False)
        pool.wait(lambda: pool.free == 1)
        assert opened.ask(b"x") == b"x"


# -- shrinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("warm", "later", "left"), [(0, 1, 4), (0, -1, 0), (1, -1, 1), (3, -1, 3), (9, -1, 4)])
def test_idle_sessions_are_released_down_to_the_warm_ones(warm: int, later: int, left: int) -> None:
    meeting = threading.Barrier(4)
    with World() as world:
        pool = WatchedPool(world)
        burst(pool, world.target(lambda sock: meeting.wait(BOUND) < 4 and echo(sock)), 4)
        pool._warm = warm
        assert pool._trim(now() + limits.IDLE - later) is not None
        pool.wait(lambda: pool.alive == left)
        assert pool.free == left and sessions(world, left)


def test_a_warm_session_that_is_old_is_replaced() -> None:
    with World() as world:
        pool = WatchedPool(world, warm=1)
        pool.start()
        pool._trim(now() + limits.WARM_AGE + 1)
        pool.wait(lambda: pool.made == 2 and pool.alive == 1)
        assert pool.free == 1 and sessions(world, 1)


def test_a_busy_session_is_never_trimmed() -> None:
    with World() as world:
        pool = WatchedPool(world)
        opened = Opened(pool, world.target(echo))
        opened.near.sendall(b"x")
        assert opened.near.recv(1) == b"x"
        pool._trim(now() + limits.WARM_AGE * 2)
        assert opened.ask(b"yz") == b"yz" and opened.end().ended_well


# -- limits and failures ----------------------------------------------------------------------------------------------


def test_the_limit_of_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSIONS_PER_CLIENT", 3)
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        held = [Opened(pool, port) for _ in range(3)]
        pool.wait(lambda: pool.made == 3)
        with (one_more := Opened(pool, port)).near:
            assert one_more.end().lost == "3 sessions are in use"
        assert [each.ask(b"x") for each in held] == [b"x"] * 3
        pool.wait(lambda: pool.free == 3)
        assert burst(pool, port, 3) == [b"question 0", b"question 1", b"question 2"]


def answered(opened: Opened) -> bool:
    """Whether an echo comes; closes then."""
    with opened.near, contextlib.suppress(OSError):
        opened.near.sendall(b"x")
        return opened.near.recv(1) == b"x"
    return False


def test_the_server_refuses_what_the_pool_counted_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions on their way do not count yet, so the server has the last word."""
    monkeypatch.setattr(limits, "SESSIONS_PER_CLIENT", 3)
    with World(proxy=True) as world:
        pool, port = WatchedPool(world), world.target(echo)
        world.proxy.stall()
        opened = [Opened(pool, port) for _ in range(5)]
        world.proxy.unstall()
        pool.wait(lambda: pool.made == 3)
        assert sorted(map(answered, opened)) == [False, False, True, True, True]
        assert sorted(bool(each.end().lost) for each in opened) == [False, False, False, True, True]


def test_without_a_server_the_local_side_is_reset() -> None:
    with World() as world:
        pool = world.pool(port=unused_port())
        with pytest.raises(NetworkError, match="cannot reach"):
            pool.start()
        with (opened := Opened(pool, 1)).near:
            assert "cannot reach" in opened.end().lost
            assert opened.near.recv(1) == b""  # a socketpair knows no RST


# -- stale sessions ---------------------------------------------------------------------------------------------------


def crash(world: World) -> None:
    """Another server on the same port; nobody heard of the end of the first."""
    world.proxy.blackhole()
    world.server.stop()
    world.start(world.port)


@pytest.mark.parametrize("rst", [True, False])
def test_a_session_that_a_restart_made_stale_is_replaced(rst: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRESH", 0.0)  # data right behind OPEN may have been delivered: it is not sent twice
    with World(proxy=True) as world:
        pool, port = WatchedPool(world), world.target(echo)
        pool.start()
        crash(world)
        opened = Opened(pool, port)  # before anybody can know
        world.proxy.restore(rst)
        assert opened.ask(b"hello") == b"hello" and opened.end().ended_well is True
        assert pool.made == 2


def test_an_idle_session_that_ended_is_not_used() -> None:
    with World(proxy=True) as world:
        pool, port = WatchedPool(world), world.target(echo)
        pool.start()
        crash(world)
        world.proxy.restore()
        pool.wait(lambda: pool.alive == 0)
        assert Opened(pool, port).ask(b"hello") == b"hello"
        assert pool.made == 2


# -- the end ----------------------------------------------------------------------------------------------------------


def test_close_releases_all() -> None:
    meeting = threading.Barrier(5)
    with World() as world:
        pool = WatchedPool(world)
        burst(pool, world.target(lambda sock: meeting.wait(BOUND) < 5 and echo(sock)), 5)
        ends = [hosted.tunnel for hosted in world.registry.all()]
        pool.close(BOUND)
        assert pool.alive == 0 and sessions(world, 0)
        assert [tunnel.reason for tunnel in ends] == ["released"] * 5


def test_close_ends_a_stream_that_runs() -> None:
    with World() as world:
        pool = WatchedPool(world)
        with (opened := Opened(pool, world.target(echo))).near:
            opened.near.sendall(b"x")
            assert opened.near.recv(1) == b"x"
            pool.close(BOUND)
            assert opened.end().lost and read_all(opened.near) == b""
        assert sessions(world, 0)


def test_close_before_the_session_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    go, serve = threading.Event(), ClientSession.serve
    monkeypatch.setattr(ClientSession, "serve", lambda session: go.wait(BOUND) and serve(session))
    with World() as world:
        pool = WatchedPool(world)
        pool.start()
        pool.close(0.0)
        go.set()
        pool.wait(lambda: pool.alive == 0)
        assert sessions(world, 0)


def test_close_amid_a_reconnection() -> None:
    asked, go = threading.Event(), threading.Event()
    with World(proxy=True) as world:
        pool = WatchedPool(world)
        resume = pool._dialler.resume

        def late(*args):
            recovered = resume(*args)
            asked.set()
            assert go.wait(BOUND)
            return recovered

        pool._dialler.resume = late
        with (opened := Opened(pool, world.target(echo))).near:
            opened.near.sendall(b"x")
            assert opened.near.recv(1) == b"x"
            world.proxy.cut()
            assert asked.wait(BOUND)
            pool.close(0.0)
            go.set()
            assert opened.end().lost
        pool.wait(lambda: pool.alive == 0)
        assert sessions(world, 0)


def test_close_while_a_session_is_on_its_way() -> None:
    with World(proxy=True) as world:
        pool = WatchedPool(world)
        world.proxy.stall()
        opened = Opened(pool, world.target(echo))
        pool.close(0.0)
        world.proxy.unstall()
        assert opened.end().lost
        pool.wait(lambda: pool.alive == 0)
        assert sessions(world, 0)


def test_the_local_side_goes_while_the_session_is_made() -> None:
    with World(proxy=True) as world:
        pool = WatchedPool(world)
        world.proxy.stall()
        opened = Opened(pool, world.target(echo))
        reset(opened.near)
        world.proxy.unstall()
        opened.end()
        pool.wait(lambda: pool.free == 1)
