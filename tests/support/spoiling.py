"""A server of the carrier `http`, written from docs/protocol.md 6 alone: blocking, a thread for each connection.

It judges what the client sends (`faults`), and spoils what `Spoil` says. No knock is looked at: what up 0 brings is the
beginning of the stream. `carriers` are in the order in which they began.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from loopback import pem
from spoilt_stream import BODY, BOUND, Carrier, read_token

UP = 1
PORTAL = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nlog in"


@dataclass(slots=True)
class Spoil:
    """What goes wrong. `which` chooses the requests that are spoilt; they are counted from 1 on each connection."""

    which: Callable[[int], bool] = lambda _: False
    how: str = ""  # lost: applied, not answered. mute: neither. cut: amid the body. torn: amid the answer. doubled
    answer: bytes = b""  # in place of the right answer; not applied
    hold: float = 0.0  # seconds that each answer is held
    close: bool = False  # Connection: close
    most: int = BODY  # bytes of a body; 413 beyond
    chunked: bool = False
    cookies: bool = False  # set; who does not return it meets another node, which knows nothing
    shuffle: int = 0  # a seed: requests are applied up to 30 ms late, so in another order
    idle: float = BOUND  # seconds between two requests of a connection
    park: float = 20.0  # seconds until a down without bytes is answered


def _head(stream: BinaryIO) -> bytes:
    """Of the next request, lines with LF; b"" at the end."""
    lines: list[bytes] = []
    while not lines or lines[-1] != b"\r\n":
        if not (line := stream.readline(8192)).endswith(b"\r\n"):
            return b""
        lines.append(line)
    return b"".join(lines).replace(b"\r\n", b"\n")


class Spoiling:
    """The server; `with` stops it. `requests` counts them, `connections` too."""

    def __init__(self, spoil: Spoil | None = None) -> None:
        self.spoil = spoil or Spoil()
        self.knock = random.randbytes(32)
        self.carriers: list[Carrier] = []
        self.begun = threading.Condition()
        self.faults: list[str] = []
        self.heads: list[bytes] = []
        self.requests = self.connections = 0
        self._ids: dict[bytes, Carrier] = {}
        self._random = random.Random(self.spoil.shuffle)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*pem("server"))
        self._context.set_alpn_protocols(["http/1.1"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self.socks: set[socket.socket] = set()  # with TLS, now
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Spoiling:
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
        for thread in self._threads:
            thread.join(BOUND)

    def unplug(self) -> None:
        """No more connections, and none of those that there are."""
        with suppress(OSError):  # it may be unplugged already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends the connections that there are."""
        for carrier in self.carriers:
            carrier.finish()
        for sock in list(self.socks):
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def wait(self, until: Callable[[], bool]) -> None:
        """For what `socks` and `carriers` say."""
        with self.begun:
            assert self.begun.wait_for(until, BOUND), "it did not come"

    def carrier(self, at: int = 0) -> Carrier:
        """The carrier that began as number `at`; waits for it."""
        self.wait(lambda: len(self.carriers) > at)
        return self.carriers[at]

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=[raw], daemon=True))
            self._threads[-1].start()

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(BOUND)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), self._context.wrap_socket(raw, server_side=True) as sock:
            self._note(self.socks.add, sock)
            try:
                stream, number = sock.makefile("rb"), 1
                while self._request(sock, stream, number):
                    sock.settimeout(self.spoil.idle)  # not before: a busy client is slow with its first request
                    number += 1
            finally:
                self._note(self.socks.discard, sock)

    def _note(self, change: Callable[[socket.socket], None], sock: socket.socket) -> None:
        with self.begun:
            change(sock)
            self.begun.notify_all()

    # -- one request ------------------------------------------------------------------------------------------------

    def _request(self, sock: ssl.SSLSocket, stream: BinaryIO, number: int) -> bool:
        """Whether another one may follow."""
        if not (head := _head(stream)):
            return False
        self.requests += 1
        spoil = self.spoil
        spoilt = spoil.which(number)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\n")[1:-2])
        fields = {name.lower(): value for name, value in fields.items()}
        self.heads.append(head)
        size = int(fields[b"content-length"])
        if spoilt and spoil.how == "cut":
            stream.read(size // 2)
            return False
        body = stream.read(size)
        if spoilt and spoil.how == "mute":
            stream.read(1)
            return False
        if len(body) < size:
            return False
        self._judge(head, fields, size)
        if size > spoil.most:
            sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        if spoilt and spoil.answer:
            sock.sendall(spoil.answer)
            return b"onnection: close" not in spoil.answer
        if spoil.shuffle:
            time.sleep(self._random.random() * 0.03)
        apply = self._apply(head, fields, body)
        answer = next(apply)
        if spoilt and spoil.how == "doubled":
            answer = next(self._apply(head, fields, body))
        time.sleep(spoil.hold)
        if spoilt and spoil.how == "lost":
            return False
        if spoilt and spoil.how == "torn":
            sock.sendall(answer[: len(answer) // 2 + 20])
            return False
        sock.sendall(answer)
        next(apply, None)  # it is out
        return not spoil.close

    def _judge(self, head: bytes, fields: dict[bytes, bytes], size: int) -> None:
        if not head.startswith(b"POST ") or size > BODY or b"transfer-encoding" in fields:
            self.faults.append(f"a request that is not allowed: {head!r}")
        if fields.get(b"cache-control") != b"no-store":
            self.faults.append(f"no-store is missing: {head!r}")
        if size and fields.get(b"content-type") != b"application/octet-stream":
            self.faults.append(f"another content type: {head!r}")

    def _apply(self, head: bytes, fields: dict[bytes, bytes], body: bytes) -> Iterator[bytes]:
        """Yields the answer, and once more; it is gone on with when the answer is out."""
        token = head.split(b" ")[1].rpartition(b"/")[2]
        read = read_token(token, self.knock, int(time.time()) // 3600)
        node = fields.get(b"cookie", b"").find(b"node=a%") >= 0
        if read is None or (self.spoil.cookies and not node and read[1:] != (UP, 0)):
            self.faults.append("a token that is none" if read is None else "it went to another node")
            yield self._head(b"502 Bad Gateway", b"text/html", 0)
            return
        id, what, n = read
        with self.begun:
            carrier = self._ids.get(id)
            if carrier is None and (what, n) == (UP, 0):
                self.carriers.append(Carrier())
                carrier = self._ids[id] = self.carriers[-1]
                self.begun.notify_all()
        if carrier is None:
            carrier = self._await(id)
        if what == UP:
            yield self._answer(b"200 OK" if carrier.up(n, body) else b"403 Forbidden", b"")
        else:
            held = carrier.down(n, self.spoil.park, self.faults)
            carrier.written.add(n)  # before, since the client may be quicker than this thread
            yield self._answer(b"200 OK" if held is not None else b"204 No Content", held or b"")

    def _await(self, id: bytes) -> Carrier:
        """HP9."""
        self.wait(lambda: id in self._ids)
        return self._ids[id]

    def _answer(self, status: bytes, body: bytes) -> bytes:
        if not self.spoil.chunked or not body:
            return self._head(status, b"application/octet-stream", len(body)) + body
        head = self._head(status, b"application/octet-stream", -1)
        cut = len(body) // 3
        chunks = [piece for piece in (body[:cut], body[cut:]) if piece]
        return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in chunks) + b"0\r\n\r\n"

    def _head(self, status: bytes, kind: bytes, size: int) -> bytes:
        lines = [b"HTTP/1.1 " + status, b"Server: nginx", b"Content-Type: " + kind, b"Cache-Control: no-store"]
        if not status.startswith(b"204"):
            lines.append(b"Content-Length: %d" % size if size >= 0 else b"Transfer-Encoding: chunked")
        if self.spoil.cookies:
            lines += [b"Set-Cookie: node=a%; Path=/; HttpOnly", b"Set-Cookie: other=1; Max-Age=60"]
        lines += [b"Connection: close" if self.spoil.close else b"Connection: keep-alive"]
        return b"\r\n".join(lines) + b"\r\n\r\n"
