"""A connection over which requests of the carrier `http` go, one at a time (protocol 6, HP2)."""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..facts import limits
from ..facts.errors import NetworkError
from ..facts.wire import What
from ..net.link import Link
from ..protocol.downs import NO_CONTENT, OK
from ..protocol.heads import BINARY
from ..protocol.http1 import AnswerHead, Body, End, Headers, Opaque, value
from ..protocol.mended import MendedAnswers

_MERGED = 1400  # bytes up to which browsers write a head and its body at once
_TURN = limits.BODY + limits.HEAD  # bytes read of one connection before others have their turn


class Asker(Protocol):
    """Whose requests are carried: an HttpCarrier."""

    def answered(self, request: Request, answer: Answered, at: float) -> None:
        """An answer came, of whatever kind; its connection may take the next request."""

    def failed(self, request: Request, reason: str, at: float) -> None:
        """No answer came: its connection ended, or was ended since time was over."""

    def unreached(self, error: NetworkError, at: float) -> None:
        """A connection for one of its requests could not be made."""

    def turn(self, at: float) -> None:
        """A connection may be free: what is due can be put on it."""

    def lose(self, reason: str) -> None:
        """It is over, by a fault."""


@dataclass(slots=True, eq=False)
class Request:
    """One attempt of an up or a down; `patience` in seconds without any progress is its time-out."""

    asker: Asker
    what: What
    n: int
    body: bytes
    patience: float
    wrote: Callable[[int], None]  # so many bytes of the body have left this program
    began: float = 0.0


@dataclass(slots=True)
class Answered:
    """A whole answer. `body` is what was kept of it: nothing where it is larger than any of ours."""

    status: int
    headers: Headers
    raw: bytes  # of the head
    body: bytes

    def is_ours(self, what: What) -> bool:
        """Whether our server can have given it (HP4 to HP7); else it is a failure."""
        kind = value(self.headers, b"content-type").partition(b";")[0].strip().lower()
        if value(self.headers, b"content-encoding") not in (b"", b"identity"):
            return False
        if self.status == OK:
            right = kind == BINARY.encode() or (not kind and not self.body)
            return right and (what is What.DOWN or not self.body)
        return what is What.DOWN and self.status == NO_CONTENT


class Exchange:
    """One connection. The http thread's."""

    __slots__ = (
        "_answers",
        "_body",
        "_head",
        "_size",
        "_unacknowledged",
        "_unsent",
        "deadline",
        "link",
        "request",
        "used",
    )

    def __init__(self, link: Link, at: float) -> None:
        self.link = link
        self.request: Request | None = None
        self.used = False
        self.deadline = at + limits.EXCHANGE_UNUSED  # seconds of `timers.now`: when it is closed, or its request failed
        self._answers = MendedAnswers()
        self._unsent: deque[memoryview] = deque()
        self._head: AnswerHead | None = None
        self._body: list[bytes] = []
        self._size = self._unacknowledged = 0  # bytes of the answer's body; and of ours, that are on their way

    def begin(self, request: Request, head: bytes, at: float) -> None:
        """Takes a request, which `advance` sends; no other one is under way."""
        assert self.request is None, "one at a time"
        self.request, self.used, request.began = request, True, at
        self.deadline = at + request.patience
        self._answers.expect(b"POST")
        whole = len(head) + len(request.body) <= _MERGED
        pieces = [head + request.body] if whole else [head, request.body]
        self._unsent.extend(map(memoryview, filter(None, pieces)))

    @property
    def wants(self) -> int:
        """What to watch it for, as in `selectors`. It is read while it is idle or writes, too: an end may come."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)

    def advance(self, buffer: memoryview, at: float) -> Answered | None:
        """Writes and reads what it can without waiting; the answer when it is whole.

        `buffer` is only used meanwhile. Raises NetworkError when the connection is over, or says what it may not.
        """
        broken: NetworkError | None = None
        try:
            if self._unsent:
                self._write(at)
        except NetworkError as error:  # an answer may be there: of who does not want the rest of the body
            broken = error
        answered = self._read(buffer, at)
        if broken is not None and answered is None:
            raise broken
        return answered

    def _write(self, at: float) -> None:
        assert self.request is not None, "there is something to write"
        while self._unsent:
            piece = self._unsent[0]
            n = self.link.write_some(piece)
            if n:
                self.deadline = at + self.request.patience
            if n < len(piece):
                self._unsent[0] = piece[n:]
                break
            self._unsent.popleft()
        left = sum(map(len, self._unsent)) + self.link.queued()[0]
        self._unacknowledged = self.link.unacknowledged()
        self.request.wrote(max(0, len(self.request.body) - left))

    def _read(self, buffer: memoryview, at: float) -> Answered | None:
        """Reads until an answer is whole, or there is no more now."""
        got = 0
        while got < _TURN:
            try:
                n = self.link.read_some(buffer)
            except NetworkError:
                if not self._answers.end():
                    raise
                return self._take(at)
            got += n
            if n:
                self._answers.feed(bytes(buffer[:n]))
                if (answered := self._take(at)) is not None:
                    return answered
            if self.link.dry:
                break
        return None

    def _take(self, at: float) -> Answered | None:
        """Goes through what came of the answer."""
        while (event := self._answers.next()) is not None:
            if self.request is None or isinstance(event, Opaque):
                raise NetworkError("the connection brings what is no answer")
            self.deadline = at + self.request.patience
            if isinstance(event, AnswerHead) and not event.interim:
                self._head = event
            elif isinstance(event, Body):
                self._size += len(event.data)
                if self._size > limits.BODY:
                    raise NetworkError("the connection brings an answer that is too long")
                self._body.append(event.data)
            elif isinstance(event, End):
                return self._finish(at)
        return None

    def _finish(self, at: float) -> Answered:
        head, body = self._head, b"".join(self._body)
        assert head is not None, "an end comes behind a head"
        self._head, self._size = None, 0
        self._body.clear()
        again = not (self._unsent or self._answers.unread or head.close)
        self.deadline = at + limits.EXCHANGE_IDLE if again else at
        self.request = None
        return Answered(head.status, head.headers, head.raw, body)

    def progresses(self, at: float) -> bool:
        """At its deadline: whether its request moves on all the same; then it gets as long again.

        On a slow line the kernel holds a large part of a body, and the peer's acknowledges it little by little.
        """
        before, self._unacknowledged = self._unacknowledged, self.link.unacknowledged()
        if self.request is None or self._unacknowledged >= before:
            return False
        self.deadline = at + self.request.patience
        return True
