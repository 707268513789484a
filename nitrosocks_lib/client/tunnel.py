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
from ..session.inbound import Handler
from ..session.state import Attached, Outcome
from ..session.streams import Stream
from ..session.tunnel import Tunnel
from .ticket import Ticket

log = logging.getLogger(__name__)


class ClientTunnel(Tunnel):
    """One session at the client; `session.ClientSession` owns it."""

    serving = False
    peer = "the server"
    sends = schedule.CLIENT_TO_SERVER
    receives = schedule.SERVER_TO_CLIENT

    def __init__(self, credentials: Credentials, greeted: Greeted, window: int, changed: Callable[[], None]) -> None:
        """`window` in bytes is what streams begin with; `changed()` is called by inbound when a stream is over, or the
        server says GOAWAY."""
        attached = Attached(greeted.keys, greeted.ephemeral)
        super().__init__(attached, greeted.terms, (window, greeted.terms.window))
        self._credentials = credentials
        self._changed = changed
        self.draining = False  # GOAWAY came: no new streams
        self.leaving = False  # a release was asked for: no new streams
        self._release = Ticket()

    # -- streams -------------------------------------------------------------------------------------------------------

    def stream_over(self, stream: Stream) -> None:
        """As in Role."""
        stream.report()
        if self.leaving:
            self.outbox.waiter.set()  # it was opened at the last moment, and DISCONNECT waits for it
        self._changed()

    def wrote(self, count: int) -> None:
        """As in Role: what is not answered soon makes the client doubt its connection."""
        if self.state.doubt.wrote(count, now()):
            self.state.waits()
        if (hurry := self.state.hurry) is not None:
            hurry()

    def role_handlers(self) -> dict[int, Handler]:
        """What only a client receives."""
        return {
            Frame.OPENED: self._on_opened,
            Frame.REFUSED: self._on_refused,
            Frame.LISTENING: self._on_listener,
            Frame.ACCEPTED: self._on_listener,
            Frame.REFRESH: self._on_refresh,
            Frame.SWITCH: self._on_switch,
            Frame.DISCONNECT_ACK: self._on_disconnect_ack,
            Frame.GOAWAY: self._on_goaway,
        }

    def _on_opened(self, payload: bytes) -> None:
        number, address = frames.parse_address(payload, Frame.OPENED)
        stream = self.inbound.stream(number, Frame.OPENED)
        if stream is not None:
            self.inbound.delivery.opened(stream, address)

    def _on_refused(self, payload: bytes) -> None:
        number, reason = frames.parse_refusal(payload, Frame.REFUSED)
        stream = self.inbound.stream(number, Frame.REFUSED)
        if stream is not None:
            self.inbound.delivery.refused(stream, reason)

    def _on_listener(self, payload: bytes) -> None:
        raise Violation("a listener that was never asked for")

    # -- refresh (protocol 5) ---------------------------------------------------------------------------------------

    def _on_refresh(self, payload: bytes) -> None:
        state = self.state
        if state.releasing:
            return  # the release goes on under the old keys
        if state.refreshing is not None:
            raise Violation("REFRESH while one runs")
        assert isinstance(state.ephemeral, KemPrivate)
        who = self._credentials
        refreshed, state.keys, state.ephemeral = refresh.answer(
            state.keys, payload, state.ephemeral, who.key, who.server_public, os.urandom
        )
        state.refresh_since = now()  # in this order: timers look at both
        state.refreshing = schedule.switch_value(state.keys.root)
        self.outbox.refreshed = (bytes([Frame.REFRESHED]) + refreshed, state.keys)
        self.outbox.waiter.set()

    def _on_switch(self, payload: bytes) -> None:
        expected, self.state.refreshing = self.state.refreshing, None
        if not isinstance(expected, bytes):
            raise Violation("SWITCH that nobody asked for")
        if not schedule.equal(payload, expected):
            raise ProtocolError("SWITCH is wrong")
        self.rekey_inbound(self.state.keys)
        self.outbox.switched = True
        self.outbox.waiter.set()

    # -- release (protocol 5) ---------------------------------------------------------------------------------------

    def disconnect(self) -> None:
        """Begins the release of an idle, connected session, once; any thread, returns at once.

        DISCONNECT waits until all is acknowledged, and until then the session is resumed like any other (protocol
        10.33). PING asks for that ACK.
        """
        if not self._release.take():
            return
        self.leaving = True
        self.outbox.post(release=bytes([Frame.DISCONNECT]), ping=not self.acknowledged)
        TIMERS.after(limits.RELEASE, self.unanswered)

    def unanswered(self, at: float) -> float | None:
        """A timer: a release got no answer for 5 s, or an ABORT did not leave. The session ends, after ABORT 4."""
        if self.say_no_answer():
            return at + limits.FAREWELL
        self.state.end(Outcome.OVER, "no answer to the release")
        return None

    def say_no_answer(self) -> bool:
        """ABORT 4 where a release waits for its answer; any thread. False where nothing is to be said, or it was."""
        waits = self.leaving and self.state.outcome is None and self.outbox.farewell is None
        if waits:
            self.post_abort(Abort.NO_ANSWER, "no answer to the release")
        return waits

    def _on_disconnect_ack(self, payload: bytes) -> None:
        frames.sized(payload, wire.HASH, wire.HASH, Frame.DISCONNECT_ACK)
        if not self.state.releasing:
            raise Violation("DISCONNECT_ACK that nobody asked for")
        self.inbound.peer_acked = self.outbound.resend.sent  # DISCONNECT left behind every numbered frame
        self.outbox.post(farewell=bytes([Frame.DISCONNECT_DONE]) + schedule.hash256(payload))

    def _on_goaway(self, payload: bytes) -> None:
        log.info("the server is about to stop, in %d s at most", frames.parse_goaway(payload))
        self.draining = True
        self._changed()
