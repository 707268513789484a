"""The inbound half of a session: link → Opener → local sockets. One thread for all streams.

_take_mail → _receive: reads the link, opens frames, DATA to the local sockets, all else to its handler → _wait
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping

from ..crypto.seal import Opener
from ..facts import limits, wire
from ..facts.errors import Violation
from ..facts.wire import Frame
from ..net.buffers import RECEIVED, SLOTS
from ..net.link import Link
from ..net.timers import now
from ..protocol import frames
from ..protocol.acks import AckDue
from ..protocol.receiving import FROM_CLIENT, FROM_SERVER, Peer, following
from ..protocol.resend import ResendQueue
from .answers import Answers
from .delivery import Delivery
from .dialling import Dialling, NoDialling
from .state import Role, State
from .streams import Stream

_HEAD = wire.DATA_HEAD
_LINK = "link"  # what the selector says of the link
_TURNS = 16  # full ones, 4 MiB, from one look at the time to the next
Handler = Callable[[bytes], None]


class Inbound:
    """State that outlives a connection; `run` serves one. All of it belongs to the running thread."""

    def __init__(self, state: State, role: Role, resend: ResendQueue, handlers: Mapping[int, Handler]) -> None:
        """`resend` is outbound's, of which `sent` is looked at; `handlers` take the frames of the role and of all."""
        self._state = state
        self._resend = resend
        self._inbox, self._outbox, self._waiter = state.inbox, state.outbox, state.inbox.waiter
        self.delivery = Delivery(state, role)
        self.answers = Answers(state, self.delivery)
        self.dialling: Dialling = NoDialling()
        self.opener: Opener  # of the connection; set by `Tunnel.run`
        self.received = 0  # numbered frames, over the life of the session
        self.peer_acked = 0  # the highest `received` that the peer has acknowledged
        self.bytes_in = 0  # plaintext bytes of all connections
        self._due = AckDue()
        own = {Frame.END: self._on_end, Frame.RESET: self._on_reset, Frame.ACK: self._on_ack}
        self._handlers = own | dict(handlers)
        self.allowed = FROM_CLIENT if state.serving else FROM_SERVER  # what the peer may send now
        self.first_due = False  # the session moved: the first frame on the new connection must be ACK, or ABORT
        self._streams = state.streams.by_number
        self.wants_acks: Callable[[], bool] = lambda: False  # whether outbound waits for an ACK

    # -- one connection ------------------------------------------------------------------------------------------------

    def run(self, link: Link, first: bytes = b"") -> None:
        """Serves this link, with the `opener` that was set; `first` is a frame opened already, type ‖ payload.

        Raises NetworkError or BadFrame when the connection is over, Violation when the session is.
        """
        self._buffer: bytearray | None = None
        self._start = self._end = 0
        self._slot = bytearray()
        self._last: tuple[Stream, memoryview, float] | None = None  # counted as received, in `_slot`, not yet delivered
        self._state.partial_since = 0.0
        self._waiter.pending = True
        self._waiter.watch(link.fd, selectors.EVENT_READ, _LINK)
        try:
            if first:
                self._look_at_first(first[0])
                self._on_frame(memoryview(first), len(first))
            self._serve(link)
        finally:
            self._deliver_last()
            self._waiter.forget(link.fd)
            self._buffer, self._slot = None, bytearray()

    def _serve(self, link: Link) -> None:
        turns = 0
        while self._state.outcome is None:
            if self._last is not None:
                self._deliver_last()
            if self._waiter.pending:
                self._take_mail()
            if self.delivery.watching or len(self.dialling):
                self._look(link, 0.0)
            if not self._receive(link) or link.dry:
                self._wait(link)
            elif (turns := turns + 1) % _TURNS == 0:  # a link that is never dry leaves no time else
                self._do_due()

    def _receive(self, link: Link) -> bool:
        """Reads what is there, a batch at most, and handles what is whole; False when nothing was there."""
        if self._buffer is None:
            self._buffer = RECEIVED.take()
        view = memoryview(self._buffer)
        space = view[self._end :]
        if not (n := link.read_some(space, len(space))):
            return False
        self._end += n
        self._state.last_heard = at = now()
        count, size = self.received, self.bytes_in
        if self._outbox.acknowledged == count:
            self._due.sent()
        self._open_frames(view, at)
        self.bytes_in += n
        count = self.received - count
        if count and self._due.received(count, self.bytes_in - size, at):
            self._acknowledge()
        return True

    def _open_frames(self, view: memoryview, at: float) -> None:
        start, end, opener = self._start, self._end, self.opener
        while end - start >= wire.LENGTH:
            size = opener.frame_size(view[start : start + wire.LENGTH])
            if end - start < size:
                break
            slot = self._slot = self._slot or SLOTS.take()
            out = memoryview(slot)
            n = opener.open(view[start : start + size], out)
            start += size
            self._state.partial_since = 0.0
            if self.first_due:
                self._look_at_first(out[0])
            if out[0] == Frame.DATA:
                self._on_data(out, n, at, start == end)
            else:
                self._on_frame(out, n)
        if start == end:
            start = end = 0
        else:
            self._state.partial(end - start, at)
            if start:  # the rest of a frame goes to the front: what follows must fit
                view[: end - start] = bytes(view[start:end])
                start, end = 0, end - start
        self._start, self._end = start, end

    def _wait(self, link: Link) -> None:
        self._give_back()
        due = self._do_due()
        timeout = max(0.0, due - now()) if due else None
        if self._last is not None:
            self._deliver_last()
        self._look(link, timeout)
        if self._due.at and now() >= self._due.at:
            self._acknowledge()

    def _do_due(self) -> float | None:
        """Does what has come due at dials and backlogs; returns when anything is due next."""
        due: float | None = self._due.at
        if len(self.dialling) or self.delivery.waits:
            at = now()
            due = min((t for t in (due, self.dialling.due(at), self.delivery.due(at)) if t), default=None)
            self._take_dials()
        return due

    def _deliver_last(self) -> None:
        """Writes what was read last: the last thing before the wait, for who answers at once needs this interpreter."""
        last, self._last = self._last, None
        if last is not None:
            self.delivery.deliver(last[0], last[1], self._slot, last[2])

    def _give_back(self) -> None:
        """An idle session holds no buffers."""
        if self._slot and self._last is None:
            SLOTS.give_back(self._slot)
            self._slot = bytearray()
        if self._buffer is not None and self._start == self._end:
            RECEIVED.give_back(self._buffer)
            self._buffer, self._start, self._end = None, 0, 0

    def _look(self, link: Link, timeout: float | None) -> None:
        """Waits, and serves the local sockets and dials that are ready."""
        for what, _ in self._waiter.select(timeout):
            if what is _LINK:
                link.dry = False
            elif isinstance(what, Stream):
                self.delivery.flush(what)
            else:
                self.dialling.fired(what[1], now())
                self._take_dials()

    def rest(self, deadline: float) -> None:
        """Waits for a wake without reading any more: the session is over, and outbound says so."""
        self._waiter.clear()
        if self._state.outcome is None:
            self._waiter.wait({}, deadline - now())

    def _take_mail(self) -> None:
        self._waiter.clear()
        if self._state.fault is not None:
            raise self._state.fault
        while (stream := self._inbox.next_stream()) is not None:
            self.delivery.look(stream)
        self.dialling.due(now())
        self._take_dials()

    def _take_dials(self) -> None:
        for number, result in self.dialling.take():
            self.answers.answer(number, result)

    def _acknowledge(self) -> None:
        """An ACK is due: outbound is to send it at once, unless one went out with something else."""
        self._due.sent()
        if self._outbox.acknowledged != self.received:
            self._outbox.ack_due = True
            self._outbox.waiter.set()

    # -- frames --------------------------------------------------------------------------------------------------------

    def _look_at_first(self, kind: int) -> None:
        """Protocol 3.5: the session was moved, and this is what the new connection begins with."""
        if kind not in (Frame.ACK, Frame.ABORT):
            raise Violation("the first frame behind RECOVERED is no ACK")
        self.first_due = False

    def _on_frame(self, plain: memoryview, size: int) -> None:
        """One opened frame that is no DATA, type ‖ payload in plain[:size]."""
        kind = plain[0]
        handler = self._handlers.get(kind)
        if handler is None or kind not in self.allowed:
            raise Violation(f"a frame of type 0x{kind:02x} that has no place here")
        handler(bytes(plain[1:size]))
        if kind in wire.NUMBERED:
            self.count()

    def count(self) -> None:
        """One more numbered frame is received: what it brought is delivered, held, or over."""
        self.received += 1
        self._outbox.received = self.received

    def stream(self, number: int, frame: Frame) -> Stream | None:
        """The stream that a frame names, its state moved on; None where it is over. Violation where none was opened."""
        stream = self._streams.get(number)
        if stream is None:
            if not self._state.streams.known(number):
                raise Violation(f"{frame.name} of a stream that was never opened")
            return None
        if stream.over:
            return None
        stream.peer = following(stream.peer, frame)
        return stream

    def _on_data(self, plain: memoryview, size: int, at: float, last: bool = False) -> None:
        """DATA is delivered at once, or in `_deliver_last` where it is the last that was read, and small."""
        if size <= _HEAD:
            raise Violation("DATA without bytes")
        (number,) = wire.STREAM.unpack_from(plain, 1)
        stream = self._streams.get(number)
        if stream is None or stream.peer is not Peer.FLOWING or stream.over:
            if Frame.DATA not in self.allowed:
                raise Violation("DATA after DISCONNECT")
            stream = self.stream(number, Frame.DATA)
        if stream is not None:
            credit = stream.credit
            assert credit is not None, "it has a number"
            credit.receive(size - _HEAD)
        self.count()
        if stream is None:
            return
        if last and size < limits.COPY_BELOW:
            self._last = (stream, plain[_HEAD:size], at)
        elif self.delivery.deliver(stream, plain[_HEAD:size], self._slot, at):
            self._slot = bytearray()  # held in the backlog

    def _on_end(self, payload: bytes) -> None:
        stream = self.stream(frames.parse_bare(payload, Frame.END), Frame.END)
        if stream is not None:
            self.delivery.end(stream)

    def _on_reset(self, payload: bytes) -> None:
        number, reason = frames.parse_refusal(payload, Frame.RESET)
        stream = self.stream(number, Frame.RESET)
        if stream is not None:
            self.dialling.stop(number)
            self.delivery.reset(stream, reason)

    def _on_ack(self, payload: bytes) -> None:
        received, rows = frames.parse_ack(payload)
        if not self.peer_acked <= received <= self._resend.sent:
            raise Violation("an ACK beyond what was sent, or going back")
        newly, self.peer_acked = received > self.peer_acked, received
        for number, limit in rows:
            stream = self._streams.get(number)
            if stream is None and not self._state.streams.known(number):
                raise Violation("a limit of a stream that was never opened")
            if stream is not None and limit > stream.limit:
                stream.limit = limit
                if stream.stuck:
                    self._outbox.post_stream(stream)
        if newly:
            self._outbox.acked = received
            self._state.doubt.acknowledged(received, now())
            if self.wants_acks() or (received == self._resend.sent and self._resend.kept_bytes >= limits.COPY_BELOW):
                self._outbox.waiter.set()
