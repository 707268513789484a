"""Pipe: two descriptors and a target as one stream, and how each end of it ends the command."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from queue import SimpleQueue

import pytest
from links import BOUND, Threads
from loopback import reset, unused_port
from world import World, echo, read_all

from nitrosocks_lib.client import stdio
from nitrosocks_lib.client.stdio import Pipe
from nitrosocks_lib.facts.errors import CannotCreate, NetworkError
from nitrosocks_lib.protocol.frames import Target


class Told:
    """What Pipe needs of a Stop: it is told, and a test may end it."""

    def __init__(self) -> None:
        self.changed, self.came, self._told = threading.Condition(), False, False

    def tell(self) -> None:
        with self.changed:
            self._told = True
            self.changed.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        with self.changed:
            in_time = self.changed.wait_for(lambda: self.came or self._told, BOUND if seconds is None else seconds)
            assert in_time or seconds is not None
            self._told = False
            return self.came

    def end(self) -> None:
        with self.changed:
            self.came = True
            self.changed.notify_all()


class Command:
    """A Pipe in a thread between two of the kernel's pipes: `write` is its stdin, `read` its stdout."""

    def __init__(
        self, world: World, threads: Threads, port: int, full: bool = False, source: int | None = None
    ) -> None:
        """Where it is `full`, stdout is a disk that takes no more, and not `read`. `source` instead of `write`."""
        reading, self.write = os.pipe()
        self.read, sink = os.pipe()
        if source is not None:
            world.callback(os.close, reading)
        source = reading if source is None else source
        for fd in (source, self.write, self.read, sink):
            world.callback(self._close, fd)
        if full:
            world.callback(os.close, sink := os.open("/dev/full", os.O_WRONLY))
        self.stop, self.outcome = Told(), []
        self.sink, self._closed = sink, set()
        self.pipe = Pipe(world.pool(), self.stop, source, sink)
        self.thread = threads.start(self._run, Target(1, "127.0.0.1", port))
        world.callback(self._close_near)

    def _run(self, target: Target) -> None:
        try:
            self.outcome.append(self.pipe.run(target))
        except (CannotCreate, NetworkError) as error:
            self.outcome.append(str(error))
        self.pipe._pool.close(1.0)  # as `connect` does
        with suppress(OSError):
            self.pipe._near.shutdown(socket.SHUT_RDWR)  # the process ends here, usually

    def expect_finished(self) -> None:
        """The stream is over at this side."""
        with self.stop.changed:
            assert self.stop.changed.wait_for(lambda: self.pipe._stream is not None, BOUND)

    def _close_near(self) -> None:
        for thread in threading.enumerate():
            if thread.name == "pump_out":
                thread.join(BOUND)
        self.pipe._near.close()

    def close(self, fd: int) -> None:
        self._closed.add(fd)
        os.close(fd)

    def _close(self, fd: int) -> None:
        if fd not in self._closed:
            self.close(fd)

    def result(self) -> object:
        self.thread.join(BOUND)
        return self.outcome[0]


@pytest.fixture
def threads():
    with Threads() as made:
        yield made


@pytest.fixture
def run(threads):
    with World() as world:
        yield lambda serve, **more: Command(world, threads, world.target(serve), **more)


def read_exactly(fd: int, size: int) -> bytes:
    got = b""
    while len(got) < size and (piece := os.read(fd, size - len(got))):
        got += piece
    return got


def test_both_directions_to_the_end_of_the_target(run) -> None:
    command, data = run(echo), os.urandom(500_000)

    def write() -> None:
        os.write(command.write, data[:10])
        with os.fdopen(os.dup(command.write), "wb") as source:
            source.write(data[10:])
        command.close(command.write)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_exactly(command.read, len(data)) == data
    writer.join(BOUND)
    assert command.result() is False


def test_an_end_of_the_source_is_a_half_close(run) -> None:
    command = run(lambda sock: sock.sendall(b"got " + read_all(sock)))
    os.write(command.write, b"this")
    command.close(command.write)
    assert read_exactly(command.read, 8) == b"got this" and command.result() is False


def test_the_target_ends_while_the_source_is_open(run) -> None:
    command = run(lambda sock: sock.sendall(b"bye"))
    assert read_exactly(command.read, 3) == b"bye" and command.result() is False


def test_all_of_it_is_written_before_the_end(run) -> None:
    data = os.urandom(3 << 20)
    command = run(lambda sock: sock.sendall(data))
    assert read_exactly(command.read, len(data)) == data and command.result() is False


# -- the target ends first --------------------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is never silent for long enough."""
    monkeypatch.setattr(stdio, "SILENT", BOUND)


def half_close(sock: socket.socket) -> bytes:
    sock.shutdown(socket.SHUT_WR)
    return read_all(sock)


def write_slowly(command: Command, data: bytes) -> None:
    with os.fdopen(os.dup(command.write), "wb", buffering=0) as source:
        for at in range(0, len(data), 3000):
            source.write(data[at : at + 3000])
    command.close(command.write)


