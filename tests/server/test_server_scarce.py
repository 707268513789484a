"""A server that is short of threads or descriptors: one connection or stream fails, and the next one is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from links import Pairs
from pools import WatchedPool
from roles import Roles
from scarce import few_eventfds, no_threads
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts.errors import NetworkError, NitroSocksError
from nitrosocks_lib.facts.wire import Reply
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.server import connection as module
from nitrosocks_lib.server.tunnel import ServerTunnel
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending


def test_no_thread_for_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    with World() as world:
        with no_threads("connection"):
            for _ in range(2):
                with pytest.raises(NitroSocksError):
                    world.dialler().greet()
        assert "a connection cannot be taken: can't start new thread" in caplog.text
        assert Opened(world.pool(), world.target(echo)).ask(b"x") == b"x"


def test_no_thread_for_a_name() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        with no_threads("resolver"):
            stream = Opened(pool, port, "localhost").end()
        assert (stream.ending, stream.detail) == (Ending.REFUSED, Reply.GENERAL)
        assert stream.reason == "there are no threads left to look it up"
        assert Opened(pool, port, "localhost").ask(b"x") == b"x" and pool.made == 1


def test_no_thread_for_a_connections_other_half() -> None:
    roles = Roles()
    with Pairs() as pairs:
        near, far = pairs.make()
        with no_threads("outbound"):
            assert roles.server.run(far) is Outcome.LOST
        assert roles.server.state.reason == "can't start new thread" and roles.server.link is None
        with pytest.raises(NetworkError, match="the connection"):
            near.read_exactly(1, now() + BOUND)
    roles.close()


def test_no_thread_for_the_sessions_other_half_is_an_outage() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        with no_threads("outbound") as wanted:
            opened = Opened(pool, port)
            assert wanted.wait(BOUND)
        assert opened.ask(b"x") == b"x"


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="wakes are made of something else")
@pytest.mark.parametrize("left", [1, 2])  # the client's dial takes one
def test_no_descriptor_for_a_session(left: int, caplog: pytest.LogCaptureFixture) -> None:
    with World() as world:
        dialler = world.dialler()
        with few_eventfds(left) as made, pytest.raises(NitroSocksError):
            dialler.greet()
        assert not world.registry._per_client and len(world.registry) == 0
        assert len(made) == left and "Too many open files" in caplog.text
        for fd in made:
            assert "eventfd" not in _what(fd)
        assert Opened(world.pool(), world.target(echo)).ask(b"x") == b"x"


def _what(fd: int) -> str:
    """What a descriptor is now; nothing when it is closed."""
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


def test_a_session_that_cannot_be_watched(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    dispose = ServerTunnel.dispose

    def disposed(tunnel: ServerTunnel, reason: str) -> None:
        closed.append(reason)
        dispose(tunnel, reason)

    def broken(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with World() as world:
        dialler = world.dialler()
        with monkeypatch.context() as patch:
            patch.setattr(module, "Liveness", broken)
            patch.setattr(ServerTunnel, "dispose", disposed)
            with pytest.raises(NitroSocksError):
                dialler.greet()
        assert not world.registry._per_client and closed == ["it could not begin"]
        assert "can't start new thread" in caplog.text
