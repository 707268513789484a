"""`connect`: stdin and stdout as one stream, as `ssh -W` behaves.

Two pumps carry between the inherited descriptors and a socketpair: an inherited stdin must never be made
non-blocking, since the shell shares it. They block, and end with the process.

The target's end is the end of the command, but not of an upload: `tar c . | nitrosocks connect …` to a sink that says
nothing and ends its direction at once. So stdout is closed then, and what comes from stdin is still carried, until it
ends; or until it is silent, while nothing has shown that the target reads on: it may have closed. What comes then shows
it: a closed one resets the connection. Whatever does not get through is an error, even where the target had ended well.

With datagrams each read of stdin is one, and each that comes back is written at once, as `nc -u` does it. Behind the
end of stdin answers may still come; none has come for `limits.DATAGRAMS_LINGER` when it ends.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from typing import Final

from ..facts import limits
from ..facts.errors import CannotCreate, NetworkError, NitroSocksError
from ..facts.wire import Kind
from ..net.datagrams import MOST
from ..net.signals import Stop
from ..net.timers import now
from ..net.wake import Wake, wait
from ..protocol.frames import Target
from ..session.streams import Ending, Stream
from .pool import Pool
from .refusals import refusal
from .session import ClientSession

SILENT: Final = 0.5  # s without a byte of stdin behind the target's end; socat waits as long
_LOOK: Final = 0.02  # s between looks whether the server has all of it
_CHUNK: Final = 64 * 1024


class Pipe:
    """One stream between two descriptors and a target."""

    def __init__(self, pool: Pool, stop: Stop, source: int = 0, sink: int = 1) -> None:
        """`stop` is told when the stream is over and written, or when the source or the sink fails."""
        self._pool, self._stop, self._source, self._sink = pool, stop, source, sink
        self._stream: Stream | None = None  # once it is over
        self._carriers: list[ClientSession] = []  # what carried it then
        self._given = 0  # bytes of the source
        self._datagrams = False  # the target takes such
        self._heard_at = 0.0  # when the last one came
        self._written = False  # the target has ended, and all that it said is written
        self._went_on = False  # the source gave something behind that
        self._unread = False  # the sink's reader is gone
        self._failure: NitroSocksError | None = None
        self._wake = Wake()  # tells the pump of the source that the target has ended

    def run(self, target: Target) -> bool:
        """False when both directions have ended and all is through; True when this side is to end quietly before.

        Raises NetworkError when the stream was refused, reset or lost, or not all of the source got through;
        CannotCreate when the source cannot be read or the sink not be written.
        """
        if target.kind == Kind.UDP:
            self._datagrams = True
            self._near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            self._near, far = socket.socketpair()
        self._pool.open(target, far, self._finished)
        for pump in (self._pump_in, self._pump_out):
            threading.Thread(target=pump, name=pump.__name__.strip("_"), daemon=True).start()
        while self._stream is None or not self._written:
            if self._stop.wait() or self._unread:
                return True
            if self._failure is not None:
                raise self._failure
        _check(self._stream, 0 if self._datagrams else self._given)  # datagrams may be lost
        self._close_sink()
        while not self._arrived():  # our END is queued, and what stands before it may be long on its way
            if self._stop.wait(_LOOK):
                return True
        return False

    def _finished(self, stream: Stream) -> None:
        self._carriers = self._pool.sessions
        for each in self._carriers:
            each.tunnel.outbox.post(ping=True)  # an ACK comes with the answer, sooner than by itself
        self._stream = stream
        self._stop.tell()

    def _arrived(self) -> bool:
        """Whether the server has all that was read. Raises NetworkError where the session was over before."""
        carriers, live = self._carriers, self._pool.sessions
        if carriers and all(each.tunnel.acknowledged for each in carriers):
            return True
        if not any(each in live for each in carriers):
            raise NetworkError("the session was over before the server had all of stdin")
        return False

    def _fail(self, what: str, error: OSError) -> None:
        self._failure = CannotCreate(f"{what}: {error.strerror}")
        self._stop.tell()

    # -- stdin ---------------------------------------------------------------------------------------------------------

    def _pump_in(self) -> None:
        try:
            while self._comes() and (block := self._read_source()):
                self._given += len(block)
                self._went_on = self._written
                try:
                    self._near.sendall(block)
                except OSError:
                    return  # the stream is over: `finished` says why
            if self._datagrams:
                self._linger()
        except OSError as error:  # not to be taken for an end
            self._fail("cannot read stdin", error)
            return
        finally:
            self._wake.close()
        with suppress(OSError):
            self._near.shutdown(socket.SHUT_WR)

    def _linger(self) -> None:
        """Waits until no more answers come, or the target has ended."""
        self._heard_at = max(self._heard_at, now())
        while not self._written and (left := self._heard_at + limits.DATAGRAMS_LINGER - now()) > 0:
            self._wake.clear()
            self._wake.wait({}, left)

    def _comes(self) -> bool:
        """Waits until the source has something or ends; False when the target has ended and it is silent since, and
        had been before."""
        until = None
        while True:
            self._wake.clear()
            if self._written and until is None and not self._went_on:
                until = now() + SILENT
            left = None if until is None else until - now()
            if self._wake.wait({self._source: select.POLLIN}, left):
                return True
            if left is not None and left <= 0:
                return False

    def _read_source(self) -> bytes:
        while True:
            try:
                return os.read(self._source, MOST if self._datagrams else _CHUNK)
            except BlockingIOError:  # it was inherited as non-blocking, and stays so: the flag is shared
                wait({self._source: select.POLLIN}, None)

    # -- stdout --------------------------------------------------------------------------------------------------------

    def _pump_out(self) -> None:
        buffer = memoryview(bytearray(_CHUNK))
        try:
            while n := self._receive(buffer):
                block = buffer[:n]
                self._heard_at = now()
                while block:
                    block = block[self._write_sink(block) :]
        except BrokenPipeError:  # whoever reads our stdout is gone, and that is an end, too
            self._unread = True
            self._stop.tell()
        except OSError as error:
            self._fail("cannot write to stdout", error)
        else:
            if not self._is_over():
                self._close_sink()
            self._written = True
            self._wake.set()
            self._stop.tell()

    def _receive(self, buffer: memoryview) -> int:
        try:
            return self._near.recv_into(buffer)
        except OSError:
            return 0  # the stream was reset, or lost: `finished` says why

    def _write_sink(self, block: memoryview) -> int:
        while True:
            try:
                return os.write(self._sink, block)
            except BlockingIOError:
                wait({self._sink: select.POLLOUT}, None)

    def _is_over(self) -> bool:
        """Whether the stream is over already: why is to be said before ssh sees the end, and ends us for it."""
        return bool(wait({self._near.fileno(): select.POLLIN}, 0).get(self._near.fileno(), 0) & select.POLLHUP)

    def _close_sink(self) -> None:
        """Its reader sees the end now, and may end the source for that. The number is not free for others."""
        with suppress(OSError):
            if os.path.sameopenfile(self._source, self._sink):  # a socket, of rsync or inetd: the source keeps it open
                with socket.socket(fileno=os.dup(self._sink)) as both:
                    both.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._sink)
            os.close(nowhere)


def _check(stream: Stream, given: int) -> None:
    """Raises NetworkError unless all of what was given went through to a clean end."""
    behind = "" if stream.took >= given else ", before all of stdin was sent"
    if stream.ending is Ending.REFUSED:
        raise refusal(stream.target, stream.detail, stream.reason)
    if stream.ending is Ending.LOST:
        raise NetworkError(stream.reason)
    if stream.ending in (Ending.RESET_HERE, Ending.RESET_THERE):
        raise NetworkError(f"connection reset: {stream.reason}{behind}")
    if behind:
        raise NetworkError(f"the connection ended{behind}")
