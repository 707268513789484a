"""Messages of HTTP/1.1, and what a reader of ours makes of them."""

from __future__ import annotations

from nitrosocks_lib.protocol.http1 import Body, End, Event, Messages

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;ext=1\r\n\r\n\0\r\n\r\n0\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\n" + CHUNKED.partition(b"\r\n")[2]


def events(reader: Messages, *pieces: bytes) -> list[Event]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next()) is not None:
            found.append(event)
    return found


def raw(found: list[Event]) -> bytes:
    return b"".join(event.raw for event in found if not isinstance(event, End))


def meant(found: list[Event]) -> list[object]:
    """Bodies as wholes, so that it does not matter in which pieces they came."""
    made: list[object] = []
    for event in found:
        if isinstance(event, Body):
            before = made.pop() if isinstance(made[-1], bytes) else b""
            assert isinstance(before, bytes)
            made.append(before + event.data)
        else:
            made.append(event)
    return [each for each in made if each != b""]
