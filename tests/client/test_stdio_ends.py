"""Pipe: it ends from outside, by its stdout, a signal, a refusal, or the end of the session."""

from __future__ import annotations

import os
import socket
import threading

import piping
from links import BOUND, Threads
from loopback import reset, unused_port
from piping import Command, Told
from world import World, echo

from nitrosocks_lib.client.stdio import Pipe
from nitrosocks_lib.protocol.frames import Target

threads, run = piping.threads, piping.run


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
        assert Command(world, threads, port).result() == f"127.0.0.1:{port}: the target refused the connection"


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
