"""The frames of outbound that are not numbered, and the order in which they go out (protocol 5)."""

from __future__ import annotations

import os

from ..facts import limits, wire
from ..facts.wire import Frame
from ..net.timers import now
from ..protocol import frames
from ..protocol.frames import Limit
from ..protocol.handshake import Keys
from ..protocol.resend import ResendQueue
from .state import Role, State

CONTROL_MAX = wire.FRAME_OVERHEAD + 1 + wire.REFRESHED_SIZE  # bytes of the largest one, sealed, but for ACK
_ACK_BARE = wire.FRAME_OVERHEAD + 1 + wire.U64.size


class Control:
    """Part of outbound, and of its thread. Outlives a connection; `begin` starts one."""

    def __init__(self, state: State, role: Role, resend: ResendQueue) -> None:
        self._state, self._role, self._resend = state, role, resend
        self._outbox = state.outbox
        self._must_ack = False  # the first frame on a resumed connection
        self._restate: list[Limit] = []
        self.begin()

    def begin(self) -> None:
        """A new connection: what was under way on the last one is forgotten."""
        self.numbered_held = False  # client, between REFRESHED and SWITCH; server, behind DISCONNECT
        self.rekey: Keys | None = None  # take these behind the frame that was chosen last
        self.released = False  # client: DISCONNECT is chosen; only the farewell may follow, and no stream is opened
        self.last = False  # the farewell is chosen

    def resume(self, rows: list[Limit]) -> None:
        """The next connection begins with ACK, which restates these limits: the last ones may be lost."""
        self._must_ack, self._restate = True, rows

    def next(self, space: int) -> bytes | None:
        """The next frame that is not numbered, of `space` bytes sealed at most; ACK first."""
        outbox = self._outbox
        if self.last or (self.released and outbox.farewell is None):
            return None
        ack = None if self.released else self._ack(space)
        if ack is not None:
            return ack
        if outbox.farewell is not None:
            self.last = True
            return outbox.farewell
        if outbox.pong is not None:
            pong, outbox.pong = outbox.pong, None
            return pong
        if outbox.ping:
            outbox.ping = False
            return frames.ping(os.urandom)
        if outbox.goaway is not None:
            goaway, outbox.goaway = outbox.goaway, None
            return goaway
        return self._refreshing() or self._releasing()

    def _ack(self, space: int) -> bytes | None:
        """ACK, when there is more to acknowledge or a limit to state, or the connection must begin with one."""
        outbox = self._outbox
        due, outbox.ack_due = outbox.ack_due, False  # first: what is received from here on sets it again
        received = outbox.received
        fresh = received - outbox.acknowledged
        rides = fresh >= limits.ACK_RIDES  # with something that leaves anyhow
        if not (rides or (due and fresh) or outbox.limits or self._must_ack or self._restate):
            return None
        most = min(limits.ACK_ROWS, (space - _ACK_BARE) // wire.ACK_LIMIT.size)
        rows, self._restate = self._restate[:most], self._restate[most:]
        rows += outbox.next_limits(most - len(rows))
        self._must_ack, outbox.acknowledged = False, received
        return frames.ack(received, rows)

    def _releasing(self) -> bytes | None:
        """DISCONNECT leaves when all is acknowledged and over, and not amid a refresh; DISCONNECT_ACK at once."""
        release = self._outbox.release
        if release is None:
            return None
        if release[0] == Frame.DISCONNECT:
            if len(self._resend) or self.numbered_held or self._outbox.opening or len(self._state.streams):
                return None
            self.released = True
            self._state.releasing = now()
        else:
            self.numbered_held = True
        self._outbox.release = None
        return release

    def _refreshing(self) -> bytes | None:
        """REFRESH, REFRESHED or SWITCH; the latter two are the last frames under the old keys."""
        outbox = self._outbox
        if self._state.refreshing is None and (outbox.refresh or self._role.refresh_due()):
            outbox.refresh = False
            return self._role.start_refresh()
        if outbox.switch is not None:
            (plain, self.rekey), outbox.switch = outbox.switch, None
            return plain
        if outbox.refreshed is not None:
            outbox.switched = False  # that was of the refresh before: it would end the hold of this one
            (plain, self.rekey), outbox.refreshed = outbox.refreshed, None
            self.numbered_held = True
            return plain
        return None
