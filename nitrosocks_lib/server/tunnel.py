"""The server's half of a session: what only a server sends and receives."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from ..crypto import schedule
from ..crypto.identity import KemPublic, ServerKey
from ..facts import limits, wire
from ..facts.errors import Violation
from ..facts.wire import Abort, Frame, Reply
from ..net.timers import TIMERS, now
from ..net.wake import Wake
from ..protocol import frames, refresh
from ..protocol.permit import Client
from ..protocol.refresh import Started
from ..protocol.welcome import Welcomed
from ..session.streams import Stream
from ..session.tunnel import Attached, Outcome, Tunnel, abort_text
from .targets import Unreached, reach

log = logging.getLogger(__name__)
_LAST_WORDS: Final = 1.0  # seconds that ABORT may take to be written


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
        self, key: ServerKey, welcomed: Welcomed, lookup: Callable[[], Client | None], policy: RefreshPolicy
    ) -> None:
        """`lookup` finds the client as it is authorised now; it is asked at every OPEN."""
        terms = welcomed.terms
        super().__init__(
            Attached(welcomed.keys, welcomed.ephemeral), terms, terms.window, min(welcomed.peer_window, terms.window)
        )
        self.client = welcomed.client
        self._key, self._lookup, self._policy = key, lookup, policy
        self._r2 = b""
        self._dial_lock = threading.Lock()  # around the next two
        self._dialling = False  # there is a dial thread
        self._to_dial: Stream | None = None  # what it takes up next
        self._given_up: Wake | None = None  # ends the wait of the dial under way
        self.stream: Stream | None = None
        self.refreshes = 0  # completed ones

    def role_handlers(self) -> dict[int, Callable[[bytes], None]]:
        """What only a server receives."""
        return {
            Frame.OPEN: self._on_open,
            Frame.LISTEN: self._on_listen,
            Frame.REFRESHED: self._on_refreshed,
            Frame.DISCONNECT: self._on_disconnect,
            Frame.DISCONNECT_DONE: self._on_disconnect_done,
        }

    # -- streams ----------------------------------------------------------------------------------------------------

    def _on_open(self, payload: bytes) -> None:
        stream = self._begin(payload, Frame.OPEN)
        with self._dial_lock:
            self._to_dial, running, self._dialling = stream, self._dialling, True
        if not running:
            self._start_dialling(stream)

    def _start_dialling(self, stream: Stream) -> None:
        try:
            threading.Thread(target=self._dial_all, name="dial", daemon=True).start()
        except RuntimeError:  # no more of them just now
            with self._dial_lock:
                self._to_dial, self._dialling = None, False
            self._answer(stream, frames.reason(Frame.REFUSED, Reply.GENERAL, "the server is short of threads"))

    def _on_listen(self, payload: bytes) -> None:
        stream = self._begin(payload, Frame.LISTEN)
        text = "this server does not listen for clients"
        self._answer(stream, frames.reason(Frame.REFUSED, Reply.COMMAND, text))

    def _begin(self, payload: bytes, frame: Frame) -> Stream:
        if self.releasing:
            raise Violation(f"{frame.name} after DISCONNECT")
        target = frames.parse_target(payload)
        self.inbound.look_at_stream()  # our own REFUSED may have got there before we noticed it here
        self.inbound.receiving.open(self.stream is None or self.stream.own_ended, frame)
        stream = Stream(target, None)
        self.stream = self.inbound.stream = stream
        self.outbound.mail.stream = stream  # no wake: there is nothing to send before the answer
        self.inbound.acknowledge()
        return stream

    def _dial_all(self) -> None:
        """A short-lived thread. There is one at most: after a RESET it may look up a name for a while, and the next
        OPEN waits. Else a client that opens and resets could have as many as it likes.
        """
        while (stream := self._next_to_dial()) is not None:
            answer = self._dial(stream)
            if stream.dial.take():
                with self._dial_lock:
                    self._dialling = False  # first: the client opens the next stream as soon as it has the answer
                self._post_answer(stream, answer)
                return
            if stream.local is not None:
                stream.local.close()  # RESET came first, and was answered, or the session is over

    def _next_to_dial(self) -> Stream | None:
        with self._dial_lock:
            stream, self._to_dial = self._to_dial, None
            self._dialling = stream is not None
        return stream

    def _dial(self, stream: Stream) -> bytes:
        """Reaches the target as the client is permitted to now; the answer to OPEN."""
        try:
            with closing(Wake()) as self._given_up:
                if stream.answer is not None:
                    return stream.answer  # a RESET came meanwhile
                client = self._lookup()
                if client is None:
                    raise Unreached(Reply.NOT_PERMITTED, "this client is not authorised at present")
                stream.local, answer = reach(stream.target, client.permit, self._given_up)
        except Unreached as error:
            log.info("%s: refused: %s", self.client.name, error)
            return error.answer()
        except Exception:
            log.exception("a fault of our own while dialling")
            return frames.reason(Frame.REFUSED, Reply.GENERAL, "an internal error")
        return answer

    def _answer(self, stream: Stream, answer: bytes) -> None:
        if stream.dial.take():
            self._post_answer(stream, answer)

    def _post_answer(self, stream: Stream, answer: bytes) -> None:
        stream.answer = answer
        self.outbound.mail.wake.set()  # first: the answer goes out before an ACK of what REFUSED drops
        self.inbound.wake.set()

    def stop_dial(self, stream: Stream) -> None:
        """inbound: RESET before the answer (protocol 5). The dial under way is this stream's, or given up already."""
        if stream.dial.take():
            self._post_answer(stream, frames.reason(Frame.REFUSED, Reply.GENERAL, "reset by the client"))
            self._give_up_dialling()

    def _give_up_dialling(self) -> None:
        if self._given_up is not None:
            self._given_up.set()

    def stream_over(self, stream: Stream) -> None:
        """outbound: the stream is over; the next OPEN begins another."""

    def dispose(self, reason: str) -> None:
        """Also stops a dial that still runs, or waits."""
        with self._dial_lock:
            self._to_dial = None
        if self.stream is not None and self.stream.dial.take():
            self._give_up_dialling()
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
        if self.releasing:
            return None
        assert isinstance(self.ephemeral, KemPublic)
        started = refresh.start(self.keys, self.ephemeral, self.client.public.kem, os.urandom)
        self.refresh_since, self.refreshing = now(), started  # in this order: the timer thread looks at both
        return bytes([Frame.REFRESH]) + started.payload

    def _on_refreshed(self, payload: bytes) -> None:
        started = self.refreshing
        if not isinstance(started, Started) or self.outbound.mail.switch is not None:
            raise Violation("REFRESHED that nobody asked for")
        self.keys, self.ephemeral = refresh.finish(self.keys, started, payload, self._key)
        self.rekey_inbound(self.keys)
        self.outbound.mail.switch = (bytes([Frame.SWITCH]) + schedule.switch_value(self.keys.root), self.keys)
        self.outbound.mail.wake.set()

    def refreshed(self) -> None:
        """outbound: SWITCH is sealed, and the next refresh may begin."""
        self.refreshing = None
        self.refreshes += 1

    # -- release (protocol 5) ---------------------------------------------------------------------------------------

    def _on_disconnect(self, payload: bytes) -> None:
        frames.sized(payload, 0, 0, Frame.DISCONNECT)
        if self.releasing:
            return  # the release under way goes on: another R2 would make its DISCONNECT_DONE wrong
        self.inbound.look_at_stream()
        if not self.inbound.receiving.idle(self.stream is None or self.stream.own_ended):
            raise Violation("DISCONNECT before the stream was over")
        self.releasing = now()
        self._r2 = os.urandom(wire.SECRET)
        self.outbound.mail.release = bytes([Frame.DISCONNECT_ACK]) + self._r2
        self.outbound.mail.wake.set()
        TIMERS.after(limits.RELEASE, self._unanswered)

    def _unanswered(self, at: float) -> float | None:
        """A timer: there was no DISCONNECT_DONE for 5 s. ABORT says so, as far as the client still reads."""
        if self.outcome is not None:
            return None
        self.reason = self.reason or "the release was not finished"
        if self.outbound.mail.farewell is None:
            self.post_abort(Abort.NO_ANSWER, "")
            return at + _LAST_WORDS
        self.end(Outcome.OVER, self.reason)
        return None

    def post_abort(self, reason: Abort, text: str) -> None:
        """As in Tunnel; the log tells the reason, too."""
        self.reason = self.reason or abort_text(reason)
        super().post_abort(reason, text)

    def _on_disconnect_done(self, payload: bytes) -> None:
        if not self._r2:
            raise Violation("DISCONNECT_DONE before DISCONNECT")
        if not schedule.equal(payload, schedule.hash256(self._r2)):
            raise Violation("DISCONNECT_DONE is wrong")
        self.end(Outcome.OVER, "released")
