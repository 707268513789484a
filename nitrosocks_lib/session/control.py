"""The frames of outbound that are not numbered, and the order in which they go out (protocol 5)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..facts import wire
from ..facts.wire import Frame
from ..protocol import frames
from ..protocol.handshake import Keys
from ..protocol.resend import ResendQueue
from .mailbox import OutboundMail

if TYPE_CHECKING:
    from .tunnel import Tunnel

_R3 = 16
CONTROL_MAX = wire.FRAME_OVERHEAD + 1 + wire.REFRESHED_SIZE  # bytes of the largest one, sealed


class Control:
    """Part of outbound: it belongs to whoever has its seat. Outlives a connection; `begin` starts one."""

    def __init__(self, tunnel: Tunnel, mail: OutboundMail, resend: ResendQueue) -> None:
        self._tunnel, self._mail, self._resend = tunnel, mail, resend
        self.acknowledged = 0  # the last ACK sent
        self.consumed = 0  # what may be acknowledged
        self.must_ack = False  # the first frame on a resumed connection
        self.begin()

    def begin(self) -> None:
        """A new connection: what was under way on the last one is forgotten."""
        self.numbered_held = False  # client, between REFRESHED and SWITCH
        self.rekey: Keys | None = None  # take these behind the frame that was chosen last
        self.last = False  # the farewell is chosen

    def next(self) -> bytes | None:
        """The next frame that is not numbered; ACK first, since it opens the peer's window."""
        mail, ack = self._mail, self.ack()
        if ack is not None:
            return ack
        if mail.farewell is not None:
            self.last = True
            return mail.farewell
        if mail.pong is not None:
            pong, mail.pong = mail.pong, None
            return pong
        if mail.ping:
            mail.ping = False
            return bytes([Frame.PING]) + os.urandom(_R3)
        if mail.goaway is not None:
            goaway, mail.goaway = mail.goaway, None
            return goaway
        return self._refreshing() or self._releasing()

    def ack(self) -> bytes | None:
        """ACK, when there is more to acknowledge, or the connection must begin with one."""
        consumed = self._resend.ack_limit(self.consumed)
        if not self.must_ack and consumed <= self.acknowledged:
            return None
        self.must_ack, self.acknowledged = False, consumed
        return frames.ack(consumed)

    def _releasing(self) -> bytes | None:
        release, self._mail.release = self._mail.release, None
        return release

    def _refreshing(self) -> bytes | None:
        """REFRESH, REFRESHED or SWITCH; the latter two are the last frames under the old keys."""
        mail, tunnel = self._mail, self._tunnel
        if tunnel.refreshing is None and (mail.refresh or tunnel.refresh_due()):
            mail.refresh = False
            return tunnel.start_refresh()
        if mail.switch is not None:
            (plain, self.rekey), mail.switch = mail.switch, None
            return plain
        if mail.refreshed is not None:
            (plain, self.rekey), mail.refreshed = mail.refreshed, None
            self.numbered_held = True
            return plain
        return None
