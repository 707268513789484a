"""One session on one connection: the thread pair, and the hand-over from one connection to the next.

    local sockets ──▶ [outbound: Sealer, resend queue, link.write_some] ──▶ TLS
    local sockets ◀── [inbound:  Opener, backlogs,     link.read_some ] ◀── TLS

Whoever attaches a link joins the pair of the last one first, and owns all of its state until it starts the next pair.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from ..crypto import schedule
from ..crypto.seal import Opener, overwrite_used
from ..crypto.secret import Secret
from ..facts import limits, wire
from ..facts.errors import BadFrame, NetworkError, NitroSocksError, ProtocolError, Violation
from ..facts.wire import Abort, Frame, Reply
from ..net.link import Link
from ..net.timers import TIMERS, now
from ..protocol import frames
from ..protocol.frames import Target
from ..protocol.handshake import Keys, Terms
from ..protocol.receiving import Peer
from . import trace
from .inbound import Handler, Inbound
from .outbound import Outbound
from .state import Attached, Outcome, State
from .streams import Sending, Stream

log = logging.getLogger(__name__)


class Tunnel:
    """What both sides of a session share; `client.tunnel` and `server.tunnel` add their frames, and are the Role."""

    serving: bool
    peer: str  # who is at the other end, for the log
    sends: bytes
    receives: bytes

    def __init__(self, attached: Attached, terms: Terms, windows: tuple[int, int]) -> None:
        """`windows`: the limits that streams begin with, of what is received and of what is sent."""
        self.state = State(attached, terms, self.serving, windows)
        self.outbox = self.state.outbox
        self.outbound = Outbound(self.state, self)
        handlers: dict[int, Handler] = {
            Frame.PING: self._on_ping,
            Frame.PONG: self._on_pong,
            Frame.PAD: lambda payload: None,
            Frame.ABORT: self._on_abort,
            Frame.OPENED: self._on_opened,
            Frame.REFUSED: self._on_refused,
        } | self.role_handlers()
        self.inbound = Inbound(self.state, self, self.outbound.resend, handlers)
        self.inbound.wants_acks = lambda: self.outbound.wants_acks
        self.link: Link | None = None

    # -- what the roles add --------------------------------------------------------------------------------------------

    def role_handlers(self) -> dict[int, Handler]:
        """The frames that only this side receives."""
        raise NotImplementedError

    def stream_over(self, stream: Stream) -> None:
        """As in Role."""
        stream.report()

    def wrote(self, count: int) -> None:
        """As in Role."""

    def refresh_due(self) -> bool:
        """As in Role."""
        return False

    def start_refresh(self) -> bytes | None:
        """As in Role."""
        return None

    def refreshed(self) -> None:
        """As in Role."""

    # -- one connection ------------------------------------------------------------------------------------------------

    def run(self, link: Link, first: bytes = b"", opener: Opener | None = None) -> Outcome:
        """Serves this link with a pair of threads, of which the caller is inbound; returns when both are done.

        `first` is a frame opened already, with the `opener` that opened it. The link is closed then.
        """
        self.link = link
        self.state.ended = lambda: _see_to_the_end(link)
        self.state.begin()
        self.outbound.begin(link, trace.sealer(self._frame_keys(self.sends)))
        self.inbound.opener = opener or self.opener(self.state.keys)
        other = threading.Thread(target=self._guard, args=(self.outbound.run,), name="outbound", daemon=True)
        try:
            other.start()
        except RuntimeError as error:  # no more threads just now; the session goes on when there are
            self.state.end(Outcome.LOST, str(error))
        else:
            self._guard(lambda: self.inbound.run(link, first))
            other.join()
        self._forget_keys()
        outcome = self.state.outcome
        assert outcome is not None, "both threads return only with an outcome"
        # A release says goodbye; a lost or left link is of no more use to either side.
        link.close(now() + 1.0 if outcome is Outcome.OVER else 0.0)
        self.link = None
        return outcome

    def _forget_keys(self) -> None:
        """Behind the pair, or where none ran: nobody can open what went over this connection any more."""
        self.state.forget_keys()
        self.outbound.sealer.forget()
        self.inbound.opener.forget()

    def opener(self, keys: Keys) -> Opener:
        """An Opener for what the peer sends under these keys."""
        return trace.opener(schedule.frame_keys(keys.root, self.receives, self.state.terms.encrypt_type))

    def _frame_keys(self, direction: bytes) -> schedule.FrameKeys:
        return schedule.frame_keys(self.state.keys.root, direction, self.state.terms.encrypt_type)

    def _guard(self, half: Callable[[], None]) -> None:
        """Runs one half. Its fatal error ends the other half too, which would wait for ever otherwise."""
        try:
            half()
        except Violation as error:
            self._abort(error)
        except (NetworkError, BadFrame, ProtocolError) as error:
            self.lose(error)
        except Exception:
            log.exception("internal error; the session with %s is over", self.peer)
            self.state.end(Outcome.OVER, "an internal error")
        finally:
            overwrite_used()

    def _abort(self, error: Violation) -> None:
        """inbound found a violation: outbound says ABORT, as far as the peer still reads, and the session is over."""
        log.warning("protocol violation by %s: %s", self.peer, error)
        state = self.state
        state.reason = f"protocol violation: {error}"
        self.post_abort(error.reason, str(error))
        deadline = now() + limits.RELEASE
        while state.outcome is None and now() < deadline:
            self.inbound.rest(deadline)
        state.end(Outcome.OVER, state.reason)

    def lose(self, error: NitroSocksError) -> None:
        """Ends this connection because of `error`; the session goes on."""
        self.state.end(Outcome.LOST, str(error))

    def attach(self, attached: Attached, received_by_peer: int) -> None:
        """For the owner between two connections: new keys, an epoch of their own, and what is to be sent again."""
        state = self.state
        state.forget_keys()
        state.keys, state.ephemeral = attached.keys, attached.ephemeral
        state.keyed_at = now()
        self.inbound.first_due = True
        self.inbound.peer_acked = max(self.inbound.peer_acked, received_by_peer)
        self.outbound.rewind(received_by_peer)

    def may_have_received(self, count: int) -> bool:
        """Whether a peer may state `count` in RESUME or RECOVERED (protocol 3.5)."""
        return self.inbound.peer_acked <= count <= self.outbound.resend.sent

    def rekey_inbound(self, keys: Keys) -> None:
        """Called by inbound behind the last frame under the old keys."""
        self.state.keyed_at = now()
        self.inbound.opener.rekey(schedule.frame_keys(keys.root, self.receives, self.state.terms.encrypt_type))

    def _on_ping(self, payload: bytes) -> None:
        frames.sized(payload, wire.PING_MIN, wire.PING_MAX, Frame.PING)
        self.outbox.ack_due = True  # who asks waits for it
        self.outbox.post(pong=bytes([Frame.PONG]) + schedule.hash256(payload))

    def _on_pong(self, payload: bytes) -> None:
        # That it opened proves the peer alive. It may answer an older PING, since the latest replaces what is unsent.
        frames.sized(payload, wire.HASH, wire.HASH, Frame.PONG)
        self.state.doubt.ponged()

    def _on_opened(self, payload: bytes) -> None:
        number, address = frames.parse_address(payload, Frame.OPENED)
        stream = self.inbound.stream(number, Frame.OPENED)
        if stream is not None:
            self.inbound.answers.opened(stream, address)

    def _on_refused(self, payload: bytes) -> None:
        number, reason = frames.parse_refusal(payload, Frame.REFUSED)
        stream = self.inbound.stream(number, Frame.REFUSED)
        if stream is not None:
            self.inbound.answers.refused(stream, reason)

    def admit(self, number: int, target: Target, finished: Callable[[Stream], None]) -> Stream:
        """inbound: a stream that the peer opens, of which nothing is dialled yet."""
        state = self.state
        stream = Stream(target, None, finished)
        stream.sending, stream.peer = Sending.WAITING, Peer.FLOWING
        stream.limit, stream.credit = state.send_window, state.credit(stream.datagrams)
        state.streams.add(stream, number)
        return stream

    def dial(self, stream: Stream) -> None:
        """inbound: has its target dialled, and answers all that was decided at once."""
        self.inbound.dialling.begin(stream.number, stream.target)
        for answered, result in self.inbound.dialling.take():
            self.inbound.answers.answer(answered, result)

    def refuse(self, number: int, text: str) -> None:
        """inbound: refuses a stream before there is one."""
        self.outbox.frames.append(frames.refusal(Frame.REFUSED, number, Reply.GENERAL, text))
        self.outbox.waiter.set()

    def known_listener(self, number: int, frame: Frame) -> int:
        """inbound: the number of a listener that was asked for, which may be over; raises Violation for another."""
        if not self.state.streams.listeners.known(number):
            raise Violation(f"{frame.name} of a listener that was never asked for")
        return number

    # -- what status reads ---------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a pair runs."""
        return self.state.outcome is None

    @property
    def load(self) -> int:
        """Streams that are not wholly gone, also those that wait for their OPEN to go out; any thread."""
        return len(self.state.streams) + sum(isinstance(each, Stream) for each in tuple(self.outbox.opening))

    @property
    def moved(self) -> int:
        """Bytes that went over all connections of this session, both directions; any thread."""
        return self.outbound.written + self.inbound.bytes_in

    @property
    def held(self) -> int:
        """Bytes that this session holds: frames not acknowledged, backlogs, and what keeping them costs; any thread."""
        resend = self.outbound.resend
        costs = len(resend) * limits.KEPT_COST + len(self.state.streams) * limits.STREAM_COST
        return resend.kept_bytes + self.inbound.delivery.held + costs

    @property
    def acknowledged(self) -> bool:
        """Whether the peer has received all numbered frames that were queued before; any thread."""
        resend = self.outbound.resend
        return len(resend) + resend.acked <= self.inbound.peer_acked  # read in this order it is never true too early

    # -- the session's end ---------------------------------------------------------------------------------------------

    def post_abort(self, reason: Abort, text: str) -> None:
        """Has outbound say ABORT and end the session."""
        self.outbox.post(farewell=frames.abort(reason, text))

    def _on_abort(self, payload: bytes) -> None:
        reason = frames.parse_reason(payload)
        text = reason.text or ("" if reason.code == Abort.OTHER else frames.abort_text(reason.code))
        self.state.end(Outcome.OVER, f"the other side ended the session{f': {text}' if text else ''}")

    def dispose(self, reason: str) -> None:
        """The owner's last call, once no pair runs: resets what is not over, and gives back what the session holds.

        What is still to be delivered goes on in a thread of its own, for which a local socket has 60 s; `load` tells
        that there is something.
        """
        delivery = self.inbound.delivery
        self.inbound.dialling.close()
        delivery.finish(reason)
        self.outbound.drop()
        self.state.forget_keys()
        self.state.terms.resume_secret = Secret()
        if self.state.streams.by_number:
            try:
                threading.Thread(target=self._deliver_rest, name="delivery", daemon=True).start()
                return
            except RuntimeError:  # no more threads just now: it is lost
                pass
        delivery.deliver_rest(0.0)
        self.state.close()

    def drop(self) -> None:
        """Any thread: what is to be delivered behind the end of the session is dropped, now or when it ends."""
        self.inbound.delivery.dropped = True
        self.state.inbox.waiter.set()

    def _deliver_rest(self) -> None:
        self.inbound.delivery.deliver_rest(now() + limits.LINGER_MOST)
        self.state.close()


def _see_to_the_end(link: Link) -> None:
    """The connection has ended. Both threads return then, unless one is inside OpenSSL, to which records without data
    come all the while: it finds the end a little later."""
    with suppress(RuntimeError):  # no thread for timers is left
        TIMERS.after(limits.RELEASE, lambda _: link.break_off())
