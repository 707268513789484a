"""Server: where it listens, how many strangers it bears, and how it drains and stops."""

from __future__ import annotations

import socket
import threading

import pytest
from links import Threads
from loopback import dial_tcp
from pools import WatchedPool, begun
from world import BOUND, Opened, World, echo, read_all

from nitrosocks_lib.facts.errors import CannotCreate, ConfigurationError, NitroSocksError, Refused
from nitrosocks_lib.facts.wire import Abort, Refusal
from nitrosocks_lib.net.connect import client_context, dial
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.frames import abort_text
from nitrosocks_lib.server.decoy import Site

# -- where it listens -------------------------------------------------------------------------------------------------


def test_a_port_in_use() -> None:
    with World() as world, pytest.raises(CannotCreate, match=f"cannot listen on 127.0.0.1:{world.port}: Address"):
        world.server.listen("127.0.0.1", world.port)


def test_a_decoy_that_is_this_server_itself() -> None:
    with World() as world:
        world.server.stop()
        world.settings["decoy"] = Site("127.0.0.1", world.port)
        with pytest.raises(ConfigurationError, match="is this server itself") as failure:
            world.start(world.port)
        assert "an address of its own" in failure.value.hint
        for listener in world.server._listeners:
            listener.close()


def test_a_fault_at_one_connection_locks_nobody_out(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    with World() as world:
        entrance, faults = world.server._entrance, iter([True])

        def fails_once() -> None:
            if next(faults, False):
                raise ZeroDivisionError

        monkeypatch.setattr(entrance, "_end_stale", fails_once)
        opened = begun(world.pool(), world.target(echo))
        assert opened.ask(b"more") == b"more" and next(faults, False) is False
    assert "the server goes on" in caplog.text


# -- drain ------------------------------------------------------------------------------------------------------------


class Draining:
    """A server that drains in a thread; `over` when it has stopped."""

    def __init__(self, world: World, threads: Threads, seconds: float) -> None:
        self.over = threading.Event()

        def drain() -> None:
            world.server.drain(seconds)
            self.over.set()

        threads.start(drain)


def test_drain_releases_idle_sessions_and_waits_for_streams() -> None:
    with World() as world, Threads() as threads:
        idle, pool = WatchedPool(world), WatchedPool(world)
        idle.start()
        opened = begun(pool, world.target(echo))
        draining = Draining(world, threads, BOUND)
        idle.wait(lambda: idle.alive == 0)  # GOAWAY made it leave
        assert not draining.over.is_set()
        assert opened.ask(b"more") == b"more" and opened.clean
        assert draining.over.wait(BOUND)
        pool.wait(lambda: pool.alive == 0)


def test_a_draining_server_makes_no_new_session() -> None:
    with World() as world, Threads() as threads:
        idle, pool, port = WatchedPool(world), WatchedPool(world), world.target(echo)
        idle.start()
        opened = begun(pool, port)
        Draining(world, threads, BOUND)
        idle.wait(lambda: idle.alive == 0)
        with pytest.raises(Refused) as refused:
            world.dialler().greet()
        assert refused.value.reason is Refusal.DRAINING
        assert "about to stop" in Opened(idle, port).end().reason
        assert opened.ask(b"y") == b"y"


def test_a_draining_server_accepts_the_resume_of_streams() -> None:
    with World(proxy=True) as world, Threads() as threads:
        pool, port = WatchedPool(world), world.target(echo)
        opened = [begun(pool, port) for _ in range(3)]
        draining = Draining(world, threads, BOUND)
        while not pool.session.tunnel.draining:
            opened[0].near.sendall(b"z")
            assert opened[0].near.recv(1) == b"z"
        world.proxy.cut()
        assert [each.ask(b"y" * 100_000) for each in opened] == [b"y" * 100_000] * 3
        assert all(each.clean for each in opened) and draining.over.wait(BOUND)
        pool.wait(lambda: pool.alive == 0)


def test_what_still_runs_at_the_end_is_aborted() -> None:
    with World() as world:
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))
        world.server.drain(0.1)
        with opened.near:
            assert abort_text(Abort.SERVER_STOPS) in opened.end().reason
            assert read_all(opened.near) == b""
        pool.wait(lambda: pool.alive == 0)


def test_drain_does_not_wait_for_a_client_that_vanished() -> None:
    with World(proxy=True) as world, Threads() as threads:
        pool = WatchedPool(world)
        pool.start()
        world.proxy.blackhole()  # GOAWAY never comes
        draining = Draining(world, threads, 10 * BOUND)
        world.proxy.restore()
        world.proxy.refuse(True)
        assert draining.over.wait(BOUND)


# -- stop -------------------------------------------------------------------------------------------------------------


def test_stop_aborts_and_says_so() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        opened = [begun(pool, port) for _ in range(3)]
        world.server.stop()
        assert len(world.registry) == 0
        for each in opened:
            with each.near:
                assert "the server stops" in each.end().reason
        with pytest.raises(NitroSocksError, match="cannot reach"):
            pool.start()


def test_stop_ends_detached_sessions_and_their_sockets() -> None:
    ended = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.sendall(sock.recv(1))
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            ended.set()

    with World(proxy=True) as world:
        pool = WatchedPool(world)
        opened = begun(pool, world.target(serve))
        world.proxy.refuse(True)
        world.proxy.cut()
        assert world.registry.wait_empty(lambda entry: entry.tunnel.connected, BOUND)
        world.server.stop()
        assert ended.wait(BOUND) and len(world.registry) == 0
        opened.near.close()


def test_stop_ends_strangers() -> None:
    with World() as world:
        silent = dial_tcp(world.port)
        link = dial(("127.0.0.1", world.port), client_context(False), socket.AF_INET, BOUND)
        link.write_all(b"GET / HTTP/1.1\r\n\r\n", now() + BOUND)
        world.dialler().greet().link.close()  # who came before is accepted by then
        world.server.stop()
        assert silent.recv(1) == b""
        with pytest.raises(NitroSocksError):
            link.read_exactly(1, now() + BOUND)
        silent.close()
        link.close()


def test_the_port_is_free_again() -> None:
    with World() as world:
        port = world.target(echo)
        for _ in range(3):
            assert Opened(world.pool(), port).ask(b"x") == b"x"
            world.server.stop()
            world.start(world.port)
