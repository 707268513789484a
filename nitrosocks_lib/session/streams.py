"""The streams of a session: states with one owner for each field, and the one place where an end is decided."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, NamedTuple

from ..facts import limits
from ..facts.wire import Frame, Kind, Reset
from ..net.sockets import end_with_reset, guarded
from ..protocol import frames
from ..protocol.credit import Credit
from ..protocol.frames import Address, Target
from ..protocol.receiving import Numbers, Peer

_deciding = threading.Lock()  # for the ends of all streams: held for a moment, once or twice in the life of each


class Sending(Enum):
    """This side's direction of a stream."""

    WAITING = auto()  # the peer opened it, and the answer is not queued
    FLOWING = auto()
    ENDED = auto()  # END is queued
    OVER = auto()  # nothing more of the stream is sent


class Ending(Enum):
    """How a stream ended."""

    CLEAN = auto()  # with END in both directions
    REFUSED = auto()  # by either side
    RESET_HERE = auto()  # the local side broke it
    RESET_THERE = auto()  # RESET came
    LOST = auto()  # the session ended before the stream


@dataclass(frozen=True, slots=True)
class Request:
    """Of a stream whose local side asked for its target, and is answered: a proxy of this side did not promise it."""

    early: bytes  # what the local side sent behind its request: the first DATA, behind OPEN; one frame at most
    opened: Callable[[Address], bytes]  # what it is answered, in front of all that the target says; inbound
    failed: Callable[[socket.socket, int, str], None]  # takes the local socket over: code of REFUSED or 0, and why;
    # must not block; any thread
    belongs: Callable[[bytes], int] | None = None  # how many bytes, of what the local side says next, are for the
    # target; what is behind them is dropped; outbound
    told: Callable[[bytes], tuple[bytes, bool]] | None = None  # what the local side is told in place of what the target
    # says next, and whether that was all that is changed; inbound


class Accepted(NamedTuple):
    """Of a stream that began at a listener of the server's."""

    listener: int
    peer: Address  # who connected there


