"""HTTP/1.1 as bytes: requests and answers, whose borders are known exactly, with the bytes as they came (protocol 6).

Heads and chunks are h11's to judge, and more strictly than it does: two readers of one message must not find two ends.
Where h11 objects, or two could, the framing is ambiguous: nothing more is read, and the rest is passed on as it is.
Bodies with a Content-Length are counted here, and pass as they are: h11 would copy each byte twice.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import h11

from ..facts import limits

Headers: TypeAlias = list[tuple[bytes, bytes]]  # names in lower case
_END: Final = b"\r\n\r\n"
_ASKED: Final = [("Host", "x"), ("Upgrade", "x")]  # h11 takes a 101 only where one was asked for
_AMBIGUOUS: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]")  # some take it for the end of a line, some do not


class Head(NamedTuple):
    """A request's head."""

    method: bytes
    target: bytes
    headers: Headers
    raw: bytes
    length: int | None  # of the body, in bytes; None where it is chunked
    expects: bool  # 100 Continue, before the body is sent
    close: bool  # no other request follows on this connection
    upgrade: bool  # or CONNECT: what follows may be no HTTP


class AnswerHead(NamedTuple):
    """An answer's head; an interim one (1xx but 101) has no body and no End."""

    status: int
    headers: Headers
    raw: bytes
    length: int | None  # of the body, in bytes; None where it is chunked, or ends with the connection
    close: bool

    @property
    def interim(self) -> bool:
        """Whether another head follows, which is the answer."""
        return 100 <= self.status < 200 and self.status != 101


class Body(NamedTuple):
    """A piece of a body: what it means, and the bytes as they came."""

    data: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class End:
    """A message is whole."""


class Opaque(NamedTuple):
    """Bytes to pass on as they are, as all that follow: the framing is ambiguous, or 101 switched protocols."""

    raw: bytes


Event: TypeAlias = Head | AnswerHead | Body | End | Opaque


class Messages(ABC):
    """What comes on one side of a connection; `Requests` and `Answers` say what a head means. One thread.

    `feed` what was read, then take events by `next` until it is None. What follows a message stays unread until its
    events are taken: a caller that answers one request at a time takes no more than one. All that was fed is in the
    `raw` of some event, in order.
    """

    def __init__(self, most: int = limits.HEAD) -> None:
        """A head of more than `most` bytes is none."""
        self._most = most
        self._got = b""
        self._looked = 0  # so much of an unfinished head was looked at
        self._left: int | None = 0  # bytes of the body that are to come; None: until the connection ends
        self._in_body = False
        self._chunks: h11.Connection | None = None
        self._tail = b""
        self._pieces = self._meant = 0  # of a body in chunks: pieces, and bytes in them
        self._opaque = False

    @property
    def unread(self) -> int:
        """Bytes that were fed and are in no event yet: a head that is not whole, or what waits behind a message."""
        return len(self._got)

    @property
    def rest(self) -> bytes:
        """Those bytes."""
        return self._got

    @property
    def amid(self) -> bool:
        """Whether a message has begun that is not whole."""
        return self._in_body or bool(self._got)

    def feed(self, data: bytes) -> None:
        """More bytes came."""
        self._got = self._got + data if self._got else data

    def next(self) -> Event | None:
        """The next event; None until more is fed."""
        if self._opaque:
            return self._all_opaque() if self._got else None
        if not self._in_body:
            return self._head()
        if self._chunks is not None:
            return self._chunk(self._chunks)
        if self._left == 0:
            self._in_body = False
            return End()
        piece = self._got if self._left is None else self._got[: self._left]
        self._got = self._got[len(piece) :]
        if self._left is not None:
            self._left -= len(piece)
        return Body(piece, piece) if piece else None

    def _head(self) -> Event | None:
        got, since = self._got, max(0, self._looked - len(_END) + 1)
        end = got.find(_END, since) + len(_END)
        if end < len(_END):
            end = 0
        seen = end or len(got) - got.endswith(b"\r")  # of which the next byte decides
        if seen > self._most or got[:1] in (b"\r", b"\n") or _AMBIGUOUS.search(got, since, seen):
            return self._all_opaque()
        self._looked = seen
        if not end:
            return None
        try:
            head = self._judge(got[:end])
        except h11.ProtocolError:
            return self._all_opaque()
        self._got, self._looked = got[end:], 0
        return head

    @abstractmethod
    def _judge(self, raw: bytes) -> Event:
        """What a whole head says; begins its body. Raises h11's ProtocolError where that is ambiguous."""

    def _begin(self, length: int | None, chunks: h11.Connection | None = None) -> None:
        self._in_body, self._left, self._chunks, self._tail = True, length, chunks, b""
        self._pieces = self._meant = 0

    def _chunk(self, chunks: h11.Connection) -> Event | None:
        if not self._got:
            return None
        piece, data = self._got[: limits.CHUNKS_READ], bytearray()
        try:
            chunks.receive_data(piece)
            while isinstance(event := chunks.next_event(), h11.Data):
                data += event.data
                self._pieces += 1
        except h11.ProtocolError:
            return self._all_opaque()
        self._meant += len(data)
        if self._pieces > limits.CHUNKS_SMALL and self._meant < self._pieces * limits.CHUNK:
            return self._all_opaque()  # h11 takes longer for each of them than a peer to send it
        whole = isinstance(event, h11.EndOfMessage)
        rest = chunks.trailing_data[0] if whole else b""
        raw = piece[: len(piece) - len(rest)]
        self._tail = (self._tail + raw)[-len(_END) :]
        if isinstance(event, h11.EndOfMessage) and (len(event.headers) or self._tail != _END):
            return self._all_opaque()  # trailers, or a last line that only some take for one
        self._got = rest + self._got[len(piece) :]
        if whole:
            self._chunks, self._left = None, 0
        return Body(bytes(data), raw)

    def _all_opaque(self) -> Opaque:
        self._opaque, raw, self._got = True, self._got, b""
        return Opaque(raw)


