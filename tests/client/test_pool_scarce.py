"""Pool and sessions without threads or descriptors: one stream is lost, and what comes later is not."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

import pytest
from faultproxy import FaultProxy
from pools import WatchedPool, begun
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client import pool as pool_module
from nitrosocks_lib.client import session as session_module
from nitrosocks_lib.client.session import ClientSession
from nitrosocks_lib.facts.errors import NitroSocksError
from nitrosocks_lib.net import wake
from nitrosocks_lib.net.wake import Wake
from nitrosocks_lib.session.streams import Ending

NO_DESCRIPTOR = OSError(errno.EMFILE, "Too many open files")


def no_thread(patch: pytest.MonkeyPatch, name: str, times: int = 1_000) -> None:
    """The next threads of that name cannot be started, at the client."""
    start, left = threading.Thread.start, [None] * times

    def failing(thread: threading.Thread) -> None:
        if thread.name == name and threading.current_thread().name != "connection" and left:
            left.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", failing)


def broken(*_: object, **__: object) -> Any:
    raise NO_DESCRIPTOR


def out_of_threads(patch: pytest.MonkeyPatch) -> None:
    no_thread(patch, "session")


def out_of_descriptors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pool_module, "ClientSession", broken)


LACKS = {"can't start new thread": out_of_threads, "Too many open files": out_of_descriptors}
Lack = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(("told", "lack"), LACKS.items())
def test_without_it_a_stream_is_lost_and_the_next_is_not(
    told: str, lack: Lack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = WatchedPool(world), world.target(echo)
        with monkeypatch.context() as patch:
            lack(patch)
            with pytest.raises(NitroSocksError, match=told):
                pool.start()
            opened = Opened(pool, port)
            assert opened.end().ending is Ending.LOST and told in opened.end().reason
            assert opened.near.recv(1) == b""
        assert world.proxy.wait(lambda: world.proxy.live == 0, BOUND), "no connection is left open"
        assert Opened(pool, port).ask(b"x") == b"x"


@pytest.mark.parametrize("lack", LACKS.values(), ids=LACKS)
def test_without_it_one_more_comes_later(lack: Lack, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()
    with World() as world:
        pool = WatchedPool(world, sessions=2)
        pool.start()
        real = pool._no_more

        def no_more(error: Exception) -> None:
            real(error)
            tried.set()

        pool._no_more = no_more  # type: ignore[method-assign]
        pool.session.bulk = True
        with monkeypatch.context() as patch:
            lack(patch)
            pool._make_ahead()
            assert tried.wait(BOUND)
        pool._rests_until = 0.0
        pool._make_ahead()
        pool.wait(lambda: pool.alive == 2)
        assert pool._making == 0


def test_without_a_second_thread_a_session_goes_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    no_thread(monkeypatch, "outbound", 2)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = WatchedPool(world), world.target(echo)
        assert begun(pool, port).ask(b"x") == b"x" and pool.made == 1
        assert world.proxy.wait(lambda: world.proxy.live == 1, BOUND)


def recover(proxy: FaultProxy | None, opened: Opened) -> None:
    assert proxy is not None
    proxy.cut()
    opened.near.sendall(b"b")
    assert opened.near.recv(1) == b"b"


def test_without_a_thread_an_attempt_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        opened = begun(WatchedPool(world), world.target(echo))
        no_thread(monkeypatch, "attempt", 2)
        recover(world.proxy, opened)


def test_without_a_descriptor_an_attempt_is_made_later() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, failures = WatchedPool(world), [NO_DESCRIPTOR, ValueError("a fault of ours")]
        opened = begun(pool, world.target(echo))
        resume = pool._dialler.resume

        def failing(*arguments: Any) -> Any:
            if failures:
                raise failures.pop()
            return resume(*arguments)

        pool._dialler.resume = failing  # type: ignore[method-assign]
        recover(world.proxy, opened)
        assert not failures and world.proxy.wait(lambda: world.proxy.live == 1, BOUND)


def test_without_a_descriptor_to_watch_what_people_do_attempts_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        opened = begun(WatchedPool(world), world.target(echo))
        monkeypatch.setattr(wake.select, "epoll", broken)
        recover(world.proxy, opened)


def test_a_fault_in_a_session_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(session: ClientSession, _: float) -> None:
        session._tell_people()
        raise ValueError("a fault of ours")

    monkeypatch.setattr(ClientSession, "_reconnect", fault)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))
        world.proxy.cut()
        assert opened.end().reason == "an internal error: a fault of ours"
        pool.wait(lambda: pool.alive == 0 and not pool._leaving)
        assert pool.outage._lost == 0


def test_a_session_without_descriptors_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Wake] = []

    class Watched(Wake):
        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr(session_module, "Wake", Watched)
    monkeypatch.setattr(session_module, "ClientTunnel", broken)
    with World() as world:
        pool = WatchedPool(world)
        with pytest.raises(NitroSocksError, match="Too many open files"):
            pool.start()
    assert len(closed) == 1
