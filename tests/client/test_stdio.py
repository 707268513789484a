"""Pipe: two descriptors and a target as one stream, and how each end of it ends the command."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from queue import SimpleQueue

import piping
import pytest
from links import BOUND, Threads
from loopback import reset
from piping import Command
from world import World, echo, read_all

from nitrosocks_lib.client import stdio
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind

threads, run = piping.threads, piping.run


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


def test_a_source_that_went_on_behind_the_end_may_pause(run, patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target has shown that it reads on."""
    got = SimpleQueue[bytes]()

    def serve(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(1):
            got.put(data)
        got.put(b"")

    command = run(serve)
    assert os.read(command.read, 1) == b""
    for byte in (b"a", b"b", b"c"):
        os.write(command.write, byte)
        assert got.get(timeout=BOUND) == byte
        monkeypatch.setattr(stdio, "SILENT", 0)
        command.thread.join(0.1)  # longer than that
    command.close(command.write)
    assert command.result() is False and got.get(timeout=BOUND) == b""


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


# -- datagrams --------------------------------------------------------------------------------------------------------


def test_each_read_is_a_datagram_and_answers_come_behind_the_end(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DATAGRAMS_LINGER", 2.0)
    with World() as world, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.settimeout(BOUND)
        world.key = world.directory.add(bytes(32), world.token, permit=("udp:127.0.0.1:*",))
        command = Command(world, threads, target.getsockname()[1], kind=Kind.UDP)
        for size in (5, 60_000, 1):
            os.write(command.write, b"x" * size)
            datagram, sender = target.recvfrom(1 << 16)
            assert datagram == b"x" * size
            target.sendto(b"y" * size, sender)
            assert read_exactly(command.read, size) == b"y" * size
        command.close(command.write)
        target.sendto(b"late", sender)
        assert read_exactly(command.read, 4) == b"late"
        assert command.result() is False
