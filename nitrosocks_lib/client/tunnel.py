"""The client's half of a session: what only a client sends and receives."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from ..crypto import schedule
from ..crypto.identity import KemPrivate
from ..facts import limits, wire
from ..facts.errors import ProtocolError, Violation
from ..facts.wire import Abort, Frame
from ..net.timers import TIMERS, now
from ..protocol import frames, refresh
from ..protocol.greet import Credentials, Greeted
from ..session.streams import Stream, Ticket
from ..session.tunnel import Attached, Outcome, Tunnel

log = logging.getLogger(__name__)


class ClientTunnel(Tunnel):
    """One session at the client; `session.ClientSession` owns it."""

    serving = False
    sends = schedule.CLIENT_TO_SERVER
    receives = schedule.SERVER_TO_CLIENT

    def __init__(self, credentials: Credentials, greeted: Greeted, window: int, idle: Callable[[], None]) -> None:
        """`idle()` is called by outbound when a stream is over, and by inbound when the server says GOAWAY."""
        attached = Attached(greeted.keys, greeted.ephemeral)
        super().__init__(attached, greeted.terms, window, min(greeted.terms.window, max(window, limits.WINDOW)))
        self._credentials = credentials
        self._idle = idle
        self.draining = False  # GOAWAY came: no new streams
        self.stream: Stream | None = None  # the one under way; None while idle
        self.idle_since = now()
        self._release = Ticket()

    # -- streams ----------------------------------------------------------------------------------------------------

    def open(self, stream: Stream) -> None:
        """Opens a stream on this idle session. While it is idle, its state belongs to whoever took it from the pool."""
        assert self.stream is None, "a session carries one stream at a time"
        stream.early = now() - self.inbound.last_heard < limits.FRESH
        self.stream = self.inbound.stream = stream
        self.inbound.receiving.opening()
        self.outbound.mail.stream = stream
        self.outbound.mail.wake.set()

    def stream_over(self, stream: Stream) -> None:
        """outbound: the stream is over, and the session idle again."""
        self.stream = None
        self.idle_since = now()
        stream.report()
        self._idle()

    def role_handlers(self) -> dict[int, Callable[[bytes], None]]:
        """What only a client receives."""
        return {
            Frame.OPENED: self._on_opened,
            Frame.REFUSED: self._on_refused,
            Frame.REFRESH: self._on_refresh,
            Frame.SWITCH: self._on_switch,
            Frame.DISCONNECT_ACK: self._on_disconnect_ack,
            Frame.GOAWAY: self._on_goaway,
        }

    def _on_opened(self, payload: bytes) -> None:
        frames.parse_address(payload)
        if self.inbound.receiving.answer(Frame.OPENED) and self.stream is not None:
            self.stream.answered = True
        self.inbound.post_consumed()

    def _on_refused(self, payload: bytes) -> None:
        reason = frames.parse_reason(payload)
        self.inbound.receiving.answer(Frame.REFUSED)
        if self.stream is not None:
            self.stream.refused = reason
            self.stream.peer_over = True
        self.inbound.post_consumed()

    # -- refresh (protocol 5) ---------------------------------------------------------------------------------------

    def _on_refresh(self, payload: bytes) -> None:
        if self.releasing:
            return  # the release goes on under the old keys
        if self.refreshing is not None:
            raise Violation("REFRESH while one runs")
        assert isinstance(self.ephemeral, KemPrivate)
        who = self._credentials
        refreshed, self.keys, self.ephemeral = refresh.answer(
            self.keys, payload, self.ephemeral, who.key, who.server_public, os.urandom
        )
        self.refresh_since, self.refreshing = now(), schedule.switch_value(self.keys.root)  # timers look at both
        self.outbound.mail.refreshed = (bytes([Frame.REFRESHED]) + refreshed, self.keys)
        self.outbound.mail.wake.set()

    def _on_switch(self, payload: bytes) -> None:
        expected, self.refreshing = self.refreshing, None
        if not isinstance(expected, bytes):
            raise Violation("SWITCH that nobody asked for")
        if not schedule.equal(payload, expected):
            raise ProtocolError("SWITCH is wrong")
        self.rekey_inbound(self.keys)
        self.outbound.mail.switched = True
        self.outbound.mail.wake.set()

    # -- release (protocol 5) ---------------------------------------------------------------------------------------

    def disconnect(self) -> None:
        """Begins the release of an idle, connected session, once; any thread, returns at once."""
        if not self._release.take():
            return
        self.releasing = now()
        self.outbound.mail.release = bytes([Frame.DISCONNECT])
        self.outbound.mail.wake.set()
        TIMERS.after(limits.RELEASE, self.unanswered)

    def unanswered(self, at: float) -> float | None:
        """A timer: a release got no answer for 5 s, or an ABORT did not leave. The session ends, after ABORT 4."""
        if self.say_no_answer():
            return at + limits.FAREWELL
        self.end(Outcome.OVER, "no answer to the release")
        return None

    def say_no_answer(self) -> bool:
        """ABORT 4 where a release waits for its answer; any thread. False where nothing is to be said, or it was."""
        waits = self.releasing > 0 and self.outcome is None and self.outbound.mail.farewell is None
        if waits:
            self.post_abort(Abort.NO_ANSWER, "no answer to the release")
        return waits

    def _on_disconnect_ack(self, payload: bytes) -> None:
        frames.sized(payload, wire.HASH, wire.HASH, Frame.DISCONNECT_ACK)
        if not self.releasing:
            raise Violation("DISCONNECT_ACK that nobody asked for")
        self.outbound.mail.farewell = bytes([Frame.DISCONNECT_DONE]) + schedule.hash256(payload)
        self.outbound.mail.wake.set()

    def _on_goaway(self, payload: bytes) -> None:
        log.info("the server is about to stop, in %d s at most", frames.parse_goaway(payload))
        self.draining = True
        if self.stream is None:
            self._idle()
