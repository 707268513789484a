"""A TLS connection that two threads may use: one lock around each single OpenSSL call, all waiting outside it.

Two threads inside OpenSSL on one SSLSocket break it (bad MACs, false EOFs, hangs). So the socket is non-blocking, and
`read_some` and `write_some` never wait. Poll only after a call said that it would block: what OpenSSL holds
already decrypted is not seen by poll.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from typing import cast

from ..facts import limits
from ..facts.errors import ConnectionEnded, NetworkError
from ..facts.wire import Carrier
from .link import Link
from .sockets import closed, has_more, reset
from .timers import TIMERS, now
from .wake import wait

_LINUX = sys.platform == "linux"
_RECORD = 16_384  # bytes of the largest TLS record
_INFO = struct.Struct("144xII")  # Linux, struct tcp_info: tcpi_notsent_bytes, tcpi_min_rtt in microseconds
_CAME = struct.Struct("52xI")  # the same: tcpi_last_data_recv in milliseconds
_SECOND = 1_000_000
_SIOCOUTQ = 0x5411  # Linux: bytes that the other side's kernel has not acknowledged


class TlsLink(Link):
    """`read_some` belongs to one thread, `write_some` to one at a time; `close` to the owner, after joining both."""

    carrier = Carrier.RAW
    __slots__ = ("_closing", "_lock", "_presented", "_read", "_sock", "dry", "fd", "read_wants", "write_wants")

    def __init__(self, sock: ssl.SSLSocket, presented: bytes = bytes(32)) -> None:
        """Takes over a socket whose TLS handshake is done; `presented` is the hash of the certificate shown in it."""
        sock.setblocking(False)
        self._sock, self._presented = sock, presented
        self._read = cast(Callable[[int, memoryview], int], sock.read)  # its stub leaves the buffer form out
        self._lock = threading.Lock()
        self._closing = threading.Lock()  # a number that is closed may be another's at once
        self.fd = sock.fileno()
        self.read_wants = select.POLLIN  # what to poll for when `dry`
        self.dry = True  # the last read took all that there was: poll before the next
        self.write_wants = select.POLLOUT

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """Reads until `enough` bytes are there or no more come now; 0 when there are none yet.

        One OpenSSL call brings one TLS record at most. Behind a short one there is mostly nothing more, and poll sees
        what there is: OpenSSL holds no part of a record back that fitted the buffer. So that ends the reading, too.
        Raises NetworkError at the end of the connection.
        """
        got, size, self.dry = 0, len(buffer), False
        try:
            while got < enough:
                with self._lock:
                    n = self._read(size - got, buffer[got:])
                if not n:
                    raise ConnectionEnded(notified=True)
                got += n
                if n < _RECORD and got < size:
                    self.dry, self.read_wants = True, select.POLLIN
                    break
        except ssl.SSLWantReadError:
            self.dry, self.read_wants = True, select.POLLIN
        except ssl.SSLWantWriteError:
            self.dry, self.read_wants = True, select.POLLOUT
        except (OSError, ValueError) as error:
            raise _broken(error) from None
        return got

    def write_some(self, data: memoryview) -> int:
        """Writes as much as the kernel takes now; returns how many bytes that was.

        After less than all only the rest may be written: anything else is an error to OpenSSL and ends the connection.
        """
        sent, size = 0, len(data)
        try:
            while sent < size:
                with self._lock:
                    sent += self._sock.write(data[sent:])
        except ssl.SSLWantWriteError:
            self.write_wants = select.POLLOUT
        except ssl.SSLWantReadError:
            self.write_wants = select.POLLIN
        except (OSError, ValueError) as error:
            raise _broken(error) from None
        return sent

    def unacknowledged(self) -> int:
        """Bytes that the next kernel on the way has not acknowledged; 0 where the system does not tell."""
        if not _LINUX:
            return 0
        try:
            return int.from_bytes(ioctl(self.fd, _SIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:  # it is closed
            return 0

    def queued(self) -> tuple[int, int, float]:
        """Bytes not sent, bytes not acknowledged, and the shortest round trip in seconds; 0 where nothing tells."""
        if not _LINUX:
            return 0, 0, 0.0
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
            unsent, round_trip = _INFO.unpack(info)
        except (OSError, struct.error):  # it is closed, or the kernel is older than Linux 4.6
            return 0, 0, 0.0
        return unsent, self.unacknowledged(), min(round_trip, _SECOND) / _SECOND

    def silent(self) -> float:
        """Seconds since a byte came, also of a TLS record that is not whole yet; infinite where nothing tells."""
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _CAME.size) if _LINUX else b""
            return float(_CAME.unpack(info)[0]) / 1000
        except (OSError, struct.error):
            return math.inf

    def remote(self) -> str:
        """The numeric address that this connection leads to, or nothing."""
        try:
            return str(self._sock.getpeername()[0])
        except OSError:
            return ""

    def certificate(self) -> bytes:
        """The peer's leaf certificate, DER, or nothing."""
        with self._lock:
            return self._sock.getpeercert(binary_form=True) or b""

    def presented_hash(self) -> bytes:
        """As in Link: of this very connection, whatever the next ones present."""
        return self._presented

    def version(self) -> str:
        """As in "TLSv1.3", or nothing."""
        with self._lock:
            return self._sock.version() or ""

    # -- the end ------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Ends the connection for both threads; any thread may call it. Never SSLSocket.shutdown, which drops TLS."""
        with suppress(OSError):  # it has ended already
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def break_off(self) -> None:
        """As `abort`, and OpenSSL finds the end at once: what came is thrown away, or torn, while it still reads it.

        Any thread, and also behind `close`.
        """
        rest = memoryview(bytearray(limits.FIRST_READ))
        with self._closing, suppress(OSError):  # nothing is left, or all of it has ended
            self.abort()
            for _ in range(limits.DRAIN_BYTES // len(rest)):
                if not socket.socket.recv_into(self._sock, rest, flags=socket.MSG_DONTWAIT):
                    return

    def close(self, deadline: float = 0.0) -> None:
        """The owner's last call, after joining. With a deadline it says close_notify and reads what is unread.

        Unread bytes at a close make the kernel send RST, and the peer would lose what we wrote last.
        """
        try:
            if deadline:
                self.say_goodbye(deadline)
        finally:
            with self._closing:
                self._sock.close()

    def say_goodbye(self, deadline: float = 0.0) -> None:
        """close_notify and FIN; then reads what is unread, until the deadline. The owner's last call but `close`."""
        self._unwrap()
        rest = memoryview(bytearray(limits.FIRST_READ))
        try:
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            for _ in range(limits.DRAIN_BYTES // len(rest)):
                if not socket.socket.recv_into(self._sock, rest):
                    return
        except BlockingIOError:
            self._drain_late(rest, deadline)
        except OSError:
            pass

    # -- of a connection that is relayed: who closes how is passed on -------------------------------------------------

    def has_more(self) -> bool:
        """As CallerEnd.has_more; of what OpenSSL has read already it tells, too. Not beside a thread that reads."""
        return bool(self._sock.pending()) or has_more(self._sock)

    def finish(self, notify: bool) -> None:
        """Ends what is sent, with close_notify before or without; only `swallow` reads from here on."""
        if notify:
            self._unwrap()
        with suppress(OSError):  # it has ended already
            socket.socket.shutdown(self._sock, socket.SHUT_WR)

    def swallow(self) -> bool:
        """Throws away what came, behind `finish`, and tells whether something did. Raises as `read_some` at the end."""
        try:
            if not socket.socket.recv(self._sock, limits.FIRST_READ):
                raise ConnectionEnded(notified=False)
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            raise _broken(error) from None
        return True

    def part(self) -> None:
        """Ends the connection without a word of TLS, and without a reset for what is unread; the owner's last call.

        What comes later is answered with a reset, as by web servers; so nothing is shut down before the last read.
        """
        with suppress(NetworkError):
            for _ in range(limits.DRAIN_BYTES // limits.FIRST_READ):
                if not self.swallow():
                    break
        self.close()

    def gone(self) -> bool:
        """Whether TCP is over: the other end has reset it, or both have ended; False where the system does not tell."""
        return closed(self._sock)

    def reset(self) -> None:
        """Ends the connection with a reset; the owner's last call."""
        with self._closing:
            reset(self._sock)

    def _unwrap(self) -> None:
        """close_notify. OpenSSL looks for the peer's, too, and reads on as long as records come that bring no data."""
        timer = None
        with suppress(RuntimeError):  # no thread for timers is left: nobody looks this time
            timer = TIMERS.after(limits.GOODBYE, lambda _: self.break_off())
        with suppress(OSError, ValueError), self._lock:  # SSLWantRead: ours went out, the peer's is not here yet
            self._sock.unwrap()
        if timer is not None:
            timer.cancel()

    def _drain_late(self, rest: memoryview, deadline: float) -> None:
        try:
            while (left := deadline - now()) > 0 and wait({self.fd: select.POLLIN}, left):
                if not socket.socket.recv_into(self._sock, rest):
                    return
        except OSError:
            pass


def _broken(error: OSError | ValueError) -> NetworkError:
    """One text for people, whatever way OpenSSL and the kernel say it."""
    if isinstance(error, ssl.SSLEOFError | ValueError):  # ValueError: this side has closed it
        return ConnectionEnded(notified=False)
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return NetworkError(f"the connection broke: {reason or error}")
