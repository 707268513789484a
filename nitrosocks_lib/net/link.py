"""What a session runs on: a stream of bytes, whatever carries it (protocol 6). TLS, WebSocket and HTTP are below it.

All waiting is the caller's: poll `fd` for `read_wants` when `dry`, for `write_wants` when not all was written.
"""

from __future__ import annotations

from abc import abstractmethod
from hashlib import sha256
from typing import ClassVar, Protocol

from ..facts import limits
from ..facts.errors import NetworkError
from ..facts.wire import Carrier
from .timers import now
from .wake import wait


class Link(Protocol):
    """`read_some` belongs to one thread, `write_some` to one at a time; `close` to the owner, after joining both."""

    carrier: ClassVar[Carrier]
    fd: int  # what to poll, for reading and for writing
    read_wants: int  # what to poll for when `dry`
    dry: bool  # the last read took all that there was: poll before the next
    write_wants: int  # what to poll for when `write_some` did not take all

    @abstractmethod
    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """Reads until `enough` bytes are there or no more come now; 0 when there are none yet.

        Raises NetworkError at the end of the connection.
        """

    @abstractmethod
    def write_some(self, data: memoryview) -> int:
        """Writes as much as is taken now; returns how many bytes that was.

        After less than all only the rest may be written. Raises NetworkError when the connection is over.
        """

    @abstractmethod
    def unacknowledged(self) -> int:
        """Bytes on their way that nothing has acknowledged; 0 where nothing tells."""

    @abstractmethod
    def queued(self) -> tuple[int, int, float]:
        """Bytes not sent, bytes not acknowledged, and the shortest round trip in seconds; 0 where nothing tells."""

    @abstractmethod
    def silent(self) -> float:
        """Seconds since a byte came, also of what is not whole yet; infinite where nothing tells."""

    @abstractmethod
    def remote(self) -> str:
        """The numeric address that this connection leads to, or nothing."""

    @abstractmethod
    def certificate(self) -> bytes:
        """The leaf certificate of the TLS below, DER, or nothing."""

    @abstractmethod
    def abort(self) -> None:
        """Ends the connection for both threads; any thread may call it."""

    @abstractmethod
    def break_off(self) -> None:
        """As `abort`, for a thread that is inside one call and does not come back; any thread, also behind `close`."""

    @abstractmethod
    def say_goodbye(self, deadline: float = 0.0) -> None:
        """Ends what is sent; then reads what is unread, until the deadline. The owner's last call but `close`."""

    @abstractmethod
    def close(self, deadline: float = 0.0) -> None:
        """The owner's last call, after joining. With a deadline it says goodbye before."""

    @abstractmethod
    def version(self) -> str:
        """The version of the TLS below, as in "TLSv1.3", or nothing."""

    def certificate_hash(self) -> bytes:
        """SHA-256 of the leaf certificate that the peer presented, DER; zeros when it presented none."""
        certificate = self.certificate()
        return sha256(certificate).digest() if certificate else bytes(32)

    def presented_hash(self) -> bytes:
        """SHA-256 of the leaf certificate that this side presented, DER; zeros where it presented none."""
        return bytes(32)

    # -- for handshakes: one thread, a total deadline ---------------------------------------------------------------

    def read_exactly(self, size: int, deadline: float) -> bytes:
        """Waits for `size` bytes until the deadline (seconds of `timers.now`); NetworkError when they do not come."""
        buffer = bytearray(size)
        view, got = memoryview(buffer), 0
        while (got := got + self.read_some(view[got:], size - got)) < size:
            if self.dry:
                self._wait(self.read_wants, deadline)
        return bytes(buffer)

    def read_first(self, deadline: float) -> bytes:
        """The first read: what one TLS record brings (protocol 3.6)."""
        buffer = memoryview(bytearray(limits.FIRST_READ))
        while not (n := self.read_some(buffer)):  # dry then
            self._wait(self.read_wants, deadline)
        return bytes(buffer[:n])

    def write_all(self, data: bytes, deadline: float) -> None:
        """Writes everything until the deadline; NetworkError when the peer does not take it."""
        view = memoryview(data)
        while view := view[self.write_some(view) :]:
            self._wait(self.write_wants, deadline)

    def _wait(self, events: int, deadline: float) -> None:
        left = deadline - now()
        if left <= 0 or not wait({self.fd: events}, left):
            raise NetworkError("no answer in time")


class LinkAbove(Link):
    """A link over another one, `_below`, which alone knows the connection and can end it from any thread."""

    _below: Link

    def unacknowledged(self) -> int:
        """As the link below has it."""
        return self._below.unacknowledged()

    def queued(self) -> tuple[int, int, float]:
        """As the link below has it."""
        return self._below.queued()

    def silent(self) -> float:
        """As the link below has it: seconds since a byte came, also of what is not whole here yet."""
        return self._below.silent()

    def remote(self) -> str:
        """As the link below has it: where its connection leads to."""
        return self._below.remote()

    def certificate(self) -> bytes:
        """As the link below has it."""
        return self._below.certificate()

    def presented_hash(self) -> bytes:
        """As the link below has it."""
        return self._below.presented_hash()

    def version(self) -> str:
        """As the link below has it."""
        return self._below.version()

    def abort(self) -> None:
        """Ends the connection for both threads; any thread may call it."""
        self._below.abort()

    def break_off(self) -> None:
        """As `abort`, for a thread that is inside one call and does not come back; any thread, also behind `close`."""
        self._below.break_off()
