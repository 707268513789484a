"""Local sockets as outbound uses them: which are watched, whose turn it is, and the frames that come of it."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from contextlib import suppress

from ..facts import limits, wire
from ..facts.wire import Frame, Reset
from ..net.buffers import SLOTS
from ..net.sockets import closed
from ..net.timers import now
from ..protocol import frames
from ..protocol.resend import ResendQueue
from .inturn import InTurn
from .state import State
from .streams import LOCAL_BROKE, SILENT_LONGEST, Ending, Request, Sending, Stream

_READ = selectors.EVENT_READ
_HEAD = wire.DATA_HEAD
_DRAINED = 4096  # datagrams at most: a kernel holds no more


class Reading:
    """Part of outbound, and of its thread. What it reads goes to the resend queue."""

    def __init__(self, state: State, resend: ResendQueue) -> None:
        self._state, self._resend = state, resend
        self._waiter = state.outbox.waiter
        self._light: deque[Stream] = deque()  # readable, and send little
        self._heavy: deque[Stream] = deque()  # readable, and filled their last frame
        self._in_turn = InTurn(state.outbox.post_stream)
        self._watched = 0  # local sockets that are watched
        self._passed_over = False  # a heavy one waits, and none was read in this turn
        self._owed = False  # nor in the one before: so one is next

    @property
    def waits(self) -> bool:
        """Whether a stream waits for its turn."""
        return bool(self._light or self._heavy)

    @property
    def may_look(self) -> bool:
        """Whether there are local sockets that are not known to be readable."""
        return len(self._light) + len(self._heavy) < self._watched

    def look(self, timeout: float | None) -> None:
        """Waits for mail, or until local sockets are readable: these get their turn."""
        for stream, _ in self._waiter.select(timeout):
            if not stream.queued:
                stream.queued = True
                (self._heavy if stream.heavy else self._light).append(stream)

    # -- streams -------------------------------------------------------------------------------------------------------

    def open(self, stream: Stream) -> None:
        """A stream of this side's: it gets its number, and DATA may follow OPEN at once."""
        state = self._state
        stream.limit = state.send_window
        stream.credit = state.credit(stream.datagrams)
        state.streams.add(stream, state.streams.ours.take())
        self._resend.append(stream.announcement())
        if stream.request is not None and (early := stream.request.early):
            self._resend.append(wire.DATA_HEADER.pack(Frame.DATA, stream.number) + early)
            stream.sent += len(early)
        self._watch(stream)

    def attend(self, stream: Stream) -> None:
        """Does what inbound has left for this stream."""
        if stream.answer and stream.sending is Sending.WAITING:
            self._answer(stream)
        if stream.stopped:
            self._leave(stream)
            stream.sending = Sending.OVER
        elif stream.broken and stream.sending is Sending.ENDED and not stream.over:
            self._reset(stream)
        elif stream.parting and stream.sending is Sending.FLOWING:
            self._part(stream)
        elif stream.stuck and stream.limit > stream.sent:
            self._watch(stream)

    def _answer(self, stream: Stream) -> None:
        """Queues OPENED or REFUSED; not OPENED where RESET has come meanwhile, since the stream is over then."""
        if stream.answer[0] == Frame.REFUSED:
            self._resend.append(stream.answer)
        elif not stream.stopped:
            self._resend.append(stream.answer)
            stream.sending = Sending.FLOWING
            self._watch(stream)

    def _watch(self, stream: Stream) -> None:
        assert stream.local is not None, "a stream that flows has a local socket"
        stream.stuck = False
        self._watched += 1
        self._waiter.watch(stream.local.fileno(), _READ, stream)

    def _unwatch(self, stream: Stream) -> None:
        watched = stream.sending is not Sending.WAITING and not stream.stuck and not stream.sent_all
        if stream.local is not None and watched:
            self._watched -= 1
            self._waiter.forget(stream.local.fileno())

    def _leave(self, stream: Stream) -> None:
        """This half uses the local socket no more; inbound hears of it where it waits for that."""
        self._unwatch(stream)
        self._in_turn.leave(self._state.down, stream)
        stream.sent_all = True
        if stream.got_all or stream.stopped or stream.ending is not None:
            self._state.inbox.post_stream(stream)

    def drop(self) -> None:
        """For the owner, when the session is over: nothing is read any more."""
        self._in_turn.leave_all(self._state.down)

    def _reset(self, stream: Stream, code: Reset = Reset.LOCAL, reason: str = LOCAL_BROKE) -> None:
        stream.end(Ending.RESET_HERE, reason)
        self._resend.append(frames.refusal(Frame.RESET, stream.number, code))
        stream.sending = Sending.OVER
        self._leave(stream)

    # -- turns ---------------------------------------------------------------------------------------------------------

    def begin_turn(self) -> None:
        """A turn of outbound begins. Streams that send little go first, but not for ever."""
        self._owed = self._passed_over
        self._passed_over = bool(self._heavy)

    @property
    def bulk_next(self) -> bool:
        """Whether the next one to be read filled its last frame."""
        return bool(self._heavy) and (self._owed or not self._light)

    def read_next(self, most: int) -> bool:
        """Reads one frame's worth of the next readable stream; False when there is none."""
        if self._light and not self.bulk_next:
            stream = self._light.popleft()
        elif self._heavy:
            stream = self._heavy.popleft()
            self._owed = self._passed_over = False
        else:
            return False
        stream.queued = False
        if stream.sending is Sending.FLOWING and stream.datagrams:
            self._read_datagram(stream)
        elif stream.sending is Sending.FLOWING and not stream.stuck:
            if self._state.down.limited and stream.limit > stream.sent:
                self._read_in_turn(stream, most)
            else:
                self._read(stream, most)
        return True

    def _read_in_turn(self, stream: Stream, most: int) -> None:
        """As `_read`, within the rate of the client. While it is another stream's turn, this one is stuck."""
        room = min(most, stream.limit - stream.sent)
        likely = room if stream.heavy else min(room, limits.RATE_LITTLE)

        def read(allowed: int) -> int:
            before = stream.took
            self._read(stream, allowed)
            return stream.took - before

        self._in_turn.spend(self._state.down, stream, room, likely, read)
        if stream in self._in_turn.parked:
            self._unwatch(stream)
            stream.stuck = True

    def _read(self, stream: Stream, most: int) -> None:
        """Queues a DATA frame, or the end of this direction; nothing when the local socket has nothing after all."""
        room = min(most, stream.limit - stream.sent)
        if room <= 0:
            self._unwatch(stream)
            stream.stuck = True
            if stream.limit > stream.sent:  # inbound has raised it meanwhile, and did not see that it is stuck
                self._watch(stream)
            return
        slot = SLOTS.take()
        view = memoryview(slot)
        assert stream.local is not None, "inbound closes it behind `sent_all` only"
        try:
            n = stream.local.recv_into(view[_HEAD : _HEAD + room])
        except (BlockingIOError, InterruptedError):
            SLOTS.give_back(slot)
            return
        except OSError:
            SLOTS.give_back(slot)
            self._reset(stream)
            return
        kept = n if stream.request is None else _belonging(stream.request, view[_HEAD : _HEAD + n])
        if kept:
            self._keep(stream, slot, view, kept)
        else:
            SLOTS.give_back(slot)
        if n == 0:
            self._end(stream)
            return
        stream.heavy = n == most
        if n == room:
            stream.queued = True
            self._heavy.append(stream)

    # -- datagrams -----------------------------------------------------------------------------------------------------

    def _read_datagram(self, stream: Stream) -> None:
        """Queues DATA with one datagram, unless the limit or the rate does not let it through (UD3). While there are
        more, other streams go first."""
        assert stream.local is not None, "as in _read"
        slot = SLOTS.take()
        view = memoryview(slot)
        try:
            n = stream.local.recv_into(view[_HEAD:])
        except BlockingIOError:
            SLOTS.give_back(slot)
            return
        except OSError:  # the target's machine says that nobody listens there: somebody may at the next datagram
            n = 0
        else:
            if not n and stream.local.family == socket.AF_UNIX:
                SLOTS.give_back(slot)
                self._part(stream)
                return
        if 0 < n <= stream.limit - stream.sent and self._in_turn.passes(self._state.down, stream, n):
            stream.spoke_at = now()
            self._keep(stream, slot, view, n)
        else:
            SLOTS.give_back(slot)
        stream.queued = True
        self._heavy.append(stream)

    def _part(self, stream: Stream) -> None:
        """This direction of a stream of datagrams ends; or both, to make room for another stream."""
        assert stream.local is not None, "as in _read"
        if stream.parting == Frame.RESET:
            self._reset(stream, Reset.LIMIT, SILENT_LONGEST)
            return
        with suppress(OSError):  # who gives it datagrams finds that a new stream is due
            stream.local.shutdown(socket.SHUT_RD)
        self._resend.append(frames.end(stream.number))
        stream.sending = Sending.ENDED
        self._leave(stream)

    def forget_datagrams(self) -> None:
        """A connection begins: what came while there was none is dropped (UD3). The owner, before outbound runs."""
        for stream in self._state.streams.all():
            if stream.datagrams and stream.sending is Sending.FLOWING and stream.local is not None:
                _drain(stream.local)

    def _keep(self, stream: Stream, slot: bytearray, view: memoryview, n: int) -> None:
        wire.DATA_HEADER.pack_into(slot, 0, Frame.DATA, stream.number)
        stream.took += n
        stream.sent += n
        if n >= limits.COPY_BELOW:
            self._resend.append(view[: _HEAD + n], slot)
        else:
            self._resend.append(bytes(view[: _HEAD + n]))
            SLOTS.give_back(slot)

    def _end(self, stream: Stream) -> None:
        """The local socket has ended."""
        assert stream.local is not None, "it was read"
        # What it said before it broke is read now; of a reset inbound may have been told, and not have said so yet.
        if stream.broken or (closed(stream.local) and not stream.got_all):
            self._reset(stream)
            return
        self._resend.append(frames.end(stream.number))
        stream.sending = Sending.ENDED
        self._leave(stream)


def _belonging(request: Request, data: memoryview) -> int:
    """How many bytes of what the local side says are for the target."""
    return request.belongs(bytes(data)) if request.belongs is not None and data else len(data)


def _drain(local: socket.socket) -> None:
    """Drops what a socket of datagrams holds; what comes at this moment may stay."""
    with suppress(OSError):
        for _ in range(_DRAINED):
            if not local.recv(1):  # an end, which is seen again
                return
