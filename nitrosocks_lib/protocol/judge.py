"""Which bytes of a connection are ours, and which the decoy's, request by request (protocol 6, TK5; 3.6, D2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from .http1 import AnswerHead, Answers, Body, End, Head, Opaque, Requests

T = TypeVar("T")
_END: Final = b"\r\n\r\n"


class Theirs(NamedTuple):
    """Bytes that the decoy gets, as they came."""

    raw: bytes


class Ours(NamedTuple, Generic[T]):
    """The head of a request of ours, and what its token says. Its body follows, then `Whole`; then `answered`."""

    head: Head
    found: T


class Piece(NamedTuple):
    """A piece of its body: what it means, and the bytes as they came."""

    data: bytes
    raw: bytes


class Whole(NamedTuple):
    """It is whole."""


class Broken(NamedTuple):
    """It is not whole, and never will be: the framing of its body is ambiguous. `raw` is what is left; all that follows
    is Theirs."""

    raw: bytes


Said: TypeAlias = Theirs | Ours[T] | Piece | Whole | Broken


def is_theirs(first: bytes, can_begin: Callable[[bytes], bool]) -> bool:
    """Whether all of this, with which a connection begins, is the decoy's, whatever follows: it can become no request
    of ours, and has no end of a head within it, behind which one could stand."""
    return first.find(_END) in (-1, len(first) - len(_END)) and not can_begin(first)


class Judge(Generic[T]):
    """One connection's; one thread's.

    `feed` and then `next`, until it is None, for what the client sent; `follow` for what the decoy answered, which
    passes as it is. A request of ours is told when all before it are answered, and nothing behind it until it is.
    """

    def __init__(self, find: Callable[[Head], T | None], can_begin: Callable[[bytes], bool]) -> None:
        """`find` tells what the token of a head says, None where it has none of ours; `can_begin` as in `paths`."""
        self._find, self._can_begin = find, can_begin
        self._requests, self._answers = Requests(), Answers()
        self._raw = b""  # what waits to be passed on, once `opaque`
        self._ahead = 0  # so many bytes of what is unread were passed on already: of a head that is not whole
        self._theirs = False  # the head that has begun is the decoy's
        self._within: bool | None = None  # within a request: one of ours?
        self._due: Ours[T] | None = None  # waits until all before it are answered
        self._busy = False  # one of ours is to be answered
        self.outstanding = 0  # requests that the decoy has not answered
        self.opaque = False  # the decoy has the connection for good
        self.server = ""  # how the decoy named itself last

    @property
    def rest(self) -> bytes:
        """What was fed, and waits for what comes before it."""
        return self._raw if self.opaque else self._requests.rest

    @property
    def holds(self) -> bool:
        """Whether the beginning of a head is held back, since it may become ours: `expire` ends that."""
        between = self._within is None and self._due is None and not self._busy and not self.opaque
        return between and not self._theirs and self._requests.unread > 0

    @property
    def amid(self) -> bool:
        """Whether the decoy waits for more of a request that has begun."""
        return self._within is False or self._theirs

    @property
    def idle(self) -> bool:
        """Whether no request has begun, and all are answered."""
        busy = self.amid or self.outstanding or self._busy or self._due or self._within
        return not (busy or self.opaque or self._requests.unread)

    def feed(self, data: bytes) -> None:
        """More came from the client."""
        if self.opaque:
            self._raw = self._raw + data if self._raw else data
        else:
            self._requests.feed(data)

    def passed(self, data: bytes) -> None:
        """This came first, `is_theirs`, and the decoy has it already."""
        self.feed(data)
        self._theirs, self._ahead = True, len(data)

    def next(self) -> Said[T] | None:
        """What is to be done next; None until more is fed, or something is answered."""
        if self.opaque:
            raw, self._raw = self._raw, b""
            return Theirs(raw) if raw else None
        if self._due is not None:
            return self._told()
        if self._busy and self._within is None:
            return None
        event = self._requests.next()
        if event is None:
            return self._begun()
        if isinstance(event, Head):
            return self._head(event)
        if isinstance(event, Body):
            return Piece(*event) if self._within else self._passed(event.raw)
        if isinstance(event, End):
            ours, self._within = self._within, None
            return Whole() if ours else self.next()
        assert isinstance(event, Opaque), "no other events"
        ours = self._within
        self._close(b"" if ours else event.raw)
        return Broken(event.raw) if ours else self.next()

    def _begun(self) -> Theirs | None:
        """A head that is not whole: held back while it may become ours."""
        rest = self._requests.rest
        if self._within is not None or not rest or (not self._theirs and self._can_begin(rest)):
            return None
        self._theirs = True
        new, self._ahead = rest[self._ahead :], len(rest)
        return Theirs(new) if new else None

    def expire(self) -> None:
        """What is held back is the decoy's by now; `next` gives it."""
        self._theirs = self._theirs or self.holds

    def _head(self, head: Head) -> Said[T] | None:
        found = None if self._theirs else self._find(head)
        if found is not None:
            self._due = Ours(head, found)
            return self._told()
        self._theirs, self._within = False, False
        self._expect(head)
        if not head.upgrade:
            return self._passed(head.raw)
        self._close(head.raw)
        return self.next()

    def _told(self) -> Ours[T] | None:
        if self.outstanding or self._due is None:
            return None
        told, self._due = self._due, None
        self._within = self._busy = True
        return told

    def answered(self) -> None:
        """What was ours is answered, and was whole: the next request may be told."""
        assert self._busy and self._within is None, "it was whole"
        self._busy = False

    def refuse(self, head: Head) -> None:
        """What was told as ours is the decoy's after all. The caller passes on its head and what came of its body; the
        rest comes as Theirs."""
        self._busy = False
        self._within = False if self._within else None
        self._expect(head)
        if head.upgrade:  # what follows may be no HTTP
            self._close(b"")

    def _expect(self, head: Head) -> None:
        self._answers.expect(head.method)
        self.outstanding += 1

    def _passed(self, raw: bytes) -> Theirs:
        new, self._ahead = raw[self._ahead :], max(0, self._ahead - len(raw))
        return Theirs(new)

    def _close(self, raw: bytes) -> None:
        """From these bytes on, the decoy has the connection."""
        self.opaque, self._within, self._theirs = True, None, False
        self._raw = (raw + self._requests.rest)[self._ahead :]

    # -- what the decoy answers ---------------------------------------------------------------------------------------

    def follow(self, data: bytes) -> None:
        """The decoy answered; `next` may have more now."""
        if self.opaque:
            return
        self._answers.feed(data)
        while not self.opaque and (event := self._answers.next()) is not None:
            if isinstance(event, AnswerHead):
                self._answer(event)
            elif isinstance(event, End):
                self.outstanding -= 1
            elif isinstance(event, Opaque):
                self._give_up()

    def _answer(self, head: AnswerHead) -> None:
        self.server = next((text.decode("latin-1") for name, text in head.headers if name == b"server"), self.server)
        if head.status == 101:
            self._give_up()

    def _give_up(self) -> None:
        due, self._due = self._due, None
        self._close(due.head.raw if due is not None else b"")

    def forget(self) -> None:
        """The connection to the decoy, which was idle, is no more: its answers begin anew."""
        assert not self.outstanding, "it was idle"
        self._answers = Answers()
