"""A Pipe between two of the kernel's pipes, in a thread of its own."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

import pytest
from links import BOUND, Threads
from world import World

from nitrosocks_lib.client.stdio import Pipe
from nitrosocks_lib.facts.errors import CannotCreate, NetworkError
from nitrosocks_lib.facts.wire import Kind
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
        self,
        world: World,
        threads: Threads,
        port: int,
        full: bool = False,
        source: int | None = None,
        kind: Kind = Kind.TCP,
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
        self.thread = threads.start(self._run, Target(kind, "127.0.0.1", port))
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
