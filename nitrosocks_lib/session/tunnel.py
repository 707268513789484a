"""One session on one connection: the thread pair, and the hand-over from one connection to the next.

    local socket ──▶ [outbound: Sealer, resend queue, link.write_some] ──▶ TLS
    local socket ◀── [inbound:  Opener, backlog,      link.read_some ] ◀── TLS

Whoever attaches a link joins the pair of the last one first, and owns all of its state until it starts the next pair.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from ..crypto import schedule
from ..crypto.identity import KemPrivate, KemPublic
from ..crypto.seal import Opener, Sealer
from ..facts import limits, wire
from ..facts.errors import BadFrame, NetworkError, NitroSocksError, ProtocolError, Violation
from ..facts.wire import Abort, Frame
from ..net.link import Link
from ..net.timers import now
from ..protocol import frames
from ..protocol.handshake import Keys, Terms
from ..protocol.refresh import Started
from .inbound import Inbound
from .outbound import Outbound
from .streams import Stream

log = logging.getLogger(__name__)


class Outcome(Enum):
    """Why a pair returned."""

    LOST = auto()  # the connection ended, or was ended; the session goes on
    OVER = auto()  # the session is over: released, aborted or violated
    LEFT = auto()  # the owner asked for it, to move the session


@dataclass(slots=True, repr=False)
class Attached:
    """What a connection brings to a session: its keys, and E' (the private half at the client)."""

    keys: Keys
    ephemeral: KemPrivate | KemPublic


