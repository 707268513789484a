"""The owner of a client's session: its thread carries it from connection to connection until it is over."""

from __future__ import annotations

import logging
from contextlib import suppress

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import Intercepted, NetworkError, NitroSocksError, NotAuthorised, Refused, SessionLost
from ..facts.wire import Abort, Refusal
from ..facts.words import said
from ..net.link import Link
from ..net.timers import TIMERS, jittered, now
from ..net.wake import Edges, Wake
from ..protocol.frames import Target
from ..session.liveness import Liveness
from ..session.state import Attached, Outcome
from ..session.streams import Stream
from .attempt import Attempt
from .dialler import Dialler, Greeting
from .farewell import abort_first
from .keeper import Owner, Reaching
from .pauses import Pauses, forgotten_at
from .roam import REDIAL, Roam
from .strangled import Strangled
from .tunnel import ClientTunnel

OWN_END = "this side ended it"  # of a stream that was lost: no news to people
_MOVES = 3  # how often a stream of which nothing was carried goes to another session
log = logging.getLogger(__name__)


class ClientSession:
    """`serve` is the body of the session's thread; all else may be called by any thread."""

    def __init__(
        self,
        dialler: Dialler,
        made: Greeting,
        owner: Owner[ClientSession],
        redial: float | None = None,
        reach: Reaching | None = None,
    ) -> None:
        """`redial` in seconds: the age by which a connection is replaced, before a proxy would cut it. `reach` makes
        what reaches targets near this client."""
        self._command = Wake()  # ends a pause between two attempts
        self._dialler, self._owner, self._server = dialler, owner, made.server
        try:
            self.tunnel = ClientTunnel(dialler.credentials, made.greeted, dialler.window, self._changed)
        except BaseException:
            self._command.close()
            raise
        if reach is not None:
            self.tunnel.inbound.dialling = reach(self.tunnel.state.inbox.waiter)
        self.tunnel.state.round_trip = max(made.round_trip, limits.ROUND_TRIP)
        self.idle_since = now()
        self._link: Link | None = made.link  # the connection that is served, or is to be
        self._redial_age = redial
        self._roam = Roam(self.tunnel, self._connect, None)
        self._attempts, self._given_up = 0, ""  # j of protocol 3.5, and why there is to be no further one
        self._pauses, self._strangled, self._attached_at = Pauses(), Strangled(), 0.0
        self._hurried = False  # the pause under way is to end
        self._anew = False  # an attempt that still dials is to be begun anew: its address may be gone
        self._missed = False  # people were told that it lost its connection
        self._last: dict[Target, Stream] = {}  # the last stream to each target, while its OPEN may be unanswered
        self.bulk = False  # the pool: it moves much, and is for others' bulk only

    # -- for the pool --------------------------------------------------------------------------------------------------

    @property
    def spent(self) -> bool:
        """Whether it is never to carry a new stream again: the server drains, or the numbers are used up."""
        return self.tunnel.draining or self.tunnel.state.streams.ours.used_up

    @property
    def full(self) -> bool:
        """Whether it carries as many streams as a session may."""
        return self.tunnel.load >= limits.STREAMS

    @property
    def usable(self) -> bool:
        """Whether it may carry a new stream."""
        return not (self.spent or self.tunnel.leaving or self._given_up or self.full)

    def is_idle(self, at: float) -> bool:
        """Whether it has carried no stream for long, and could."""
        return self.tunnel.load == 0 and at - self.idle_since > limits.IDLE and self.usable

    def owes_answer(self, target: Target) -> bool:
        """Whether an OPEN to this target is unanswered: the next to it goes the same way, to arrive behind it."""
        stream = self._last.get(target)
        if stream is None:
            return False
        if stream.answered or stream.ending is not None:
            self._last.pop(target, None)
            return False
        return True

    def open(self, stream: Stream) -> None:
        """Carries a stream; in an outage it waits, and the next attempt begins at once."""
        log.info("a stream to %s", stream.target)
        if len(self._last) > limits.STREAMS:
            self._last = {target: s for target, s in self._last.items() if not s.answered and s.ending is None}
        self._last[stream.target] = stream
        self.tunnel.outbox.open(stream)
        if not self.tunnel.connected:
            self.hurry()

    def release(self) -> None:
        """Ends the session: in three ways when it is idle and connected, else as `give_up`. Returns at once."""
        if self.tunnel.load == 0 and self.tunnel.connected:
            self.tunnel.disconnect()
        else:
            self.give_up(OWN_END)

    def give_up(self, reason: str) -> None:
        """Ends the session now: with ABORT where there is a connection, else by forgetting it."""
        self._given_up = reason
        self._command.set()
        self.tunnel.post_abort(Abort.OTHER, "" if reason == OWN_END else reason)  # or on the next connection
        TIMERS.after(limits.RELEASE, self.tunnel.unanswered)

    def hurry(self) -> None:
        """Ends a pause between two attempts to reconnect."""
        self._hurried = True
        self._command.set()

    def doubt(self, reason: str) -> None:
        """The network changed: the connection may be dead, and the next attempt may succeed."""
        self._roam.doubt(reason)
        self._anew = True
        self.hurry()

    def _changed(self) -> None:
        if self.tunnel.load == 0:
            self.idle_since = now()
        self._owner.changed(self)

    # -- the session's thread ------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serves the session until it is over; then nothing of it is left, and its streams have been told."""
        try:
            self._serve()
        except Exception as error:  # no thread or descriptor is left, or a fault of ours
            log.exception("a session failed")
            self._given_up = self._given_up or f"an internal error: {said(error)}"
            if self._link is not None:
                self._link.close()
        finally:
            self._finish()

    def _serve(self) -> None:
        log.info("session begins, at %s", join_host_port(*self._server))
        liveness = Liveness(self.tunnel.state)
        try:
            while self._link is not None:
                self.tunnel.state.doubt.begin()
                self._roam = Roam(self.tunnel, self._connect, self._redial_age)
                self._attached_at = now()
                outcome = self.tunnel.run(self._link)
                self._link = self._next_link(outcome, self._roam.take())
        finally:
            liveness.stop()

    def _connect(self) -> Link:
        return self._dialler.connect(self._server)

    def _finish(self) -> None:
        """Gives everything back; streams of which nothing was carried go to another session."""
        self._roam.close()
        tunnel, moved = self.tunnel, []
        self._owner.withdraw(self)
        waiting = [each for each in tuple(tunnel.outbox.opening) if isinstance(each, Stream) and not each.number]
        tunnel.outbox.opening.clear()
        if not self._given_up:
            for stream in tunnel.state.streams.all():
                if stream.untouched and stream.moves < _MOVES:
                    tunnel.state.streams.by_number.pop(stream.number)
                    moved.append(stream.again())
        moved += waiting  # in the order in which they were opened
        reason = self._given_up or tunnel.state.reason
        log.info("session ends: %s", reason or "released")
        tunnel.dispose(reason)
        self._command.close()
        self._owner.gone(self, moved)

    # -- an outage -----------------------------------------------------------------------------------------------------

    def _next_link(self, outcome: Outcome, prepared: Link | None) -> Link | None:
        """A link on which the session goes on, or None when it is over. `prepared` is of use behind LEFT only."""
        state, inbound, lived = self.tunnel.state, self.tunnel.inbound, now() - self._attached_at
        carried = inbound.received + inbound.peer_acked
        over = outcome is Outcome.OVER or bool(self._given_up) or state.releasing > 0
        until = forgotten_at(state)
        lost = not over and state.reason != REDIAL
        if lost and self._link is not None and self._strangled.ended(lived, self.tunnel.moved, carried):
            self._dialler.strangled(self._server, self._link.carrier)
            outcome = Outcome.LOST  # what is prepared would fare no better
        if prepared is not None and outcome is Outcome.LEFT and not over:
            try:
                return self._resume_on(prepared, until)
            except NitroSocksError as error:
                state.reason = str(error)
                over = self._is_over(error)
        elif prepared is not None:
            prepared.close()
        if over:
            return None
        self._pauses.lost(lived, carried)
        link = None
        try:
            link = self._reconnect(until)
        finally:
            if self._missed:
                self._missed = False
                self._owner.outage.ends(link is not None)
        return link

    def _reconnect(self, until: float) -> Link | None:
        """Dials until the session is resumed (protocol 3.5)."""
        self._hurried = False
        with Edges([s.local.fileno() for s in self.tunnel.state.streams.all() if s.local is not None]) as locals_:
            while not self._given_up:
                if (pause := self._pauses.take()) and self._rest(min(now() + jittered(pause), until), locals_):
                    break
                self._tell_people()
                try:
                    return self._resume_on(None, until)
                except NitroSocksError as error:
                    if self._is_over(error):
                        return None
                    log.info("reconnecting: %s", error)
                if now() >= until:
                    self.tunnel.state.reason = "the server was unreachable for longer than it keeps a session"
                    return None
        return None

    def _tell_people(self) -> None:
        """Nobody misses a session without a stream, unless the server listens for it."""
        if not self._missed and (self.tunnel.load or self._owner.keeper.holds(self)):
            self._missed = True
            self._owner.outage.begins(self.tunnel.state.reason)

    def _resume_on(self, link: Link | None, until: float) -> Link:
        """RESUME, on this link or a new one; all is handed over when it returns. The old one is left for good."""
        tunnel = self.tunnel
        self._attempts, self._anew = self._attempts + 1, False
        attempt = Attempt(self._dialler, self._server, link, self._command.set)
        attempt.start(tunnel.state.terms, self._attempts, tunnel.inbound.received)
        while not attempt.done:
            self._command.wait({}, max(0.0, until - now()))
            self._command.clear()
            anew = self._anew and attempt.link is None
            if self._given_up or (not attempt.done and (anew or now() >= until)):
                attempt.abandon()
                raise NetworkError(self._given_up or ("the network changed" if anew else "no answer in time"))
        if attempt.error is not None:
            raise attempt.error
        link, recovered = attempt.link, attempt.recovered
        assert link is not None and recovered is not None, "an attempt without an error has both"
        if not tunnel.may_have_received(recovered.received):
            with suppress(NetworkError):
                abort_first(link, recovered.keys, tunnel.state.terms.encrypt_type, Abort.VIOLATION)
            link.close()
            raise SessionLost("the server states an impossible count of received frames")
        tunnel.attach(Attached(recovered.keys, recovered.ephemeral), recovered.received)
        tunnel.state.round_trip = max(attempt.round_trip, limits.ROUND_TRIP)
        tunnel.state.doubt.doubled()
        log.info("session goes on")
        return link

    def _is_over(self, error: NitroSocksError) -> bool:
        """Whether an attempt failed in a way that ends the session; says why to people."""
        state = self.tunnel.state
        if isinstance(error, Refused) and error.reason is Refusal.UNKNOWN_SESSION:
            state.reason = "the server no longer knows the session: it was restarted, or the session expired"
        elif isinstance(error, (Intercepted, NotAuthorised, SessionLost)):
            state.reason = str(error)
        else:
            return False
        return True

    def _rest(self, until: float, locals_: Edges) -> bool:
        """Waits before the next attempt; whether there is to be none. A keystroke ends the wait, as do others."""
        while not (self._given_up or self._hurried) and (left := until - now()) > 0:
            ready = self._command.wait(locals_.interest, left)
            self._command.clear()
            if ready and locals_.take():
                self._hurried = True
        if self._hurried:
            self._hurried = False
            self._pauses.anew()
        if locals_.all_broken:
            self._given_up = "the local side reset its connection"
        return bool(self._given_up)
