"""A real nginx as the decoy, with TLS of its own to compare with; and a visitor who sees how TLS and TCP end."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback import dial_tcp, pem, unused_port

BOUND = 30.0
HEAD_TIME, KEEP_TIME = 1, 2  # seconds; nginx's own are 60 and 75
REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
_SETTINGS = """
daemon off; master_process off; pid {place}/pid; error_log {place}/error.log crit;
events {{ worker_connections 2000; }}
http {{
  access_log off; server_tokens on; lingering_timeout 2s;
  client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u;
  scgi_temp_path {place}/s; client_header_timeout {head}s; keepalive_timeout {keep}s;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl; ssl_certificate {crt}; ssl_certificate_key {key};
    root {place}/site;
    location /echo {{
      proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
    }}
  }}
}}
"""


@dataclass
class Nginx:
    """Its ports; `page` is what / is, `behind` where /echo leads to."""

    plain: int
    secure: int
    behind: int
    page: bytes
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def nginx(head: int = HEAD_TIME, keep: int = KEEP_TIME) -> Iterator[Nginx]:
    """A running one; both times in seconds."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("needs nginx")
    with tempfile.TemporaryDirectory(prefix="ns-nginx-") as name:
        place, page = Path(name), b"<p>Roses, mostly.</p>\n" * 20
        (place / "site").mkdir()
        place.chmod(0o755)
        (place / "site" / "index.html").write_bytes(page)
        (place / "site" / "large").write_bytes(bytes(3 << 20))
        crt, key = pem("www.example.org")
        plain, secure, behind = unused_port(), unused_port(), unused_port()
        settings = place / "conf"
        settings.write_text(
            _SETTINGS.format(
                place=place, plain=plain, secure=secure, behind=behind, crt=crt, key=key, head=head, keep=keep
            )
        )
        process = subprocess.Popen([program, "-p", name, "-c", str(settings)], stderr=subprocess.DEVNULL)
        try:
            _await(process, plain)
            _await(process, secure)
            yield Nginx(plain, secure, behind, page, process)
        finally:
            process.terminate()
            process.wait(BOUND)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + BOUND
    while True:
        with contextlib.suppress(OSError):
            return dial_tcp(port).close()
        assert process.poll() is None and time.monotonic() < end, "nginx takes no connections"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


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
        assert select.select([self.sock], [], [], BOUND)[0], f"nothing more came behind {self.ends}"
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