class Tunnel:
    """What both sides of a session share; `client.ClientTunnel` and `server.ServerTunnel` add their frames."""

    serving: bool
    sends: bytes
    receives: bytes

    def __init__(self, attached: Attached, terms: Terms, receive_window: int, send_window: int) -> None:
        self.terms = terms
        self.send_window = min(send_window, limits.WINDOW_MAX)
        self.keys, self.ephemeral = attached.keys, attached.ephemeral
        self.refreshing: Started | bytes | None = None  # server: what REFRESH carried; client: the SWITCH expected
        self.refresh_since = 0.0
        self.keyed_at = now()
        self.outcome: Outcome | None = Outcome.LOST
        self.reason = ""  # for people: why the connection or the session ended
        self.releasing = 0.0  # when DISCONNECT went out or came
        self.handlers: dict[int, Callable[[bytes], None]] = {
            Frame.PING: self._on_ping,
            Frame.PONG: self._on_pong,
            Frame.PAD: lambda payload: None,
            Frame.ABORT: self._on_abort,
        } | self.role_handlers()
        self.outbound = Outbound(self)
        try:
            self.inbound = Inbound(self, receive_window)
        except OSError:  # no descriptor for a second wake
            self.outbound.mail.wake.close()
            raise
        self.link: Link | None = None

    # -- what the roles add -----------------------------------------------------------------------------------------

    def role_handlers(self) -> dict[int, Callable[[bytes], None]]:
        """The frames that only this side receives."""
        raise NotImplementedError

    def stream_over(self, stream: Stream) -> None:
        """Called by outbound when a stream is over and its local socket closed; must not block."""
        raise NotImplementedError

    def stop_dial(self, stream: Stream) -> None:
        """Called by inbound on RESET: a dial that still runs is answered REFUSED 1."""

    def refresh_due(self) -> bool:
        """Server, asked by outbound: whether the keys have carried enough."""
        return False

    def start_refresh(self) -> bytes | None:
        """Server, called by outbound: REFRESH."""
        return None

    def refreshed(self) -> None:
        """Server, called by outbound when SWITCH is sealed."""

    # -- one connection ---------------------------------------------------------------------------------------------

    def run(self, link: Link, first: bytes = b"", opener: Opener | None = None) -> Outcome:
        """Serves this link with a pair of threads, of which the caller is inbound; returns when both are done.

        `first` is a frame opened already, with the `opener` that opened it. The link is closed then.
        """
        self.outcome, self.link, self.reason = None, link, ""
        self.outbound.begin(link, Sealer(self._frame_keys(self.sends)))
        self.inbound.opener = opener or self.opener(self.keys)
        other = threading.Thread(target=self._guard, args=(self.outbound.run,), name="outbound", daemon=True)
        try:
            other.start()
        except RuntimeError as error:  # no more threads just now; the session goes on when there are
            self.end(Outcome.LOST, str(error))
        else:
            self._guard(lambda: self.inbound.run(link, first))
            other.join()
        outcome = self.outcome
        assert outcome is not None, "both threads return only with an outcome"
        # A release says goodbye; a lost or left link is of no more use to either side.
        link.close(now() + 1.0 if outcome is Outcome.OVER else 0.0)
        self.link = None
        return outcome

    def opener(self, keys: Keys) -> Opener:
        """An Opener for what the peer sends under these keys."""
        return Opener(schedule.frame_keys(keys.root, self.receives, self.terms.encrypt_type))

    def _frame_keys(self, direction: bytes) -> schedule.FrameKeys:
        return schedule.frame_keys(self.keys.root, direction, self.terms.encrypt_type)

    def _guard(self, half: Callable[[], None]) -> None:
        """Runs one half. Its fatal error ends the other half too, which would wait for ever otherwise."""
        try:
            half()
        except Violation as error:
            self._abort(error)
        except (NetworkError, BadFrame, ProtocolError) as error:
            self.lose(error)
        except Exception:
            log.exception("a fault of our own; the session is over")
            self.end(Outcome.OVER, "an internal error")

    def _abort(self, error: Violation) -> None:
        """inbound found a violation: outbound says ABORT, as far as the peer still reads, and the session is over."""
        log.warning("protocol violation by the peer: %s", error)
        self.reason = f"protocol violation: {error}"
        self.post_abort(error.reason, str(error))
        deadline = now() + limits.RELEASE
        while self.outcome is None and now() < deadline:
            self.inbound.rest(deadline)
        self.end(Outcome.OVER, self.reason)

    def end(self, outcome: Outcome, reason: str) -> None:
        """Ends this connection: both threads return. Any thread may call it; the first call decides."""
        if self.releasing and outcome is Outcome.LOST:
            outcome = Outcome.OVER  # after DISCONNECT nothing is resumed
        if self.outcome is None:
            self.reason = self.reason or reason
            self.outcome = outcome
        self.outbound.mail.wake.set()
        self.inbound.wake.set()

    def lose(self, error: NitroSocksError) -> None:
        """Ends this connection because of `error`; the session goes on."""
        self.end(Outcome.LOST, str(error))

    def attach(self, attached: Attached, received_by_peer: int) -> None:
        """For the owner between two connections: new keys, an epoch of their own, and what is to be sent again."""
        self.keys, self.ephemeral = attached.keys, attached.ephemeral
        self.keyed_at = now()
        self.refreshing = None
        self.outbound.mail.forget_refresh()
        self.outbound.rewind(received_by_peer)

    def may_have_received(self, count: int) -> bool:
        """Whether a peer may state `count` in RESUME or RECOVERED (protocol 3.5)."""
        return self.inbound.peer_acked <= count <= self.outbound.resend.cursor

    def rekey_inbound(self, keys: Keys) -> None:
        """Called by inbound behind the last frame under the old keys."""
        self.keyed_at = now()
        self.inbound.opener.rekey(schedule.frame_keys(keys.root, self.receives, self.terms.encrypt_type))

    def _on_ping(self, payload: bytes) -> None:
        frames.sized(payload, 8, 32, Frame.PING)
        self.outbound.mail.pong = bytes([Frame.PONG]) + schedule.hash256(payload)
        self.outbound.mail.wake.set()

    def _on_pong(self, payload: bytes) -> None:
        # That it opened proves the peer alive. It may answer an older PING, since the latest replaces what is unsent.
        frames.sized(payload, wire.HASH, wire.HASH, Frame.PONG)

    # -- the session's end ------------------------------------------------------------------------------------------

    def post_abort(self, reason: Abort, text: str) -> None:
        """Has outbound say ABORT and end the session."""
        self.outbound.mail.farewell = frames.reason(Frame.ABORT, reason, text)
        self.outbound.mail.wake.set()

    def finish_over(self) -> None:
        """Called by outbound when its farewell is written."""
        self.end(Outcome.OVER, "")

    def _on_abort(self, payload: bytes) -> None:
        reason = frames.parse_reason(payload)
        self.end(Outcome.OVER, f"the other side ended the session: {reason.text or abort_text(reason.code)}")

    def dispose(self, reason: str) -> None:
        """The owner's last call: resets the local socket, and gives back what the session holds."""
        outbound, inbound = self.outbound, self.inbound
        for stream in {id(s): s for s in (outbound.stream, outbound.mail.stream) if s is not None}.values():
            if not stream.closed or stream.finished:
                stream.lost = reason
                stream.close_local(abruptly=True)
                stream.report()
        outbound.stream = outbound.mail.stream = None
        outbound.mail.wake.close()
        inbound.wake.close()


def abort_text(code: int) -> str:
    """A text for people."""
    names = {
        Abort.VIOLATION: "protocol violation",
        Abort.SERVER_STOPS: "the server stops",
        Abort.REVOKED: "the client was revoked",
        Abort.NO_ANSWER: "no answer",
        Abort.LIMIT: "a limit was reached",
    }
    return {int(k): v for k, v in names.items()}.get(code, "no reason given")
