"""Local sockets as inbound uses them: what they do not take waits in a backlog, and each stream's end is seen through.

What came before END or RESET is delivered first, also when the stream or the session is over, until the local socket
makes no progress for 60 s (protocol 5, "The life of a stream").
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from typing import Final

from ..facts import limits
from ..facts.wire import Frame
from ..net.buffers import SLOTS
from ..net.sockets import unread
from ..net.timers import now
from ..protocol.frames import Reason
from ..protocol.receiving import Peer
from .silences import Silences
from .state import Role, State
from .streams import LOCAL_BROKE, RESET_TEXTS, Ending, Sending, Stream
from .writing import Writing

log = logging.getLogger(__name__)
_PATIENT: Final = 4 * limits.ACK_BYTES  # that the sender may send: before it has, an ACK takes the next limit along
_LOOK: Final = 1.0  # seconds between looks at backlogs of streams that are over
_LOOK_UNREAD: Final = 0.05  # and at what the local kernel still holds


class Delivery:
    """Part of inbound, and of its thread; of the session's owner when no pair runs."""

    def __init__(self, state: State, role: Role) -> None:
        self._state, self._role = state, role
        self._outbox, self._waiter = state.outbox, state.inbox.waiter
        self._behind: dict[Stream, None] = {}  # streams with a backlog
        self._unread: dict[Stream, tuple[int, float]] = {}  # reset behind what the kernel holds: bytes, since when
        self._writing = Writing(state, self.broke)
        self.held = 0  # bytes in all backlogs
        self.silences = Silences(state.outbox)
        self.dropped = False  # any thread: behind the session's end nothing more is delivered

    @property
    def watching(self) -> bool:
        """Whether local sockets are watched."""
        return bool(self._behind)

    @property
    def waits(self) -> bool:
        """Whether `due` is to be asked."""
        return bool(self._behind or self._unread or self.silences)

    # -- DATA ----------------------------------------------------------------------------------------------------------

    def deliver(self, stream: Stream, payload: memoryview, slot: bytearray, at: float) -> bool:
        """Gives DATA to the local socket; True when `slot`, which holds the payload, is kept for the backlog."""
        if stream.broken:
            return False
        if stream.datagrams:
            stream.heard_at = at
        if stream.told is not None:
            payload = self._told(stream, payload, at)
        if not stream.backlog and stream.local is not None:
            sent = self._writing.send(stream, payload)
            if sent:
                self._taken(stream, sent, at)
            if sent == len(payload) or stream.broken:
                return False
            payload = payload[sent:]
        if not stream.has_room:
            self._taken(stream, len(payload), at)
            return False
        return self._hold(stream, payload, slot, at)

    def _told(self, stream: Stream, payload: memoryview, at: float) -> memoryview:
        """What its local side is told in place of the payload; the stream's limit counts what came."""
        assert stream.told is not None, "the caller looked"
        words, whole = stream.told(bytes(payload))
        if whole:
            stream.told = None
        self._taken(stream, len(payload) - len(words), at)
        return memoryview(words)

    def _hold(self, stream: Stream, rest: memoryview, slot: bytearray, at: float) -> bool:
        kept = stream.hold(rest, slot)
        self._held(stream, len(rest))
        if stream not in self._behind:
            self._behind[stream] = None
            stream.progress_at = at
            self._writing.watch(stream)
        return kept

    def _held(self, stream: Stream, size: int) -> None:
        stream.held += size
        self.held += size

    def _taken(self, stream: Stream, size: int, at: float) -> None:
        credit = stream.credit
        assert credit is not None, "it has a number"
        left = credit.given - credit.received
        grows = credit.window < self._state.up.window
        if credit.take(size, at, self._state.round_trip if grows else 0.0) and stream.peer is Peer.FLOWING:
            self._outbox.limits[stream.number] = credit.given
            if left < _PATIENT and credit.presses():
                self._outbox.waiter.set()

    def begin(self, stream: Stream, at: float) -> None:
        """Its target was reached: what waits for it is delivered."""
        if stream.datagrams:
            self.silences.begin(stream, at)
        if stream.local is not None and stream in self._behind:
            self._writing.watch(stream)
        self.flush(stream)

    def flush(self, stream: Stream) -> None:
        """Writes the backlog as far as the local socket takes it, and what stands behind it."""
        at = now()
        while stream.backlog and stream.local is not None:
            rest, slot = stream.backlog[0]
            sent = self._writing.send(stream, rest)
            if stream.broken:
                return
            if sent:
                self._held(stream, -sent)
                stream.progress_at = at
                self._taken(stream, sent, at)
            if sent < len(rest):
                stream.backlog[0] = (rest[sent:], slot)
                return
            stream.backlog.popleft()
            if slot is not None:
                SLOTS.give_back(slot)
        if stream.local is not None:
            self._caught_up(stream)
            self._pass_on(stream)

    def _caught_up(self, stream: Stream) -> None:
        if stream in self._behind:
            del self._behind[stream]
            self._writing.forget(stream)

    def _drop(self, stream: Stream) -> None:
        """Nothing more is written."""
        while stream.backlog:
            slot = stream.backlog.popleft()[1]
            if slot is not None:
                SLOTS.give_back(slot)
        self._held(stream, -stream.held)
        self._caught_up(stream)
        self._writing.leave(stream)
        stream.got_all = True

    # -- ends ----------------------------------------------------------------------------------------------------------

    def end(self, stream: Stream) -> None:
        """END came: it is passed on behind the backlog."""
        stream.end_waits = True
        self.flush(stream)

    def reset(self, stream: Stream, reason: Reason) -> None:
        """RESET came: the local socket is reset behind the backlog; a dial of it was given up."""
        stream.end(Ending.RESET_THERE, reason.text or RESET_TEXTS.get(reason.code, ""), reason.code)  # type: ignore[call-overload]
        self.stop(stream)

    def stop(self, stream: Stream) -> None:
        """It is over: nothing more is sent of it, and what came before is delivered."""
        stream.stopped = True
        if stream.local is None:
            self._drop(stream)
        self._outbox.post_stream(stream)
        self.flush(stream)

    def _pass_on(self, stream: Stream) -> None:
        """The backlog is empty: END goes on to the local socket, and a stream that is over needs nothing more."""
        ends = stream.end_waits and not stream.got_all and stream.ending is None
        if stream.end_waits or stream.stopped:
            stream.got_all = True  # before it is shut: by this outbound tells an end from a reset
        if ends and stream.datagrams:
            self.silences.part(stream, Frame.END)
        elif ends:
            assert stream.local is not None
            with suppress(OSError):  # the local side may have closed meanwhile
                stream.local.shutdown(socket.SHUT_WR)
        self._settle(stream)

    def broke(self, stream: Stream) -> None:
        """The local socket takes no more. What it says is read to its end, then outbound sends RESET (if it may)."""
        stream.broken = True
        self._drop(stream)
        if stream.over:
            stream.end(Ending.RESET_HERE, LOCAL_BROKE)
            self._settle(stream)
        else:
            self._outbox.post_stream(stream)

    def look(self, stream: Stream) -> None:
        """outbound has left the local socket, or reset the stream; or it is its turn to be written."""
        if self._writing.parked(stream):
            self._writing.go_on(stream)
            self.flush(stream)
        if stream.ending is Ending.RESET_HERE and not stream.got_all:
            self._drop(stream)
        self._settle(stream)

    def _settle(self, stream: Stream) -> None:
        """Closes the local socket when both halves are done with it; the stream is over then."""
        if not (stream.got_all and stream.sent_all) or stream.number not in self._state.streams.by_number:
            return
        if stream.broken:  # outbound may have sent END before it saw this
            stream.end(Ending.RESET_HERE, LOCAL_BROKE)
        if stream.ending in (Ending.RESET_THERE, Ending.LOST) and stream.local is not None:
            held = unread(stream.local)
            if held:
                self._unread.setdefault(stream, (held, now()))
                return
        self._close(stream)

    def _close(self, stream: Stream) -> None:
        self._unread.pop(stream, None)
        self._state.streams.by_number.pop(stream.number, None)
        self.silences.forget(stream)
        stream.peer = Peer.OVER
        stream.end(Ending.CLEAN)
        self._writing.leave(stream)
        if stream.credit is not None:
            stream.credit.close()
        stream.close_local()
        self._role.stream_over(stream)

    def due(self, at: float) -> float | None:
        """Ends what makes no progress any more; returns when to be called next."""
        for stream in list(self._behind):
            if not stream.over or self._writing.parked(stream):
                stream.progress_at = at  # the time begins with its end, and behind its turn
            elif at - stream.progress_at > limits.LINGER:
                self._give_up(stream)
        for stream, (before, since) in list(self._unread.items()):
            held = unread(stream.local) if stream.local is not None else 0
            if not held or (held >= before and at - since > limits.LINGER):
                self._close(stream)
            elif held < before:
                self._unread[stream] = held, at
        if self._unread:
            return at + _LOOK_UNREAD
        silent = self.silences.due(at)
        return min(at + _LOOK, silent or at + _LOOK) if self._behind else silent

    def _give_up(self, stream: Stream) -> None:
        log.info("a local side read nothing for %.0f s: %d bytes for it are dropped", limits.LINGER, stream.held)
        stream.end(Ending.RESET_HERE, "the local side read nothing for 60 s")
        self._drop(stream)
        if stream.sent_all:
            self._close(stream)  # what the kernel holds had its 60 s, too

    # -- the session's end ---------------------------------------------------------------------------------------------

    def finish(self, reason: str) -> None:
        """For the owner, when no pair runs any more: resets what is not over, and leaves what is to be delivered."""
        for stream in self._state.streams.all():
            if not stream.over:
                stream.end(Ending.LOST, reason)
            stream.stopped = stream.sent_all = True
            stream.sending = Sending.OVER
            stream.progress_at = now()  # without a connection nobody delivered
            if stream.local is None:
                self._drop(stream)
                self._close(stream)
            else:
                self.flush(stream)

    def deliver_rest(self, until: float) -> None:
        """Behind `finish`: delivers until all is taken, `dropped`, or that time; what is left then is dropped."""
        while (at := now()) < until and not self.dropped:
            due = self.due(at)
            if due is None:  # nothing is left
                break
            for stream, _ in self._waiter.select(min(due, until) - at):
                if isinstance(stream, Stream):
                    self.flush(stream)
            self._waiter.clear()
            while (told := self._state.inbox.next_stream()) is not None:
                self.look(told)
        for stream in self._state.streams.all():
            self._drop(stream)
            self._close(stream)
