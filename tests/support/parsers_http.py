"""What reads HTTP, its tokens and WebSocket, as functions of bytes, for parsers.py."""

from __future__ import annotations

from dialogue import HOUR

from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.crypto.token import Token, Tokens
from nitrosocks_lib.facts.wire import What
from nitrosocks_lib.net import websocket
from nitrosocks_lib.protocol import heads, paths
from nitrosocks_lib.protocol.http1 import Answers, End, Head, Messages, Requests

TOKENS = Tokens(Secret(32))
TOKEN = TOKENS.make(HOUR, Token(bytes(10), What.UP, 7)).encode()
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
REQUESTS = (
    heads.post("example.org", f"/{TOKEN.decode()}", 5) + b"hello", b"POST / HTTP/1.1\r\nHost: x\r\n" + _CHUNKED,
    heads.upgrade("example.org", f"https://x:1/api/{TOKEN.decode()}", "key"), b"GET / HTTP/1.0\r\nExpect: x\r\n\r\n",
)  # fmt: skip
ANSWERS = (
    heads.answer(200, 5, 0) + b"hello" + heads.answer(204, 0, 0), heads.failure(413, 0), heads.switching("x", 0) + b"x",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + _CHUNKED, b"HTTP/1.0 200 OK\r\n\r\nto the end",
)  # fmt: skip
HTTP = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b": ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n",
    b"Connection: close\r\n", b"HTTP/1.0", b"HTTP/1.1 200 OK\r\n", b"http://", b" ", b"\t", b"\0", b"\xff", b";",
)  # fmt: skip


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _messages(reader: Messages, data: bytes) -> None:
    """Every byte is in one event or unread, in order, however it comes."""
    half, raw = len(data) // 2, b""
    for piece in (data[:half], data[half:]):
        reader.feed(piece)
        while (event := reader.next()) is not None:
            raw += b"" if isinstance(event, End) else event.raw
            if isinstance(event, Head):
                paths.token_of(event, "/api")
    assert data.startswith(raw) and len(raw) + reader.unread == len(data)


def request(data: bytes) -> None:
    _messages(Requests(), data)
    for prefix in ("", "/api"):
        assert not paths.can_begin(data, prefix) or paths.can_begin(data[: len(data) // 2], prefix)


def answer(data: bytes) -> None:
    reader = Answers()
    for method in (b"GET", b"HEAD", b"POST", b"CONNECT"):
        reader.expect(method)
    _messages(reader, data)
    if reader.end():
        assert reader.next() == End()


def token(data: bytes) -> None:
    found = TOKENS.read(_text(data), HOUR)
    assert found is None or TOKENS.make(found[1], found[0]) == _text(data)


# WebSocket

MESSAGES = (
    b"\x82\x05hello\x89\x02hi\x02\x03abc\x80\x01d\x88\x02\x03\xe8", b"\x82\x7e\x00\x7e" + bytes(126),
    b"\x82\x85\x01\x02\x03\x04hello\x8a\x80\x01\x02\x03\x04", b"\x82\xff" + bytes(7) + b"\x05keys12345",
)  # fmt: skip
FRAME_HEADS = (
    b"\x82\x00", b"\x82\x80", b"\x00\x01", b"\x80", b"\x7f", b"\xfe", b"\xff\xff", b"\x01\x01", b"\x0b", b"\xc2",
)  # fmt: skip


def message(data: bytes) -> None:
    """The same bytes come out and the same is wrong, however it comes."""
    for masked in (False, True):
        assert _taken(websocket.Messages(masked), data, len(data)) == _taken(websocket.Messages(masked), data, 3)


def _taken(reader: websocket.Messages, data: bytes, most: int) -> tuple[bytes, str]:
    out = b""
    for at in range(0, len(data), max(most, 1)):
        if reader.fault is None:
            piece = memoryview(bytearray(data[at : at + most]))
            out += piece[: reader.take(piece)]
    return out, str(reader.fault)
