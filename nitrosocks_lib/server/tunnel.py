"""The server's half of a session: what only a server sends and receives."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..crypto import schedule
from ..crypto.identity import KemPublic, ServerKey
from ..facts import limits, wire
from ..facts.errors import Violation
from ..facts.wire import Abort, Frame, Reply
from ..net.timers import TIMERS, now
from ..net.wake import Waiter
from ..protocol import frames, refresh
from ..protocol.frames import Target
from ..protocol.receiving import Peer
from ..protocol.refresh import Started
from ..protocol.welcome import Welcomed
from ..session.dialling import Dialling
from ..session.inbound import Handler
from ..session.reaching import name_of, shown
from ..session.shares import Shares
from ..session.state import Attached, Outcome
from ..session.streams import LOCAL_BROKE, Ending, Sending, Stream
from ..session.tunnel import Tunnel, abort_text
from .audit import tell

_AFTER_DISCONNECT: Final = frozenset({Frame.DISCONNECT_DONE, Frame.ABORT})
log = logging.getLogger(__name__)
_LAST_WORDS: Final = 1.0  # seconds that ABORT may take to be written

# How a stream ended, as the audit trail says it.
_ENDED: Final = {
    Ending.CLEAN: "clean",
    Ending.RESET_HERE: "reset by target",
    Ending.RESET_THERE: "reset by client",
    Ending.LOST: "lost",
}
_NOT_REACHED, _BY_SERVER = "not reached", "refused by server"
_REFUSED: Final[dict[int, str]] = {
    Reply.NOT_PERMITTED: "refused by rule",
    Reply.CONNECTION_REFUSED: "refused by target",
    Reply.COMMAND: _BY_SERVER,
}


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """When the server starts a refresh, whichever is first: seconds, bytes or frames of either direction."""

    every: float = limits.REFRESH
    volume: int = limits.REFRESH_BYTES
    count: int = limits.REFRESH_FRAMES


class ServerTunnel(Tunnel):
    """One session at the server; `registry.Registry` keeps it, a connection's thread serves it."""

    serving = True
    sends = schedule.SERVER_TO_CLIENT
    receives = schedule.CLIENT_TO_SERVER

    def __init__(
        self,
        key: ServerKey,
        welcomed: Welcomed,
        dialling: Callable[[Waiter], Dialling],
        policy: RefreshPolicy,
        streams: Shares | None = None,
    ) -> None:
        """`dialling` makes what reaches this client's targets; it is given the place where inbound waits. `streams` is
        what all sessions of the server share."""
        terms = welcomed.terms
        super().__init__(Attached(welcomed.keys, welcomed.ephemeral), terms, (terms.window, welcomed.peer_window))
        self.client, self.peer = welcomed.client, f"client {welcomed.client.name}"
        self._key, self._policy = key, policy
        self._shared = Shares(limits.STREAMS_IN_ALL) if streams is None else streams
        self._r2 = b""
        self.number = 0  # of the session, since the server began; the registry gives it
        self.opened = 0  # inbound: streams, also those that were refused
        self.refreshes = 0  # completed ones
        self.inbound.dialling = dialling(self.state.inbox.waiter)

    def role_handlers(self) -> dict[int, Handler]:
        """What only a server receives."""
        return {
            Frame.OPEN: self._on_open,
            Frame.OPENED: self._on_opened,
            Frame.REFUSED: self._on_refused,
            Frame.LISTEN: self._on_listen,
            Frame.REFRESHED: self._on_refreshed,
            Frame.DISCONNECT: self._on_disconnect,
            Frame.DISCONNECT_DONE: self._on_disconnect_done,
        }

    # -- streams -------------------------------------------------------------------------------------------------------

    def _on_open(self, payload: bytes) -> None:
        number, target = frames.parse_target(payload, Frame.OPEN)
        state, inbound = self.state, self.inbound
        state.streams.theirs.expect(number, Frame.OPEN)
        self.opened += 1
        if len(state.streams) + inbound.dialling.left >= limits.STREAMS:
            self._refuse(number, target, f"{limits.STREAMS} streams are open")
            return
        if not self._shared.take(self.client.public.client_id):
            self._refuse(number, target, "the server carries as many streams as it can for this client")
            return
        began = now()
        stream = Stream(target, None, lambda stream: self._over(stream, began))
        stream.sending, stream.peer = Sending.WAITING, Peer.FLOWING
        stream.limit, stream.credit = state.send_window, state.credit()
        state.streams.add(stream, number)
        if not target.host or not (target.port or target.kind == wire.Kind.UNIX):
            inbound.delivery.refuse(stream, Reply.GENERAL, "not a host and port")
            return
        inbound.dialling.begin(number, target)
        for answered, result in inbound.dialling.take():
            inbound.delivery.answer(answered, result)

    def _over(self, stream: Stream, began: float) -> None:
        """inbound, or the owner: a stream is over."""
        self._shared.give_back(self.client.public.client_id)
        if stream.ending is Ending.REFUSED:
            self._tell_refused(stream.target, _REFUSED.get(stream.detail, _NOT_REACHED), stream.reason)
            return
        credit, reached = stream.credit, stream.reached
        assert stream.ending is not None and credit is not None, "it is over, and had a number"
        tell(
            "stream-ended",
            client=self.client.name,
            session=self.number,
            target=name_of(stream.target),
            reached=shown(reached) if reached is not None else "",
            duration=round(now() - began, 1),
            how=_ENDED[stream.ending],
            reason="" if stream.reason == LOCAL_BROKE else stream.reason,  # the target did, which `how` says
            received=credit.received,
            sent=stream.sent,
        )

    def _tell_refused(self, target: Target, how: str, reason: str) -> None:
        name = name_of(target)
        tell("stream-refused", client=self.client.name, session=self.number, target=name, how=how, reason=reason)

    def _refuse(self, number: int, target: Target, text: str) -> None:
        self._tell_refused(target, _BY_SERVER, text)
        self.outbox.frames.append(frames.refusal(Frame.REFUSED, number, Reply.GENERAL, text))
        self.outbox.waiter.set()

    def _on_opened(self, payload: bytes) -> None:
        """This server opens no streams, so no answer is owed: a violation, or of a stream that is over."""
        self.inbound.stream(frames.parse_address(payload, Frame.OPENED)[0], Frame.OPENED)

    def _on_refused(self, payload: bytes) -> None:
        """As OPENED."""
        self.inbound.stream(frames.parse_refusal(payload, Frame.REFUSED)[0], Frame.REFUSED)

    def _on_listen(self, payload: bytes) -> None:
        listener, _ = frames.parse_target(payload, Frame.LISTEN)
        self.state.streams.listeners.expect(listener, Frame.LISTEN)
        text = "this server does not listen for clients"
        self.outbox.frames.append(frames.refusal(Frame.LISTENING, listener, Reply.COMMAND, text))
        self.outbox.waiter.set()

    # -- refresh (protocol 5) ---------------------------------------------------------------------------------------

    def refresh_due(self) -> bool:
        """outbound asks behind each frame: has a key carried enough?"""
        policy = self._policy
        sealer, opener = self.outbound.sealer, self.inbound.opener
        return (
            sealer.volume >= policy.volume
            or opener.volume >= policy.volume
            or sealer.count >= policy.count
            or opener.count >= policy.count
        )

    def start_refresh(self) -> bytes | None:
        """outbound: REFRESH, unless the session is being released."""
        if self.state.releasing:
            return None
        assert isinstance(self.state.ephemeral, KemPublic)
        started = refresh.start(self.state.keys, self.state.ephemeral, self.client.public.kem, os.urandom)
        self.state.refresh_since = now()  # in this order: the timer thread looks at both
        self.state.refreshing = started
        return bytes([Frame.REFRESH]) + started.payload

    def _on_refreshed(self, payload: bytes) -> None:
        started = self.state.refreshing
        if not isinstance(started, Started) or self.outbox.switch is not None:
            raise Violation("REFRESHED that nobody asked for")
        self.state.keys, self.state.ephemeral = refresh.finish(self.state.keys, started, payload, self._key)
        self.rekey_inbound(self.state.keys)
        self.outbox.switch = (bytes([Frame.SWITCH]) + schedule.switch_value(self.state.keys.root), self.state.keys)
        self.outbox.waiter.set()

    def refreshed(self) -> None:
        """outbound: SWITCH is sealed, and the next refresh may begin."""
        self.state.refreshing = None
        self.refreshes += 1
        log.debug("%s: session keys refreshed", self.client.name)

    # -- release (protocol 5) ---------------------------------------------------------------------------------------

    def _on_disconnect(self, payload: bytes) -> None:
        frames.sized(payload, 0, 0, Frame.DISCONNECT)
        if any(not stream.over for stream in self.state.streams.all()):
            raise Violation("DISCONNECT before all streams were over")
        self.state.releasing = now()
        self.inbound.allowed = _AFTER_DISCONNECT
        self._r2 = os.urandom(wire.SECRET)
        self.outbox.post(release=bytes([Frame.DISCONNECT_ACK]) + self._r2)
        TIMERS.after(limits.RELEASE, self._unanswered)

    def _unanswered(self, at: float) -> float | None:
        """A timer: there was no DISCONNECT_DONE for 5 s. ABORT says so, as far as the client still reads."""
        if self.state.outcome is not None:
            return None
        self.state.reason = self.state.reason or "the release was not finished"
        if self.outbox.farewell is None:
            self.post_abort(Abort.NO_ANSWER, "")
            return at + _LAST_WORDS
        self.state.end(Outcome.OVER, self.state.reason)
        return None

    def post_abort(self, reason: Abort, text: str) -> None:
        """As in Tunnel; the log tells the reason, too."""
        self.state.reason = self.state.reason or abort_text(reason)
        super().post_abort(reason, text)

    def _on_disconnect_done(self, payload: bytes) -> None:
        if not self._r2:
            raise Violation("DISCONNECT_DONE before DISCONNECT")
        if not schedule.equal(payload, schedule.hash256(self._r2)):
            raise Violation("DISCONNECT_DONE is wrong")
        self.state.end(Outcome.OVER, "released")
