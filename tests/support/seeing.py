"""A visitor of a web server who sees how TLS and TCP end."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time

from loopback import dial_tcp
from ready import readable

BOUND = 30.0
REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"


class Seeing:
    """A TLS connection over memory: `seen` is what came in order, bytes joined: "200", "notify", "FIN", "RST"."""

    def __init__(self, port: int, alpn: str = "") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols([alpn])
        self.sock = dial_tcp(port)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._came, self._out)
        while not self._shaken():
            self._came.write(self.sock.recv(1 << 16))
        self.got, self.ends = b"", list[str]()

    def _shaken(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return False
        self.flush()
        return True

    def flush(self) -> None:
        if data := self._out.read():
            self.sock.sendall(data)

    def say(self, data: bytes) -> Seeing:
        self.tls.write(data)
        self.flush()
        return self

    def notify(self) -> Seeing:
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.flush()
        return self

    def fin(self) -> Seeing:
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def read(self, size: int) -> bytes:
        """Until so many bytes are there in all."""
        while len(self.got) < size and not self._over():
            self._take()
        return self.got

    def see(self) -> tuple[bytes, list[str]]:
        """All that came, with how it ended."""
        while not self._over():
            self._take()
        return self.got, self.ends

    def _over(self) -> bool:
        return self.ends[-1:] in (["FIN"], ["RST"])

    def _take(self) -> None:
        assert readable(self.sock, BOUND), f"nothing more came behind {self.ends}"
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            self.ends.append("RST")
            return
        if not data:
            self.ends.append("FIN")
            return
        self._came.write(data)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while piece := self.tls.read(1 << 16):
                self.got += piece
            self.ends.append("notify")
            return
        if self.tls.pending() == 0 and data[:1] == b"\x15" and "notify" not in self.ends:
            self.ends.append("notify")

    def answers_with_reset(self) -> bool:
        """Whether a byte that comes too late is answered by a reset: a write behind it fails then."""
        end = time.monotonic() + BOUND
        while time.monotonic() < end:
            try:
                self.sock.send(b"\x17\x03\x03\x00\x01x")
            except OSError:
                return True
            with contextlib.suppress(TimeoutError):
                select.select([], [], [], 0.05)
        return False

    def close(self) -> None:
        self.sock.close()