class Stream:
    """One stream. Behind each field stands the thread that writes it: `outbound`, `inbound`, or `owner` of the session.

    outbound reads the local socket, inbound writes it. inbound closes it, once `sent_all` and `got_all` are set.
    """

    __slots__ = (
        "_finished", "accepted", "answer", "answered", "backlog", "broken", "credit", "datagrams", "detail",
        "end_waits", "ending", "got_all", "heard_at", "heavy", "held", "limit", "local", "moves", "number", "parting",
        "peer", "progress_at", "queued", "reached", "reason", "request", "sending", "sent", "sent_all", "spoke_at",
        "stopped", "stuck", "target", "told", "took",
    )  # fmt: skip

    def __init__(
        self,
        target: Target,
        local: socket.socket | None,
        finished: Callable[[Stream], None] | None = None,
        request: Request | None = None,
        accepted: Accepted | None = None,
    ) -> None:
        """`finished(stream)` is called once, when the stream is over and its local socket closed; it must not block."""
        self.target, self.datagrams = target, target.kind == Kind.UDP  # of which `local` keeps the borders (protocol 5)
        self.number = 0  # of the opener: outbound; else inbound
        self.local = local and guarded(local)  # who opens; else inbound, before `answer`: `reach`
        self.moves = 0  # owner: how often it went to another session
        self._finished, self.request, self.accepted = finished, request, accepted
        self.sending = Sending.FLOWING  # outbound
        self.sent = 0  # outbound: bytes of DATA in all
        self.took = 0  # outbound: bytes read from the local socket
        self.stuck = False  # outbound: the limit is used up, and the local socket not watched
        self.heavy = False  # outbound: the last read filled its frame, so others go first
        self.queued = False  # outbound: the local socket is readable, and its turn will come
        self.sent_all = False  # outbound: it uses the local socket no more

        self.limit = 0  # inbound: the most bytes of DATA that may be sent in all
        self.peer = Peer.OWED  # inbound
        self.credit: Credit | None = None  # inbound; from the moment the stream has a number
        self.backlog: deque[tuple[memoryview, bytearray | None]] = deque()  # inbound: not taken by the local one
        self.held = 0  # inbound: bytes in it
        self.end_waits = False  # inbound: END stands behind the backlog
        self.got_all = False  # inbound: it writes the local socket no more
        self.progress_at = 0.0  # inbound: when the local socket last took something, while that matters
        self.reached: Address | None = None  # inbound: where the peer's OPEN has led to
        self.answer = b""  # inbound: OPENED or REFUSED, for outbound to send
        self.answered = False  # inbound, of the opener: OPENED came
        self.told = None if request is None else request.told  # inbound; None as soon as all is told as it comes
        self.stopped = False  # inbound: nothing more is to be sent, RESET or REFUSED came, or REFUSED goes out
        self.heard_at = self.spoke_at = 0.0  # of datagrams, when the last came: the peer's, inbound; ours, outbound
        self.parting: Literal[0, Frame.END, Frame.RESET] = 0  # inbound, of datagrams: how outbound is to end them
        self.broken = False  # inbound: the local socket takes no more; what it says is read, then RESET goes out

        self.ending: Ending | None = None  # `end`
        self.reason, self.detail = "", 0  # `end`: for people, and the code of REFUSED or RESET

    def end(self, ending: Ending, reason: str = "", detail: int = 0) -> bool:
        """How the stream ended; any thread, the first call decides and returns True."""
        with _deciding:
            if self.ending is not None:
                return False
            self.reason, self.detail, self.ending = reason, detail, ending
            return True

    def hold(self, rest: memoryview, slot: bytearray) -> bool:
        """inbound: puts `rest` behind the backlog; True when that keeps `slot`, which holds it.

        What is smaller than half a slot is copied, and what is small joined to what is small before it: a frame of
        one byte would cost 450 in here, and one of 16 KiB four times as much, which `held` does not count. Datagrams
        are not joined; there are few (`has_room`).
        """
        if 2 * len(rest) >= limits.SLOT:
            self.backlog.append((rest, slot))
            return True
        joins = bool(self.backlog) and self.backlog[-1][1] is None and not self.datagrams
        if joins and len(self.backlog[-1][0]) + len(rest) < limits.COPY_BELOW:
            joined = bytes(self.backlog.pop()[0]) + rest
        else:
            joined = bytes(rest)
        self.backlog.append((memoryview(joined), None))
        return False

    @property
    def has_room(self) -> bool:
        """inbound: whether the backlog takes one more: datagrams wait for a dial only, and the others are dropped."""
        return not self.datagrams or (self.local is None and len(self.backlog) < limits.DATAGRAMS_HELD)

    @property
    def over(self) -> bool:
        """Whether the stream is over for this side: it sends nothing more of it, and ignores what comes."""
        ended = self.peer is Peer.ENDED and self.sending is Sending.ENDED
        return ended or self.peer is Peer.OVER or self.sending is Sending.OVER

    @property
    def untouched(self) -> bool:
        """Whether no session has carried anything of it yet; then another one may."""
        if self.request is not None and self.request.early and self.number:
            return False
        return not self.answered and not self.took and self.ending is None and self.sending is Sending.FLOWING

    def announcement(self) -> bytes:
        """outbound: what opens it, once it has its number."""
        if self.accepted is not None:
            return frames.accepted(self.number, *self.accepted)
        return frames.open_(self.number, self.target)

    def again(self) -> Stream:
        """The same stream for another session, while it is untouched. For the session's owner."""
        moved = Stream(self.target, self.local, self._finished, self.request)
        moved.moves = self.moves + 1
        self.local = self._finished = None
        return moved

    def reach(self, local: socket.socket, address: Address) -> None:
        """inbound: what the peer's OPEN has led to."""
        self.local, self.reached = guarded(local), address

    def tell_opened(self, address: Address) -> bool:
        """inbound: OPENED came, and a local side that asked is told so, before all else. False where it broke."""
        self.answered = True
        words = self.request.opened(address) if self.request is not None else b""
        try:  # the first that is written there: a kernel takes that much
            return not words or self.local is None or self.local.send(words) == len(words)
        except OSError:
            return False

    def close_local(self) -> None:
        """Closes the local socket, with RST unless both directions ended well. One thread, when both are done."""
        local, self.local = self.local, None
        if local is None:
            return
        told = self.request is not None and not self.answered and self.ending in (Ending.REFUSED, Ending.LOST)
        end_with_reset(local, not (told or self.ending is Ending.CLEAN))
        if told and self.request is not None:
            self.request.failed(local, self.detail if self.ending is Ending.REFUSED else 0, self.reason)
        else:
            local.close()

    def lose(self, reason: str) -> None:
        """Ends a stream that no session carries, and tells."""
        self.end(Ending.LOST, reason)
        self.close_local()
        self.report()

    def report(self) -> None:
        """Tells whoever opened the stream, once."""
        finished, self._finished = self._finished, None
        if finished is not None:
            finished(self)


class Table:
    """The streams of a session that have a number, with those that are over but have something to deliver.

    inbound looks streams up and removes them; the one who gives a stream its number adds it: outbound for those that
    this side opens, before OPEN can leave, and inbound for the others.
    """

    __slots__ = ("by_number", "listeners", "ours", "theirs")

    def __init__(self, serving: bool) -> None:
        """`serving`: whether this side is the server."""
        self.by_number: dict[int, Stream] = {}
        self.ours = Numbers(2 if serving else 1, 2)
        self.theirs = Numbers(1 if serving else 2, 2)
        self.listeners = Numbers(1, 1)

    def __len__(self) -> int:
        return len(self.by_number)

    def add(self, stream: Stream, number: int) -> None:
        """Gives the stream its number."""
        stream.number = number
        self.by_number[number] = stream

    def known(self, number: int) -> bool:
        """Whether a stream with this number was ever opened."""
        return self.ours.known(number) or self.theirs.known(number)

    def all(self) -> list[Stream]:
        """A snapshot; any thread."""
        return list(self.by_number.values())


LOCAL_BROKE = "the local side broke the connection"
SILENT_LONGEST = "it was silent longest, and others came"
RESET_TEXTS = {
    Reset.OTHER: "the other side reset it",
    Reset.LOCAL: "the other end broke the connection",
    Reset.SESSION_LOST: "the session was lost",
    Reset.IDLE: "it was idle for too long",
    Reset.SERVER_STOPS: "the server stops",
    Reset.NOT_PERMITTED: "it is no longer permitted",
    Reset.LIMIT: "a limit was reached",
}