def test_what_the_source_still_has_is_carried(run, patient) -> None:
    got, data = SimpleQueue[bytes](), os.urandom(3 << 20)
    command = run(lambda sock: got.put(half_close(sock)))
    assert os.read(command.read, 1) == b"", "its reader sees the end at once"
    write_slowly(command, data)
    assert command.result() is False and got.get(timeout=BOUND) == data


def test_a_source_that_is_silent_then_is_no_hindrance(run) -> None:
    got = SimpleQueue[bytes]()
    command = run(lambda sock: got.put(half_close(sock)))
    os.write(command.write, b"all of it")
    assert command.result() is False and got.get(timeout=BOUND) == b"all of it"


def test_what_does_not_get_through_is_told(run, patient) -> None:
    """The target has closed its connection, and its kernel resets what comes."""
    command = run(lambda sock: sock.sendall(b"bye"))
    assert read_exactly(command.read, 4) == b"bye"
    os.set_blocking(command.write, False)
    while command.thread.is_alive():
        with suppress(BlockingIOError):
            os.write(command.write, bytes(1000))
        command.thread.join(0.01)
    assert str(command.result()).startswith("connection reset: the other end broke the connection")


def test_a_source_that_breaks_is_no_end(run) -> None:
    """stdin may be a connection: what it said is not to look complete to the target."""
    ended = SimpleQueue[bytes | None]()

    def serve(sock: socket.socket) -> None:
        sock.sendall(sock.recv(1))
        ended.put(read_until_reset(sock))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        command = run(serve, source=listener.accept()[0].detach())
    client.sendall(b"x")
    assert os.read(command.read, 1) == b"x"
    reset(client)
    assert command.result() == "cannot read stdin: Connection reset by peer"
    assert ended.get(timeout=BOUND) is None


def read_until_reset(sock: socket.socket) -> bytes | None:
    try:
        return read_all(sock)
    except ConnectionResetError:
        return None


@pytest.mark.parametrize("resumed", [True, False])
def test_it_ends_well_only_when_the_server_has_all(threads: Threads, patient, resumed: bool) -> None:
    """Both directions have ended here, but what was sent last is swallowed, and then the connection is cut."""
    got = SimpleQueue[bytes | None]()
    with World(proxy=True, resume=120 if resumed else 0) as world:
        command = Command(world, threads, world.target(lambda sock: got.put(half_close(sock))))
        assert os.read(command.read, 1) == b""
        world.proxy.stall()
        os.write(command.write, b"the last words")
        command.close(command.write)
        command.expect_finished()
        world.proxy.refuse(not resumed)
        world.proxy.cut()
        world.proxy.unstall()
        if resumed:
            assert command.result() is False and got.get(timeout=BOUND) == b"the last words"
        else:
            assert command.result() == "the session was over before the server had all of stdin"


# -- ends from outside ------------------------------------------------------------------------------------------------


def test_a_sink_that_is_closed_is_a_quiet_end(run) -> None:
    command = run(lambda sock: sock.sendall(bytes(1 << 20)))
    command.close(command.read)
    assert command.result() is True


def test_a_sink_that_takes_no_more_is_told() -> None:
    with World() as world, Threads() as threads:
        command = Command(world, threads, world.target(lambda sock: sock.sendall(b"lost")), full=True)
        assert command.result() == "cannot write to stdout: No space left on device"


class Unacknowledged:
    """A pool whose target ends at once, and where nothing is heard of our own end."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def open(self, _: Target, local: socket.socket, finished: object) -> None:
        local.settimeout(BOUND)
        local.shutdown(socket.SHUT_WR)
        self.local = local
        self.opened.set()


def test_a_signal_while_our_end_is_not_acknowledged() -> None:
    stop, outcome, pool = Told(), [], Unacknowledged()
    source, write = os.pipe()
    pipe = Pipe(pool, stop, source, write)  # type: ignore[arg-type]
    with Threads() as threads:
        threads.start(lambda: outcome.append(pipe.run(Target(1, "a", 1))))
        assert pool.opened.wait(BOUND) and pool.local.recv(1) == b"", "our end"
        stop.end()
    assert outcome == [True]
    os.close(write)
    pool.local.close()
    pipe._near.close()
    os.close(source)


def test_a_signal_is_a_quiet_end(run) -> None:
    command = run(echo)
    os.write(command.write, b"x")
    assert os.read(command.read, 1) == b"x"
    command.stop.end()
    assert command.result() is True


def test_a_refusal() -> None:
    with World() as world, Threads() as threads:
        port = unused_port()
        assert Command(world, threads, port).result() == f"refused by the server: 127.0.0.1:{port}: connection refused"


def test_a_reset_of_the_target(run) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(1)
        reset(sock)

    command = run(serve)
    os.write(command.write, b"x")
    assert command.result() == "connection reset: the other end broke the connection"


def test_a_session_that_is_lost() -> None:
    with World() as world, Threads() as threads:
        command = Command(world, threads, world.target(echo))
        os.write(command.write, b"x")
        assert os.read(command.read, 1) == b"x"
        world.server.stop()
        assert "the server stops" in str(command.result())
