"""The server's half of a session: what only a server sends and receives."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
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
from ..protocol.frames import Address, Target
from ..protocol.listening import ListenRules
from ..protocol.permit import Client
from ..protocol.refresh import Started
from ..protocol.welcome import Welcomed
from ..session.dialling import Dialling, Unreached
from ..session.inbound import Handler
from ..session.reaching import name_of
from ..session.shares import Shares
from ..session.state import Attached, Outcome
from ..session.streams import Accepted, Stream
from ..session.tunnel import Tunnel
from . import endings
from .audit import tell
from .listens import Listens

_AFTER_DISCONNECT: Final = frozenset({Frame.DISCONNECT_DONE, Frame.ABORT})
log = logging.getLogger(__name__)
_LAST_WORDS: Final = 1.0  # seconds that ABORT may take to be written


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """When the server starts a refresh, whichever is first: seconds, bytes or frames of either direction."""

    every: float = limits.REFRESH
    volume: int = limits.REFRESH_BYTES
    count: int = limits.REFRESH_FRAMES


@dataclass(slots=True)
class _Asked:
    """A listener that is not over."""

    left: bool = False  # inbound: UNLISTEN came


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
        listening: tuple[Listens, Callable[[], Client | None]] | None = None,
    ) -> None:
        """`dialling` makes what reaches this client's targets; it is given the place where inbound waits. `streams` is
        what all sessions of the server share; `listening` has all of its listeners, and finds this client as it is
        authorised now."""
        terms = welcomed.terms
        super().__init__(Attached(welcomed.keys, welcomed.ephemeral), terms, (terms.window, welcomed.peer_window))
        self.client, self.peer = welcomed.client, f"client {welcomed.client.name}"
        self._key, self._policy = key, policy
        self._shared = Shares(limits.STREAMS_IN_ALL) if streams is None else streams
        self._r2 = b""
        self.number = 0  # of the session, since the server began; the registry gives it
        self.opened = 0  # inbound: streams, also those that were refused
        self.accepted = 0  # the thread of listeners: streams that began there
        self.client_id = welcomed.client.public.client_id
        self._asked: dict[int, _Asked] = {}  # listeners: inbound adds them, the thread of listeners removes them
        self._listens, self._lookup = listening or (Listens(), lambda: None)
        self.refreshes = 0  # completed ones
        self.inbound.dialling = dialling(self.state.inbox.waiter)

    def role_handlers(self) -> dict[int, Handler]:
        """What only a server receives."""
        return {
            Frame.OPEN: self._on_open,
            Frame.LISTEN: self._on_listen,
            Frame.UNLISTEN: self._on_unlisten,
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
        own = self._own_limit()
        if not self._shared.take(self.client_id, own):
            full = own and self._shared.holds(self.client_id) >= own
            text = f"{own} {'stream is' if own == 1 else 'streams are'} open, as many as this client may have"
            self._refuse(
                number, target, text if full else "the server carries as many streams as it can for this client"
            )
            return
        began = now()
        stream = self.admit(number, target, lambda stream: self._over(stream, began))
        self._make_room(stream, own)
        if not target.host or not (target.port or target.kind == wire.Kind.UNIX):
            inbound.answers.refuse(stream, Unreached(Reply.GENERAL, "not a host and port"))
            return
        self.dial(stream)

    def _on_opened(self, payload: bytes) -> None:
        super()._on_opened(payload)
        stream = self.state.streams.by_number.get(*wire.STREAM.unpack_from(payload))
        if stream is not None:
            self._make_room(stream, self._own_limit())

    def _make_room(self, newest: Stream, own: int) -> None:
        """inbound: where there may be no further one, one of datagrams ends."""
        if len(self.state.streams) >= limits.STREAMS or self._shared.holds(self.client_id) == own:
            self.inbound.delivery.silences.make_room(newest)

    def _own_limit(self) -> int:
        client = self._lookup()
        return client.quota.streams if client is not None else 0

    def _over(self, stream: Stream, began: float) -> None:
        """inbound, or the owner: a stream is over."""
        self._shared.give_back(self.client_id)
        endings.tell_over(self.client.name, self.number, stream, began)

    def _refuse(self, number: int, target: Target, text: str) -> None:
        endings.tell_refused(self.client.name, self.number, target, Reply.COMMAND, text)
        self.refuse(number, text)

    # -- listeners (server.listens.Owner) ------------------------------------------------------------------------------

    def _on_listen(self, payload: bytes) -> None:
        listener, where = frames.parse_target(payload, Frame.LISTEN)
        self.state.streams.listeners.expect(listener, Frame.LISTEN)
        if len(self._asked) >= limits.LISTENERS:
            text = f"{limits.LISTENERS} listeners are open"
            self.say(frames.refusal(Frame.LISTENING, listener, Reply.GENERAL, text))
            return
        self._asked[listener] = _Asked()
        self._listens.ask(self, listener, where)

    def _on_unlisten(self, payload: bytes) -> None:
        number = self.known_listener(frames.parse_bare(payload, Frame.UNLISTEN), Frame.UNLISTEN)
        asked = self._asked.get(number)
        if asked is not None and not asked.left:
            asked.left = True
            self._listens.close(self, number)

    @property
    def ready(self) -> bool:
        """As in Owner."""
        free = self.load < limits.STREAMS and not self.used_up
        return free and self.connected and not self.state.releasing

    @property
    def used_up(self) -> bool:
        """As in Owner."""
        return self.state.streams.ours.used_up

    def listen_rules(self) -> ListenRules | None:
        """As in Owner."""
        client = self._lookup()
        return client.listen if client is not None else None

    def say(self, frame: bytes) -> None:
        """As in Owner."""
        self.outbox.announce(frame)

    def over(self, listener: int) -> None:
        """As in Owner."""
        self._asked.pop(listener, None)

    def came(self, listener: int, where: Target, local: socket.socket, peer: Address) -> None:
        """As in Owner."""
        began, begun = now(), Accepted(listener, peer)
        if self._shared.take(self.client_id, self._own_limit()):
            self.accepted += 1
            self.outbox.open(Stream(where, local, lambda stream: self._over(stream, began), accepted=begun))
        else:
            Stream(where, local, accepted=begun).lose("")

    def listener_told(self, what: str, where: Target, reason: str = "") -> None:
        """As in Owner."""
        tell(f"listening-{what}", client=self.client.name, session=self.number, where=name_of(where), reason=reason)

    def left(self) -> None:
        """As in Owner."""
        with suppress(IndexError):  # it is empty then
            while True:
                if isinstance(stream := self.outbox.opening.popleft(), Stream):
                    stream.lose(self.state.reason)

    def dispose(self, reason: str) -> None:
        """As in Tunnel; its listeners are closed, too."""
        if self.state.streams.listeners.last:
            self._listens.leave(self)
        super().dispose(reason)

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
        if any(not stream.over and not _ends_with(stream) for stream in self.state.streams.all()):
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
        self.state.reason = self.state.reason or frames.abort_text(reason)
        super().post_abort(reason, text)

    def _on_disconnect_done(self, payload: bytes) -> None:
        if not self._r2:
            raise Violation("DISCONNECT_DONE before DISCONNECT")
        if not schedule.equal(payload, schedule.hash256(self._r2)):
            raise Violation("DISCONNECT_DONE is wrong")
        self.state.end(Outcome.OVER, "released")


def _ends_with(stream: Stream) -> bool:
    """Whether it began at a listener and has no answer: it ends with the session (protocol 5, Release)."""
    return stream.accepted is not None and not stream.answered
