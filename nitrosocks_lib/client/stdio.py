"""`connect`: stdin and stdout as one stream, as `ssh -W` behaves.

Two pumps carry between the inherited descriptors and a socketpair: an inherited stdin must never be made
non-blocking, since the shell shares it. They block, and end with the process.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress

from ..facts.errors import CannotCreate, NetworkError
from ..net.signals import Stop
from ..net.wake import wait
from ..protocol.frames import Target
from ..session.streams import Ending, Stream
from .pool import Pool

_CHUNK = 64 * 1024


class Pipe:
    """One stream between two descriptors and a target."""

    def __init__(self, pool: Pool, stop: Stop, source: int = 0, sink: int = 1) -> None:
        """`stop` is told when the target's data is written, or the sink takes no more."""
        self._pool, self._source, self._sink = pool, source, sink
        self._over = threading.Event()
        self._unwritten: OSError | None = None  # why the sink takes no more, unless its reader is gone
        self._stop = stop
        self._stream: Stream | None = None
        self._drained = self._done = False

    def run(self, target: Target) -> bool:
        """False when the target has ended and all of it is written; True when this side is to end quietly before.

        Raises NetworkError when the stream was refused or lost, CannotCreate when the sink cannot be written.
        """
        near, far = socket.socketpair()
        self._near = near
        self._pool.open(target, far, self._finished)
        for pump in (self._pump_in, self._pump_out):
            threading.Thread(target=pump, name=pump.__name__.strip("_"), daemon=True).start()
        while not self._stop.wait() and not self._done:
            pass
        if self._unwritten is not None:
            raise CannotCreate(f"cannot write to stdout: {self._unwritten.strerror}")
        if not self._drained:
            return True
        near.shutdown(socket.SHUT_RDWR)
        while not self._over.is_set():  # in an outage our END is long on its way
            if self._stop.wait():
                return True
        assert self._stream is not None
        _check(self._stream)
        return False

    def _finished(self, stream: Stream) -> None:
        self._stream = stream
        self._over.set()
        self._stop.tell()

    def _pump_in(self) -> None:
        with suppress(OSError):
            while block := self._read_source():
                self._near.sendall(block)
        with suppress(OSError):
            self._near.shutdown(socket.SHUT_WR)

    def _pump_out(self) -> None:
        buffer = memoryview(bytearray(_CHUNK))
        try:
            while n := self._receive(buffer):
                block = buffer[:n]
                while block:
                    block = block[self._write_sink(block) :]
            self._drained = True
        except BrokenPipeError:
            pass  # whoever reads our stdout is gone, and that is an end, too
        except OSError as error:
            self._unwritten = error
        self._done = True
        self._stop.tell()

    def _read_source(self) -> bytes:
        while True:
            try:
                return os.read(self._source, _CHUNK)
            except BlockingIOError:  # it was inherited as non-blocking, and stays so: the flag is shared
                wait({self._source: select.POLLIN}, None)

    def _write_sink(self, block: memoryview) -> int:
        while True:
            try:
                return os.write(self._sink, block)
            except BlockingIOError:
                wait({self._sink: select.POLLOUT}, None)

    def _receive(self, buffer: memoryview) -> int:
        try:
            return self._near.recv_into(buffer)
        except OSError:
            return 0  # the stream was reset, or lost: `finished` says why


def _check(stream: Stream) -> None:
    if stream.ending is Ending.REFUSED:
        raise NetworkError(f"refused by the server: {stream.reason}")
    if stream.ending is Ending.LOST:
        raise NetworkError(stream.reason)
    if stream.ending in (Ending.RESET_HERE, Ending.RESET_THERE):
        raise NetworkError(f"connection reset: {stream.reason}")
