"""The outbound half of a session: local sockets → Sealer → link. One thread for all streams.

_take_mail → _fill: control frames, then numbered ones, read from the local sockets → _write → _rest
"""

from __future__ import annotations

from ..crypto import schedule
from ..crypto.seal import Sealer
from ..facts import limits, wire
from ..facts.errors import Violation
from ..facts.wire import Abort
from ..net.buffers import FRAMES, SLOTS
from ..net.link import Link
from ..net.timers import now
from ..protocol.pacing import Pace, Queued
from ..protocol.resend import ResendQueue
from .control import CONTROL_MAX, Control
from .reading import Reading
from .state import Outcome, Role, State

_ROUND = wire.FRAME_OVERHEAD + wire.DATA_HEAD


class Outbound:
    """State that outlives a connection; `run` serves one. All of it belongs to the running thread."""

    def __init__(self, state: State, role: Role) -> None:
        self._state, self._role = state, role
        self._outbox, self._waiter = state.outbox, state.outbox.waiter
        self.sealer: Sealer  # of the connection, as _link and _pace
        self._link: Link
        self._pace: Pace
        self.resend = ResendQueue()
        self.control = Control(state, role, self.resend)
        self._reading = Reading(state, self.resend)
        self.written = 0  # bytes that went to the link, on all connections
        self._written_before = 0  # on those before this one
        self._wrote = 0  # how many numbered frames have been written on this connection
        self._loan = bytearray()  # holds sealed frames until they are written
        self._unsent = memoryview(b"")
        self._mail = False  # mail was taken, and the control frames that it may have brought are not all sealed
        self._pause = 0.0  # seconds until the line has moved enough for the next frame
        self.wants_acks = False  # so much is kept that inbound is to wake this thread for an ACK

    def rewind(self, received: int) -> None:
        """For the owner between two connections: the peer has `received`, all else is sent again after an ACK."""
        for slot in self.resend.rewind(received):
            SLOTS.give_back(slot)
        self._outbox.acked = received
        window = self._state.receive_window
        streams = [s for s in self._state.streams.all() if s.credit is not None and not s.over]
        rows = [(s.number, s.credit.given) for s in streams if s.credit is not None and s.credit.given > window]
        self.control.resume(rows)

    def drop(self) -> None:
        """For the owner, when the session is over: nothing is sent again."""
        self._reading.drop()
        for slot in self.resend.drop():
            SLOTS.give_back(slot)

    # -- one connection ------------------------------------------------------------------------------------------------

    def begin(self, link: Link, sealer: Sealer) -> None:
        """For whoever attaches a link, before its pair starts."""
        self._link, self.sealer, self._unsent = link, sealer, memoryview(b"")
        self._pace, self._written_before, self._wrote = Pace(now()), self.written, self.resend.cursor
        self.control.begin()
        self._reading.forget_datagrams()
        self._waiter.pending = True  # what was posted while there was no thread is taken at once

    def run(self) -> None:
        """Serves the link that was begun. Raises NetworkError when it ends."""
        try:
            while self._state.outcome is None:
                if self._waiter.pending:
                    self._take_mail()
                if not (self._unsent or (self._has_work() and self._fill())):
                    self._rest()
                elif not self._write():
                    self._waiter.wait({self._link.fd: self._link.write_wants}, None)
        finally:
            self._state.stuck_since, self._loan, self._unsent = 0.0, bytearray(), memoryview(b"")

    def _has_work(self) -> bool:
        return self._mail or self._reading.waits or self.resend.waits or self._outbox.release is not None

    def _write(self) -> bool:
        """Goes on with what is sealed: only the same bytes may be written now. True when all of it is out."""
        if self.resend.cursor != self._wrote:
            self._wrote = self.resend.cursor
            self._role.wrote(self._wrote)
        n = self._link.write_some(self._unsent)
        self._unsent = self._unsent[n:]
        self.written += n
        state = self._state
        if n:
            if state.stuck_since:
                state.last_heard = now()  # progress is a sign of life
            state.stuck_since = 0.0
        if self._unsent:
            state.stuck_since = state.stuck_since or now()
            return False
        return True

    def _rest(self) -> None:
        """Nothing can be sealed now: waits for mail, and for local sockets where their bytes could go out."""
        if self.control.last:
            self._state.end(Outcome.OVER, "")
            return
        if self._pause:
            self._waiter.wait({}, self._pause)
            return
        if self._loan:
            FRAMES.give_back(self._loan)
            self._loan = bytearray()
        self.wants_acks = self.resend.full or self._outbox.release is not None
        if self.wants_acks and self._free_acknowledged():
            return
        if self.resend.full or self.control.numbered_held:
            self._waiter.wait({}, None)
        else:
            self._reading.look(None)

    # -- mail ----------------------------------------------------------------------------------------------------------

    def _take_mail(self) -> None:
        outbox = self._outbox
        self._waiter.clear()
        self._mail = True
        self._free_acknowledged()
        if outbox.switched:
            outbox.switched = self.control.numbered_held = False
        while outbox.opening and not self.control.released:  # taken out behind that: it counts all the time
            if isinstance(first := outbox.opening[0], bytes):
                self.resend.append(first)
            else:
                self._reading.open(first)
            outbox.opening.popleft()
        while outbox.frames:
            self.resend.append(outbox.frames.popleft())
        while (stream := outbox.next_stream()) is not None:
            self._reading.attend(stream)
        if self.resend.overfull and self._state.fault is None:
            self._state.fault = Violation("the peer does not acknowledge what it makes this side send", Abort.LIMIT)
            self._state.inbox.waiter.set()

    def _free_acknowledged(self) -> bool:
        """Gives back what the peer has received; False where that was nothing new."""
        news = self._outbox.acked > self.resend.acked
        if news:
            for slot in self.resend.acknowledge(self._outbox.acked):
                SLOTS.give_back(slot)
        return news

    # -- what to seal next ---------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Seals what waits, then what local sockets give, as much as may go out at once; False when that is nothing."""
        self._free_acknowledged()  # so that few buffers go round, which the processor's cache still has
        self._loan = self._loan or FRAMES.take()
        out, end = memoryview(self._loan), 0
        while len(out) - end >= CONTROL_MAX:
            control = self.control.next(len(out) - end)
            if control is None:
                self._mail = False
                break
            end += self.sealer.seal(control, out[end:])
            self._take_keys()
        if not (self.control.last or self.control.numbered_held):
            end = self._fill_numbered(out, end)
        self._unsent = out[:end]
        return end > 0

    def _take_keys(self) -> None:
        keys, self.control.rekey = self.control.rekey, None
        if keys is None:
            return
        state = self._state
        direction = schedule.SERVER_TO_CLIENT if state.serving else schedule.CLIENT_TO_SERVER
        self.sealer.rekey(schedule.frame_keys(keys.root, direction, state.terms.encrypt_type))
        if state.serving:
            self._role.refreshed()

    def _fill_numbered(self, out: memoryview, end: int) -> int:
        """Numbered frames that wait, then new DATA: of streams that send little first, then of each other in turn."""
        resend, self._pause = self.resend, 0.0
        if not (resend.waits or self._reading.waits):
            return end
        if self._reading.may_look:  # what sends little goes first, so it must be seen
            self._reading.look(0)
        written = self.written - self._written_before
        if not self._pace.free(written):
            self._pause = self._pace.look(written, Queued(*self._link.queued()), now())
            if self._pause:
                return end
        most = min(limits.DATA_SIZE, max(limits.PACE_LEAST, self._pace.allowed // 2) - _ROUND)
        stop = min(len(out), end + max(self._pace.allowed // 2, limits.PACE_LEAST))
        self._reading.begin_turn()
        while end < stop:
            plain = resend.next()
            if plain is None:
                if resend.full or len(out) - end < most + _ROUND:
                    break
                if end and most < limits.DATA_SIZE and self._reading.bulk_next:
                    break  # what is small would share a record with it, and arrive no sooner
                if not self._reading.read_next(most):
                    break
            elif len(plain) + wire.FRAME_OVERHEAD > len(out) - end:
                break
            else:
                end += self.sealer.seal(plain, out[end:])
                resend.sealed()
        return end
