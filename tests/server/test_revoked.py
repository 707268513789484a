"""A client whose file is gone loses what it has; one whose file has a fault keeps it (protocol 3.5, 5)."""

from __future__ import annotations

import logging
import threading

import pytest
from audited import told
from pools import WatchedPool, begun
from world import BOUND, SERVER_KEY, Directory, Opened, World, echo, read_all

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Reply
from nitrosocks_lib.server.connection import Settings
from nitrosocks_lib.server.revoked import Revoked
from nitrosocks_lib.server.server import Server
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending


class Counting(Directory):
    """Counts the looks at all of the directory."""

    looks = 0

    def look(self) -> None:
        self.looks += 1


def looks(world: World, directory: Directory) -> None:
    """One look for revoked clients, on this directory and the world's sessions."""
    Revoked(directory, world.registry).look()  # type: ignore[arg-type]


def running(world: World) -> Opened:
    """A stream that has echoed a byte."""
    return begun(WatchedPool(world), world.target(echo))


def test_a_look_for_all_sessions_is_one_look_at_the_directory() -> None:
    with World() as world:
        directory = Counting()
        directory.known = world.directory.known
        opened = [running(world) for _ in range(3)]
        looks(world, directory)
        assert directory.looks == 1 and len(world.registry) == 3
        assert [each.ask(b"y") for each in opened] == [b"y"] * 3


def test_a_revoked_clients_session_ends_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), World() as world:
        opened = running(world)
        looks(world, Directory())
        with opened.near:
            stream = opened.end()
            assert (stream.ending, stream.reason) == (
                Ending.LOST,
                "the other side ended the session: the client was revoked",
            )
            assert read_all(opened.near) == b""
        assert world.registry.wait_empty(lambda _: True, BOUND)
    assert "alice was revoked: its session 1 ends" in caplog.text
    assert [each["reason"] for each in told(caplog.records, "session-ended")] == ["the client was revoked"]


def test_a_revoked_client_that_does_not_read_ends_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    with World() as world:
        opened = running(world)
        tunnel = world.entry.tunnel
        monkeypatch.setattr(tunnel, "post_abort", lambda *_: setattr(tunnel.outbox, "farewell", b"never written"))
        looks(world, Directory())
        assert tunnel.state.outcome is None
        looks(world, Directory())
        assert tunnel.state.outcome is Outcome.OVER and tunnel.state.reason == "the client was revoked"
        assert world.registry.wait_empty(lambda _: True, BOUND)
        opened.near.close()


def test_a_server_looks_again_and_again_until_it_stops(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often somebody connects in between, and though a look fails."""
    looked, directory = threading.Semaphore(0), Directory()

    def look() -> None:
        looked.release()
        raise OSError("a fault")

    monkeypatch.setattr(limits, "REVOKED", 0.001)
    monkeypatch.setattr(directory, "look", look)
    with World() as world:
        server = Server(SERVER_KEY, directory, Settings(**world.settings))  # type: ignore[arg-type]
        server.start()
        assert all(looked.acquire(timeout=BOUND) for _ in range(3))
        server.stop()
    for thread in [thread for thread in threading.enumerate() if thread.name == "revoked"]:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert "revoked clients may keep their sessions" in caplog.text


def test_what_a_revoked_client_left_behind_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """Else it would keep its local socket for `resume seconds`."""
    ended = threading.Event()

    def serve(sock) -> None:
        sock.sendall(sock.recv(1))
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        ended.set()

    with World(proxy=True) as world:
        opened = Opened(WatchedPool(world), world.target(serve))
        opened.near.sendall(b"x")
        assert opened.near.recv(1) == b"x"
        world.proxy.refuse(True)
        world.proxy.cut()
        assert world.registry.wait_empty(lambda entry: entry.expiry is None, BOUND)
        looks(world, Directory())
        assert len(world.registry) == 0 and ended.wait(BOUND)
        looks(world, Directory())
        assert caplog.text.count("alice was revoked") == 1


def test_a_fault_in_its_file_lets_a_client_go_on_but_begin_nothing() -> None:
    with World(proxy=True) as world:
        pool, port = WatchedPool(world), world.target(echo)
        opened = begun(pool, port)
        directory = world.directory
        directory.faulty, directory.known = directory.known, {}
        looks(world, directory)
        stream = Opened(pool, port).end()
        assert (stream.ending, stream.detail) == (Ending.REFUSED, Reply.NOT_PERMITTED)
        world.proxy.cut()  # what runs is resumed all the same
        assert opened.ask(b"y" * 100_000) == b"y" * 100_000 and opened.clean
        assert "does not know this client" in Opened(WatchedPool(world), port).end().reason
