"""The server's side of TLS on an accepted connection, step by step, for a thread that waits for none of them alone."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final

from ..facts import limits
from ..facts.errors import NetworkError
from .connect import PROTOCOLS, Context, ServerSocket
from .ends import PlainEnd
from .handshakes import go_on, wrap
from .hello import offered
from .race import tune
from .tls import TlsLink

_HEAD: Final = 5  # bytes before a TLS record: type, version, length
_HANDSHAKE: Final = b"\x16\x03"
_RECORD: Final = 16_384  # bytes of the largest one
_NO_PROTOCOL: Final = 120  # the alert no_application_protocol
_SPOKEN: Final = frozenset(name.encode() for name in PROTOCOLS)
_LOOK: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT


class Incoming:
    """One connection, one thread's. Until `begin` it costs a descriptor and hardly a byte."""

    __slots__ = ("_awaited", "_presented", "_raw", "_tls", "fd")

    def __init__(self, raw: socket.socket) -> None:
        """Takes over an accepted socket."""
        self._raw = raw
        self._tls: ssl.SSLSocket | None = None
        self._awaited = 1
        self._presented = bytes(32)
        self.fd = raw.fileno()

    def has_hello(self) -> bool:
        """Whether the first TLS record is there whole, or what begins none; to be asked once, and when it is readable.

        As long as it is not, the descriptor becomes readable only when it is: who drips bytes costs nothing. Raises
        OSError or NetworkError when the connection has ended.
        """
        try:
            head = self._raw.recv(_HEAD, _LOOK)
        except BlockingIOError:
            return False
        if not head:
            raise NetworkError("the connection ended")
        if not head.startswith(_HANDSHAKE[: len(head)]):
            return True  # OpenSSL says what it says
        size = _HEAD + int.from_bytes(head[3:]) if len(head) == _HEAD else _HEAD
        if size > _HEAD + _RECORD:
            return True
        there = len(self._raw.recv(size, _LOOK))
        if there < self._awaited:  # readable all the same: no more will come, or the kernel is short of memory
            return True
        if len(head) == _HEAD and there == size:
            return True
        self._await(size)
        return False

    def _await(self, size: int) -> None:
        if size != self._awaited:
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._awaited = size

    def is_plain(self) -> bool:
        """Whether something else than TLS has begun, as web servers tell by the first byte; not before `has_hello`."""
        first = self._peek()[:1]
        return bool(first) and first < b"\x80" and first != _HANDSHAKE[:1]

    def plain(self) -> PlainEnd:
        """Gives the connection away as it is, of which nothing was read."""
        self._await(1)
        tune(self._raw)
        return PlainEnd(self._raw)

    @property
    def begun(self) -> bool:
        """Whether TLS has."""
        return self._tls is not None

    def begin(self, context: Context, presented: bytes = bytes(32)) -> None:
        """Begins TLS, of which nothing is done yet; may be called again. Raises OSError.

        `presented` is the hash of the certificate that `context` presents: the link keeps it.
        """
        if self._tls is not None:
            return
        self._await(1)
        self._raw.setblocking(False)
        tune(self._raw)
        offer = offered(self._peek())
        unnamed = None if offer.name.isascii() else getattr(context, "unnamed", None)  # Python cannot say such a name
        self._tls, self._presented = wrap(self._raw, unnamed or context), presented
        if offer.protocols and isinstance(self._tls, ServerSocket) and not _SPOKEN.intersection(offer.protocols):
            self._tls.refusal = _NO_PROTOCOL

    def _peek(self) -> bytes:
        with suppress(BlockingIOError):
            return self._raw.recv(_HEAD + _RECORD, _LOOK)
        return b""

    def go_on(self) -> int:
        """Does what can be done of TLS now; returns the event it waits for, as in `selectors`, or 0 when it is done."""
        assert self._tls is not None, "begun before"
        return go_on(self._tls)

    def link(self) -> TlsLink:
        """Gives the connection away, once TLS is done."""
        assert self._tls is not None, "begun before"
        return TlsLink(self._tls, self._presented)

    def part(self) -> None:
        """Ends it as web servers do, which read ahead: not with a reset for what is unread. Before it was given away.

        What comes later is answered with a reset; so nothing is shut down before the last read.
        """
        sock, rest = self._tls or self._raw, bytearray(limits.FIRST_READ)
        with suppress(OSError):
            for _ in range(limits.DRAIN_BYTES // len(rest)):
                if not socket.socket.recv_into(sock, rest, flags=socket.MSG_DONTWAIT):
                    break
        sock.close()

    def close(self) -> None:
        """Ends it, at any time before it was given away."""
        (self._tls or self._raw).close()