class Requests(Messages):
    """The requests on one connection of a server: Head, Body …, End of each in turn, or Opaque for all that is left."""

    def _judge(self, raw: bytes) -> Head:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(raw)
        request = connection.next_event()
        assert isinstance(request, h11.Request), "a whole head is one, or h11 objects"
        headers = list(request.headers)
        chunked, length = _framing(raw, headers, request.http_version)
        self._begin(length or 0, connection if chunked else None)
        return Head(
            request.method,
            request.target,
            headers,
            raw,
            None if chunked else length or 0,
            has(headers, b"expect", b"100-continue"),
            _closes(headers, request.http_version),
            request.method == b"CONNECT" or any(name == b"upgrade" for name, _ in headers),
        )


class Answers(Messages):
    """The answers on one connection of a client, each to a request that was told by `expect`."""

    def __init__(self) -> None:
        super().__init__()
        self._methods: list[bytes] = []
        self._interim = 0  # heads that announced an answer, and were none

    def expect(self, method: bytes) -> None:
        """A request was sent: the answer to HEAD has no body, whatever it says."""
        self._methods.append(method)

    def end(self) -> bool:
        """The connection ended; True where that is the end of the body, and `next` gives End. Else it was cut short."""
        if not (self._in_body and self._left is None and self._chunks is None):
            return False
        self._left = 0
        return True

    def _judge(self, raw: bytes) -> AnswerHead:
        if not self._methods:
            raise h11.RemoteProtocolError("nothing was asked")
        method = self._methods[0]
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=_ASKED))
        connection.send(h11.EndOfMessage())
        connection.receive_data(raw)
        answer = connection.next_event()
        assert isinstance(answer, h11.Response | h11.InformationalResponse), "a whole head is one, or h11 objects"
        headers, status = list(answer.headers), answer.status_code
        head = AnswerHead(status, headers, raw, 0, _closes(headers, answer.http_version))
        self._interim = self._interim + 1 if head.interim else 0
        if self._interim > limits.INTERIM:
            raise h11.RemoteProtocolError("an answer that never comes")
        if head.interim:
            return head
        self._methods.pop(0)
        if status == 101 or (method == b"CONNECT" and 200 <= status < 300):
            self._opaque = True
            return head
        if method == b"HEAD" or status in (204, 304):
            self._begin(0)
            return head
        chunked, length = _framing(raw, headers, answer.http_version)
        self._begin(length, connection if chunked else None)
        return head._replace(length=length, close=head.close or (length is None and not chunked))


_FRAMES: Final = re.compile(rb"\n(content-length|transfer-encoding):([^\r]*)", re.IGNORECASE)


def _framing(raw: bytes, headers: Headers, version: bytes) -> tuple[bool, int | None]:
    """Whether the body is chunked, and its length where that is told. Raises where it is told twice, even alike."""
    told = _FRAMES.findall(raw)
    if len(told) > 1 or any(b"," in value for _, value in told) or version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError("two framings")
    for name, value in headers:
        if name == b"content-length":
            return False, int(value)
        if name == b"transfer-encoding":
            if version == b"1.0":
                raise h11.RemoteProtocolError("chunks in HTTP/1.0")
            return True, None
    return False, None


def has(headers: Headers, name: bytes, word: bytes) -> bool:
    """Whether the list of that name, in one header or more, has that word; all in lower case."""
    words = (each for key, value in headers if key == name for each in value.lower().split(b","))
    return any(each.strip() == word for each in words)


def _closes(headers: Headers, version: bytes) -> bool:
    if version == b"1.0":
        return not has(headers, b"connection", b"keep-alive")
    return has(headers, b"connection", b"close")


def value(headers: Headers, name: bytes) -> bytes:
    """The value of the first header of that name, in lower case; empty where there is none."""
    return next((found for key, found in headers if key == name), b"")
