"""The requests of an `http` carrier, each on a connection that it has for itself (protocol 6, HP3 to HP6)."""

from __future__ import annotations

from typing import Protocol

from ..facts import limits
from ..protocol.downs import Answer
from ..protocol.http1 import Head
from ..protocol.judge import Piece
from ..protocol.ups import Up
from .visitor import Asked


class Failing(Protocol):
    """What a request asks of its carrier when it fails."""

    def failure(self, status: int) -> bytes:
        """An answer that is a failure, whole."""


class Request:
    """What ups and downs have in common: how they fail. The connection closes behind that."""

    def __init__(self, carrier: Failing, visit: Asked) -> None:
        self.visit, self._fails = visit, carrier.failure

    def broken(self, raw: bytes) -> None:
        """As in Exchange: none of it is anybody else's."""
        self._fail(400)

    def refuse(self) -> None:
        """It is not answered otherwise any more."""
        self._fail(403)

    def _fail(self, status: int) -> None:
        self.gone()
        self.visit.answer(self._fails(status), close=True)

    def gone(self) -> None:
        """As in Exchange."""
        raise NotImplementedError


class Ups(Failing, Protocol):
    """What an up asks of its carrier."""

    def begun(self, request: UpRequest) -> None:
        """It is to be answered."""

    def over(self, request: UpRequest) -> None:
        """It is not, any more."""

    def judge(self, n: int, size: int) -> Up:
        """What becomes of request n, as in UpReceiver; it waits, too, where too much is held."""

    def hold(self, size: int) -> None:
        """So many bytes more are held."""

    @property
    def lives(self) -> bool:
        """Whether bodies lead anywhere; where not, only whether they are empty counts."""

    def put(self, n: int, body: bytearray) -> None:
        """The body of n is whole."""

    def moved(self) -> None:
        """Something may go on."""

    def said(self, given: Answer) -> bytes:
        """An answer with its head."""


class Downs(Failing, Protocol):
    """What a down asks of its carrier."""

    def came(self, request: DownRequest) -> bool:
        """It is to be answered; False where there are too many."""

    def asked(self, request: DownRequest, m: int) -> None:
        """Request m is whole."""

    def gone(self, request: DownRequest) -> None:
        """Its connection has ended."""


class UpRequest(Request):
    """Request n of one connection; an Exchange."""

    def __init__(self, carrier: Ups, visit: Asked, n: int, head: Head) -> None:
        super().__init__(carrier, visit)
        self.n, self.reads = n, False
        self._carrier, self._head = carrier, head
        self._body, self._size = bytearray(), 0
        self._counts = False  # its body is to be kept
        self.keeps = False  # it is being read for that
        self.is_whole = False

    def begin(self) -> None:
        """As in Exchange."""
        self._carrier.begun(self)
        self.judge()

    def judge(self) -> None:
        """What becomes of it now; to be asked again as long as it waits."""
        verdict = self._carrier.judge(self.n, self._head.length or 0)
        if verdict is Up.REFUSED or verdict is Up.TOO_LARGE:
            self._fail(403 if verdict is Up.REFUSED else 413)
        elif verdict is not Up.WAITS:
            self.reads, self._counts = True, verdict is Up.READ
            self.keeps = self._counts
            if self._head.expects:
                self.visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body(self, piece: Piece) -> None:
        """As in Exchange."""
        self._size += len(piece.data)
        if self._size > limits.BODY:
            self._fail(413)
        elif self._counts and (self._carrier.lives or not self._body):
            self._body += piece.data
            self._carrier.hold(len(piece.data))

    def whole(self) -> None:
        """As in Exchange."""
        self.is_whole, self.reads, self.keeps = True, False, False
        body, self._body = self._body, bytearray()
        if self._counts:
            self._carrier.put(self.n, body)
        self._carrier.moved()

    def done(self) -> None:
        """Its bytes are in the pipe."""
        self._carrier.over(self)
        self.visit.answer(self._carrier.said(Answer(200)))

    def shorten(self) -> None:
        """The carrier lives no more."""
        self._carrier.hold(-len(self._body[1:]))
        del self._body[1:]

    def gone(self) -> None:
        """As in Exchange."""
        self.reads = self.keeps = False
        self._carrier.hold(-len(self._body))
        self._body = bytearray()
        self._carrier.over(self)


class DownRequest(Request):
    """Request m of one connection; an Exchange."""

    def __init__(self, carrier: Downs, visit: Asked, m: int) -> None:
        super().__init__(carrier, visit)
        self.reads = True
        self._carrier, self._m = carrier, m
        self._size = 0

    def begin(self) -> None:
        """As in Exchange."""
        if not self._carrier.came(self):
            self.refuse()

    def body(self, piece: Piece) -> None:
        """As in Exchange; it has to be empty."""
        self._size += len(piece.data)
        if self._size > limits.BODY:
            self._fail(413)

    def whole(self) -> None:
        """As in Exchange."""
        self.reads = False
        self._carrier.asked(self, self._m)

    def gone(self) -> None:
        """As in Exchange."""
        self.reads = False
        self._carrier.gone(self)
