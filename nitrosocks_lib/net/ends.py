"""One end of what is relayed: TLS as in `tls`, or TCP as it is. Nothing here waits.

A relay passes on who ends how: what is sent ends, with a word of TLS or without, or all is reset.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import Protocol

from ..facts import limits
from ..facts.errors import ConnectionEnded, NetworkError
from .sockets import closed, has_more, reset


class End(Protocol):
    """One thread's; `net.tls.TlsLink` is one, too."""

    fd: int
    read_wants: int  # what to poll for when `read_some` took all that there was
    dry: bool
    write_wants: int  # what to poll for when `write_some` did not take all

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """As Link.read_some: 0 when nothing is there yet; raises ConnectionEnded, or NetworkError where it broke."""

    def write_some(self, data: memoryview) -> int:
        """As Link.write_some."""

    def finish(self, notify: bool) -> None:
        """Ends what is sent, where it is TLS with a word of it, or without."""

    def swallow(self) -> bool:
        """Throws away what came, behind `finish`, and tells whether something did; raises as `read_some`."""

    def gone(self) -> bool:
        """Whether TCP is over: the other end has reset it, or both have ended; False where the system does not tell."""

    def reset(self) -> None:
        """Ends the connection with a reset; the last call."""

    def close(self, deadline: float = 0.0) -> None:
        """The last call."""


class CallerEnd(End, Protocol):
    """The end of whoever came, which may be anybody."""

    def has_more(self) -> bool:
        """Whether there is more to be read, or an end, as far as can be told without reading."""

    def break_off(self) -> None:
        """As Link.break_off."""

    def part(self) -> None:
        """Ends the connection, and not with a reset for what is unread; what comes later is answered with one."""


class PlainEnd:
    """TCP without TLS."""

    __slots__ = ("_sock", "dry", "fd", "read_wants", "write_wants")

    def __init__(self, sock: socket.socket) -> None:
        """Takes over a socket that is connected."""
        sock.setblocking(False)
        self._sock = sock
        self.fd = sock.fileno()
        self.read_wants, self.write_wants, self.dry = select.POLLIN, select.POLLOUT, True

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """As End; it is one read, however much is `enough`."""
        self.dry = False
        try:
            got = self._sock.recv_into(buffer)
        except BlockingIOError:
            self.dry = True
            return 0
        except OSError as error:
            raise _broken(error) from None
        if not got:
            raise ConnectionEnded(notified=False)
        return got

    def write_some(self, data: memoryview) -> int:
        """As End."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _broken(error) from None

    def finish(self, notify: bool) -> None:
        """As End."""
        with suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_WR)

    def swallow(self) -> bool:
        """As End."""
        return self.read_some(memoryview(bytearray(limits.FIRST_READ))) > 0

    def gone(self) -> bool:
        """As End."""
        return closed(self._sock)

    def reset(self) -> None:
        """As End."""
        reset(self._sock)

    def has_more(self) -> bool:
        """As CallerEnd."""
        return has_more(self._sock)

    def break_off(self) -> None:
        """As CallerEnd."""
        with suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_RDWR)

    def part(self) -> None:
        """As CallerEnd."""
        with suppress(NetworkError):
            for _ in range(limits.DRAIN_BYTES // limits.FIRST_READ):
                if not self.swallow():
                    break
        self.close()

    def close(self, deadline: float = 0.0) -> None:
        """As End."""
        self._sock.close()


def _broken(error: OSError) -> NetworkError:
    return NetworkError(f"the connection broke: {error.strerror or error}")
