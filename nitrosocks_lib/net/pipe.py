"""One end of a socket pair as a Link: what the `http` carrier is to a session (protocol 6).

The other end is the carrier's: its thread takes out what the session writes and puts in what came for it. So a full
pipe stops the session, an unread one the carrier, and an end is seen at either side; the kernel does all of that.
"""

from __future__ import annotations

import math
import select
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from ..facts import limits
from ..facts.errors import NetworkError
from ..facts.wire import Carrier
from .link import Link
from .timers import now
from .wake import wait


@dataclass(slots=True)
class Progress:
    """What became of the bytes that the session wrote, counted since the first one. Set by the carrier's thread."""

    sent: int = 0  # went into a connection once
    acknowledged: int = 0  # the other side of the carrier has them
    round_trip: float = 0.0  # the shortest to there, in seconds; 0 where none is known
    certificate: bytes = b""  # the leaf, DER, that was met on the connection that begins the carrier
    version: str = ""  # of the TLS of that connection


class PipeLink(Link):
    """`read_some` belongs to one thread, `write_some` to one at a time; `close` to the owner, after joining both."""

    carrier = Carrier.HTTP
    __slots__ = (
        "_closing",
        "_presented",
        "_progress",
        "_remote",
        "_sock",
        "_written",
        "dry",
        "fd",
        "read_wants",
        "write_wants",
    )

    def __init__(
        self,
        sock: socket.socket,
        progress: Progress,
        remote: str = "",
        presented: bytes = bytes(32),
    ) -> None:
        """Takes over one end of the pair. `remote` and `presented` are the carrier's connection's."""
        sock.setblocking(False)
        self._sock, self._progress, self._presented = sock, progress, presented
        self._remote = remote
        self._written = 0
        self._closing = threading.Lock()  # a number that is closed may be another's at once
        self.fd = sock.fileno()
        self.read_wants, self.write_wants = select.POLLIN, select.POLLOUT
        self.dry = True

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """Reads what is there; 0 when nothing is. One call takes all that fits, so `enough` asks for no more.

        Raises NetworkError at the end of the carrier, behind its last byte.
        """
        self.dry = False
        try:
            n = self._sock.recv_into(buffer)
        except BlockingIOError:
            self.dry = True
            return 0
        except OSError as error:
            raise _broken(error) from None
        if not n:
            raise NetworkError("the connection ended")
        self.dry = n < len(buffer)
        return n

    def write_some(self, data: memoryview) -> int:
        """Writes as much as the pipe takes now; returns how many bytes that was. NetworkError: the carrier is over."""
        sent, size = 0, len(data)
        try:
            while sent < size:
                sent += self._sock.send(data[sent:])
        except BlockingIOError:
            pass
        except OSError as error:
            raise _broken(error) from None
        finally:
            self._written += sent
        return sent

    def unacknowledged(self) -> int:
        """Bytes that the other side of the carrier does not have, as far as is known."""
        return max(0, self._written - self._progress.acknowledged)

    def queued(self) -> tuple[int, int, float]:
        """Bytes in the pipe or with the carrier, these and what is on its way, the shortest round trip in seconds."""
        progress = self._progress
        return max(0, self._written - progress.sent), self.unacknowledged(), progress.round_trip

    def silent(self) -> float:
        """Infinite: what the carrier hears beside the stream, as empty answers, is no sign of life (`HP6`)."""
        return math.inf

    def remote(self) -> str:
        """The numeric address that the carrier leads to, or nothing."""
        return self._remote

    def certificate(self) -> bytes:
        """The leaf certificate of the TLS below, DER, or nothing."""
        return self._progress.certificate

    def presented_hash(self) -> bytes:
        """As in Link, of the TLS below."""
        return self._presented

    def version(self) -> str:
        """The version of the TLS below, as in "TLSv1.3", or nothing."""
        return self._progress.version

    # -- the end ----------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Ends the pipe for both threads, and for the carrier; any thread may call it."""
        with suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_RDWR)

    def break_off(self) -> None:
        """As `abort`: no call on a pipe takes long. Any thread, and also behind `close`."""
        with self._closing:
            self.abort()

    def say_goodbye(self, deadline: float = 0.0) -> None:
        """Ends what is sent; then reads what is unread, until the deadline. The owner's last call but `close`."""
        rest = memoryview(bytearray(limits.FIRST_READ))
        with suppress(OSError):  # it has ended
            self._sock.shutdown(socket.SHUT_WR)
            for _ in range(limits.DRAIN_BYTES // len(rest)):
                try:
                    if not self._sock.recv_into(rest):
                        return
                except BlockingIOError:
                    if (left := deadline - now()) <= 0 or not wait({self.fd: select.POLLIN}, left):
                        return

    def close(self, deadline: float = 0.0) -> None:
        """The owner's last call, after joining. With a deadline it says goodbye before."""
        try:
            if deadline:
                self.say_goodbye(deadline)
        finally:
            with self._closing:
                self._sock.close()


def pair(
    progress: Progress,
    remote: str = "",
    buffer: int = limits.PIPE,
    presented: bytes = bytes(32),
) -> tuple[PipeLink, socket.socket]:
    """The session's end, and the carrier's, a non-blocking socket; each direction holds about `buffer` bytes at most.

    Raises OSError where no descriptor is left.
    """
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer // 2)  # the kernel doubles it
    return PipeLink(ends[0], progress, remote, presented), ends[1]


def is_left(end: socket.socket) -> bool:
    """Whether the session has closed the other end, or aborted it: for a carrier that neither reads nor writes."""
    events = wait({end.fileno(): select.POLLOUT}, 0).get(end.fileno(), 0)
    return bool(events & (select.POLLHUP | select.POLLERR))


def _broken(error: OSError) -> NetworkError:
    """One text for people, whatever way the kernel says it."""
    return NetworkError(f"the connection broke: {error.strerror or error}")
