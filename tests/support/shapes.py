"""What a box lets through, shape by shape, with neither carrier nor tunnel: a small server behind it, and a client.

Each shape is a function of a box, from which comes a word for a table: "yes", or what became of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator

from boxes import Box
from loopback import Server, read_exactly

PATIENCE = 3.0  # seconds of silence that count as a hang
RAW = b"\xff" + hashlib.shake_128(b"a greeting").digest(2000)  # no HTTP begins so, and greetings are no shorter
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhbRbgK4yOo="  # of RFC 6455, 1.3
PIECE = b"x" * 1000
MASK = b"mask"

_seen = threading.Event()  # the beginning of an answer, by the client
_came = threading.Event()  # the beginning of a request, to the server


class Head:
    """The head of a request or an answer: its first line in words, its fields in lower case."""

    def __init__(self, tls: ssl.SSLSocket, begun: bytes = b"") -> None:
        """Raises OSError or AssertionError where none comes."""
        text = begun
        while not text.endswith(b"\r\n\r\n"):
            text += read_exactly(tls, 1)
        first, *lines = text[:-4].split(b"\r\n")
        self.first = first.split(b" ", 2)
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}

    @property
    def length(self) -> int:
        return int(self.fields.get(b"content-length", b"0"))


# -- the server ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering() -> Iterator[int]:
    """The port of a server that has an answer for each shape."""
    with Server(serve) as server:
        yield server.address[1]


def serve(tls: ssl.SSLSocket) -> None:
    """What is no request is given back. Ends of all kinds are none of a fault here."""
    with contextlib.suppress(OSError, AssertionError):
        begun = read_exactly(tls, 1)
        if begun[0] >= 128:
            tls.sendall(begun)
            while piece := tls.recv(1 << 16):
                tls.sendall(piece)
        while True:
            head = Head(tls, begun)
            _ANSWERS[head.first[1].rpartition(b"/")[2]](tls, head)
            begun = b""


def _upgraded(tls: ssl.SSLSocket, head: Head) -> None:
    if head.fields.get(b"upgrade", b"").lower() != b"websocket":
        return tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    tls.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )
    opcode, size = read_exactly(tls, 2)
    mask, masked = read_exactly(tls, 4), read_exactly(tls, size & 127)
    tls.sendall(bytes([opcode, len(masked)]) + _masked(masked, mask))


def _streamed(tls: ssl.SSLSocket, _: Head) -> None:
    """The end waits for the client, and tells whether it had to wait too long."""
    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    tls.sendall(_chunk(PIECE + b"."))
    end = b"soon!" if _seen.wait(PATIENCE) else b"late!"
    tls.sendall(_chunk(end) + _chunk(b""))


def _chunked(tls: ssl.SSLSocket, head: Head) -> None:
    """A box may hand on a body of known length, or chunks of its own."""
    body = read_exactly(tls, head.length)
    while not head.length and not body.endswith(b"\r\n0\r\n\r\n"):
        body += read_exactly(tls, 1)
        if PIECE in body:
            _came.set()
    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _known(tls: ssl.SSLSocket, head: Head) -> None:
    body = read_exactly(tls, head.length)
    kind = b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    tls.sendall(b"HTTP/1.1 200 OK\r\n" + kind + body)


_ANSWERS = {b"upgrade": _upgraded, b"streamed": _streamed, b"chunked": _chunked, b"known": _known}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _masked(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


# -- the client ----------------------------------------------------------------------------------------------------


def told(ask: Callable[[ssl.SSLSocket, bytes], str], box: Box, alpn: str = "http/1.1") -> str:
    """What `ask` makes of a new connection through the box: a word, or how it failed."""
    try:
        with box.dial(alpn) as tls:
            tls.settimeout(PATIENCE)
            return ask(tls, "{}:{}".format(*box.address).encode())
    except TimeoutError:
        return "hangs"
    except (OSError, AssertionError):
        return "ended"


def _request(host: bytes, method: bytes, path: bytes, *fields: bytes) -> bytes:
    lines = [method + b" /" + path + b" HTTP/1.1", b"Host: " + host, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _raw(tls: ssl.SSLSocket, _: bytes) -> str:
    tls.sendall(RAW)
    got = read_exactly(tls, 12)
    if got.startswith(b"HTTP/1."):
        return got[9:].decode()
    return "yes" if got + read_exactly(tls, len(RAW) - 12) == RAW else "changed"


def raw(box: Box) -> str:
    """Bytes that are no HTTP."""
    return told(_raw, box, "")


def raw_alpn(box: Box) -> str:
    """The same on a connection that promised HTTP."""
    return told(_raw, box)


def _upgrade(tls: ssl.SSLSocket, host: bytes) -> str:
    key = b"Sec-WebSocket-Key: " + KEY
    tls.sendall(_request(host, b"GET", b"upgrade", b"Upgrade: websocket", b"Connection: Upgrade", key,
                         b"Sec-WebSocket-Version: 13"))  # fmt: skip
    head = Head(tls)
    if head.first[1] != b"101":
        return "stripped" if head.first[1] == b"200" else head.first[1].decode()
    tls.sendall(b"\x82" + bytes([0x80 | 100]) + MASK + _masked(PIECE[:100], MASK))
    return "yes" if read_exactly(tls, 102) == b"\x82\x64" + PIECE[:100] else "changed"


def upgrade(box: Box) -> str:
    """A WebSocket, and a message each way."""
    return told(_upgrade, box)


def _stream(tls: ssl.SSLSocket, host: bytes) -> str:
    _seen.clear()
    tls.settimeout(2 * PATIENCE)
    tls.sendall(_request(host, b"GET", b"streamed"))
    if (head := Head(tls)).first[1] != b"200":
        return head.first[1].decode()
    got = b""
    while not got.count(b"."):
        got += read_exactly(tls, 1)
    _seen.set()
    while not got.count(b"!"):
        got += read_exactly(tls, 1)
    return "held" if b"late" in got else "yes"


def streamed(box: Box) -> str:
    """An answer whose end comes later than its beginning, or "held" until then."""
    return told(_stream, box)


def _chunks(tls: ssl.SSLSocket, host: bytes) -> str:
    _came.clear()
    tls.sendall(_request(host, b"POST", b"chunked", b"Transfer-Encoding: chunked") + _chunk(PIECE))
    early = _came.wait(PATIENCE)
    tls.sendall(_chunk(PIECE) + _chunk(b""))
    head = Head(tls)
    return head.first[1].decode() if head.first[1] != b"200" else "yes" if early else "held"


def chunked(box: Box) -> str:
    """A request whose end comes later than its beginning, or "held" until then."""
    return told(_chunks, box)


def _post(tls: ssl.SSLSocket, host: bytes, size: int) -> str:
    body = bytes(size)
    length = b"Content-Length: %d" % size
    tls.settimeout(5 * PATIENCE)
    tls.sendall(_request(host, b"POST", b"known", b"Content-Type: application/octet-stream", length))
    with contextlib.suppress(OSError):  # a refusal may come before the end
        tls.sendall(body)
    head = Head(tls)
    if head.first[1] != b"200":
        return head.first[1].decode()
    return "yes" if read_exactly(tls, head.length) == body else "changed"


def known(size: int, tries: int = 1) -> Callable[[Box], str]:
    """A request and an answer of this length each. One of `tries` is enough: where the machine is busy, Squid 5.7 ends
    some bodies of 8 MiB midway (39 of 120), and says nothing of it."""

    def ask(box: Box) -> str:
        came = (told(lambda tls, host: _post(tls, host, size), box) for _ in range(tries))
        return next((word for word in came if word != "ended"), "ended")

    return ask


def _twice(tls: ssl.SSLSocket, host: bytes) -> str:
    first = _post(tls, host, 100)
    try:
        return first if first != "yes" else _post(tls, host, 100)
    except (OSError, AssertionError):
        return "one"


def kept(box: Box) -> str:
    """Two requests on one connection, or "one"."""
    return told(_twice, box)


SHAPES: dict[str, Callable[[Box], str]] = {
    "raw": raw, "raw, ALPN": raw_alpn, "upgrade": upgrade, "streamed": streamed, "chunked": chunked,
    "half": known(512 << 10), "large": known(8 << 20, tries=5), "kept": kept,
}  # fmt: skip
