"""TLS over another Link, as behind a proxy that is itself spoken to in TLS: an SSLSocket cannot wrap an SSLSocket.

OpenSSL works on two buffers in memory. One lock is around each of its calls; all that waits is the Link below.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from ..facts import limits
from ..facts.errors import ConnectionEnded, NetworkError
from ..facts.wire import Carrier
from .link import Link, LinkAbove
from .timers import now

_CHUNK: Final = 65_536  # bytes sealed at once; they are out before the next ones are sealed


class NestedLink(LinkAbove):
    """`read_some` belongs to one thread, `write_some` to one at a time; `close` to the owner, after joining both."""

    carrier = Carrier.RAW
    __slots__ = (
        "_below", "_came", "_lock", "_read", "_received", "_sealed", "_taken", "_tls", "_unsent", "dry", "fd",
        "read_wants", "write_wants",
    )  # fmt: skip

    def __init__(self, below: Link, context: ssl.SSLContext, host: str) -> None:
        """Takes `below` over. To be followed by `handshake`."""
        self._below = below
        self._came, self._sealed = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._sealed, server_hostname=host)
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)  # its stub leaves the buffer form out
        self._lock = threading.Lock()
        self._received = memoryview(bytearray(2 * limits.FIRST_READ))  # the reader's
        self._unsent = memoryview(b"")  # the writer's: sealed, and not taken below
        self._taken = 0  # bytes of plaintext that are sealed there
        self.fd, self.dry = below.fd, True
        self.read_wants, self.write_wants = below.read_wants, below.write_wants

    def handshake(self, deadline: float) -> None:
        """Blocks until it is done; raises OSError of TLS and NetworkError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._below.write_all(self._sealed.read(), deadline)
                self._came.write(self._below.read_first(deadline))
            else:
                return self._below.write_all(self._sealed.read(), deadline)

    def agreed(self) -> tuple[str, str, str]:
        """Version, cipher and ALPN of the handshake."""
        cipher = self._tls.cipher()
        return self._tls.version() or "", cipher[0] if cipher else "", self._tls.selected_alpn_protocol() or ""

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """Reads until `enough` bytes are there or no more come now; 0 when there are none yet.

        Raises NetworkError at the end of the connection.
        """
        got, self.dry, looked = 0, False, False
        while got < enough and not self.dry:
            try:
                n = self._decrypted(buffer[got:])
                if n is None:
                    n, self.dry = 0, (looked and self._below.dry) or not self._receive()
                    looked = True
            except NetworkError:
                if not got:
                    raise
                break  # what came before the end is not lost; the next read tells of it
            got += n
        self.read_wants = self._below.read_wants
        return got

    def _decrypted(self, buffer: memoryview) -> int | None:
        """How many bytes OpenSSL had; None where it wants more ciphertext. Raises NetworkError."""
        try:
            with self._lock:
                n = self._read(len(buffer), buffer)
        except ssl.SSLWantReadError:
            return None
        except (OSError, ValueError) as error:
            raise _broken(error) from None
        if not n:
            raise ConnectionEnded(notified=True)
        return n

    def _receive(self) -> int:
        """Takes ciphertext from below; returns how much."""
        try:
            n = self._below.read_some(self._received)
        except ConnectionEnded:  # whatever the TLS of the proxy says, the server's has not
            raise ConnectionEnded(notified=False) from None
        with self._lock:
            self._came.write(self._received[:n])
        return n

    def write_some(self, data: memoryview) -> int:
        """Writes as much as is taken below now; returns how many bytes that was, without those that are sealed and not
        all out: they are the first of the rest, which alone may be written then.

        What reading makes OpenSSL answer (a new key) leaves with the next write.
        """
        sent = 0
        try:
            while self._flush():
                sent, self._taken = sent + self._taken, 0
                if sent == len(data):
                    break
                with self._lock:
                    self._taken = self._tls.write(data[sent : sent + _CHUNK])
        except ssl.SSLWantReadError:
            self.write_wants = self._below.read_wants
        except (OSError, ValueError) as error:
            raise _broken(error) from None
        return sent

    def _flush(self) -> bool:
        """Writes what is sealed; whether all of it is out."""
        while True:
            if not self._unsent:
                with self._lock:
                    self._unsent = memoryview(self._sealed.read())
                if not self._unsent:
                    return True
            self._unsent = self._unsent[self._below.write_some(self._unsent) :]
            if self._unsent:
                self.write_wants = self._below.write_wants
                return False

    def certificate(self) -> bytes:
        """The server's leaf certificate, DER, or nothing."""
        with self._lock:
            return self._tls.getpeercert(binary_form=True) or b""

    def version(self) -> str:
        """Of the TLS to the server, as in "TLSv1.3", or nothing."""
        with self._lock:
            return self._tls.version() or ""

    # -- the end ------------------------------------------------------------------------------------------------------

    def say_goodbye(self, deadline: float = 0.0) -> None:
        """close_notify of both, and FIN; then reads what is unread, until the deadline."""
        self._unwrap(deadline)
        self._below.say_goodbye(deadline)

    def close(self, deadline: float = 0.0) -> None:
        """The owner's last call, after joining. With a deadline it says goodbye before."""
        if deadline:
            self._unwrap(deadline)
        self._below.close(deadline)

    def _unwrap(self, deadline: float) -> None:
        with suppress(OSError, ValueError), self._lock:  # SSLWantRead: ours is in the buffer, the peer's is not here
            self._tls.unwrap()
        with suppress(NetworkError):
            self._below.write_all(bytes(self._unsent) + self._sealed.read(), max(deadline, now()))


def _broken(error: OSError | ValueError) -> NetworkError:
    if isinstance(error, ssl.SSLZeroReturnError):
        return ConnectionEnded(notified=True)
    said = error.reason if isinstance(error, ssl.SSLError) else error.strerror if isinstance(error, OSError) else ""
    return NetworkError(f"the connection broke: {said or error}")
