"""The client's half of a session: what only a client sends and receives."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..crypto import schedule
from ..crypto.identity import KemPrivate
from ..facts import limits, wire
from ..facts.errors import ProtocolError, Violation
from ..facts.wire import Abort, Frame
from ..net.timers import TIMERS, now
from ..protocol import frames, refresh
from ..protocol.frames import Address, Reason, Target
from ..protocol.greet import Credentials, Greeted
from ..session.inbound import Handler
from ..session.state import Attached, Outcome
from ..session.streams import Stream
from ..session.tunnel import Tunnel
from .ticket import Ticket

log = logging.getLogger(__name__)


class Remote(Protocol):
    """One -R, as a session knows it: inbound calls all of it."""

    @property
    def where(self) -> Target:
        """Where the server is to listen."""

    @property
    def target(self) -> Target:
        """Where what comes there is carried."""

    def answered(self, answer: Address | Reason) -> None:
        """LISTENING came."""

    def taken_away(self, draining: bool) -> None:
        """UNLISTEN came; `draining`: the server is about to stop."""

    def over(self, stream: Stream) -> None:
        """A connection that came there is over."""


@dataclass(slots=True)
class _Listener:
    remote: Remote
    answered: bool = False  # LISTENING came


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
        self._listeners: dict[int, _Listener] = {}  # that are not over: `listen` adds, all else is inbound's

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
            Frame.LISTENING: self._on_listening,
            Frame.ACCEPTED: self._on_accepted,
            Frame.UNLISTEN: self._on_unlisten,
            Frame.REFRESH: self._on_refresh,
            Frame.SWITCH: self._on_switch,
            Frame.DISCONNECT_ACK: self._on_disconnect_ack,
            Frame.GOAWAY: self._on_goaway,
        }

    # -- listeners (protocol 5) -------------------------------------------------------------------------------------

    def listen(self, remote: Remote) -> None:
        """Asks the server to listen; `remote` hears what becomes of it. One thread calls this."""
        number = self.state.streams.listeners.take()
        self._listeners[number] = _Listener(remote)
        self.outbox.announce(frames.open_(number, remote.where, Frame.LISTEN))

    def _on_listening(self, payload: bytes) -> None:
        number, answer = frames.parse_listening(payload)
        listener = self._listeners.get(self.known_listener(number, Frame.LISTENING))
        if listener is None:
            return
        if listener.answered:
            raise Violation("LISTENING that is not owed")
        listener.answered = True
        if not isinstance(answer, Address):
            del self._listeners[number]
        listener.remote.answered(answer)

    def _on_unlisten(self, payload: bytes) -> None:
        number = self.known_listener(frames.parse_bare(payload, Frame.UNLISTEN), Frame.UNLISTEN)
        if (listener := self._listeners.pop(number, None)) is not None:
            listener.remote.taken_away(self.draining)

    def _on_accepted(self, payload: bytes) -> None:
        number, of, _ = frames.parse_accepted(payload)
        state = self.state
        state.streams.theirs.expect(number, Frame.ACCEPTED)
        listener = self._listeners.get(self.known_listener(of, Frame.ACCEPTED))
        if listener is None or not listener.answered:
            raise Violation("ACCEPTED of a listener that is over, or has not begun")
        if state.releasing:
            return
        if len(state.streams) + self.inbound.dialling.left >= limits.STREAMS:
            self.refuse(number, f"{limits.STREAMS} streams are open")
            return
        self.dial(self.admit(number, listener.remote.target, listener.remote.over))

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
