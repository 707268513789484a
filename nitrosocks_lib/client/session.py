"""The owner of a client's session: its thread carries it from connection to connection until it is over."""

from __future__ import annotations

import logging
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from ..facts import limits
from ..facts.errors import NetworkError, NitroSocksError, NotAuthorised, Refused, SessionLost
from ..facts.wire import Abort, Refusal
from ..net.link import Link
from ..net.timers import TIMERS, jittered, now
from ..net.wake import Wake
from ..session.liveness import Liveness
from ..session.streams import Stream
from ..session.tunnel import Attached, Outcome
from .attempt import Attempt, abort_first
from .dialler import Dialler, Greeting
from .redial import Redial
from .tunnel import ClientTunnel

if TYPE_CHECKING:
    from .pool import Pool

OWN_END = "this side ended it"  # of a stream that was lost: no news to people
log = logging.getLogger(__name__)


class Outage:
    """One line when connections are lost and one when all are restored, however many sessions share the loss."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = 0
        self._since = 0.0

    def begins(self, reason: str) -> None:
        """A session with a stream lost its connection."""
        with self._lock:
            self._lost += 1
            if self._lost == 1:
                self._since = now()
                log.warning("connection lost (%s), reconnecting", reason)

    def ends(self, restored: bool) -> None:
        """That session is restored, or over."""
        with self._lock:
            self._lost -= 1
            if self._lost == 0 and restored:
                log.warning("connection restored after %.1f s", now() - self._since)


class ClientSession:
    """`serve` is the body of the session's thread; `open`, `release` and `give_up` may be called by any thread."""

    def __init__(self, dialler: Dialler, made: Greeting, pool: Pool, redial: float | None = None) -> None:
        """`redial` in seconds: the age by which a connection is replaced, before a proxy would cut it."""
        self._command = Wake()  # ends a pause between two attempts
        self._dialler, self._pool, self._server = dialler, pool, made.server
        try:
            self.tunnel = ClientTunnel(dialler.credentials, made.greeted, dialler.window, lambda: pool.idle(self))
        except BaseException:
            self._command.close()
            raise
        self.made_at = now()
        self._link: Link | None = made.link  # the connection that is served, or is to be
        self._redial_age = redial
        self._redial = Redial(self.tunnel, self._connect, None)
        self._attempts = 0  # j of protocol 3.5
        self._given_up = ""
        self._hurried = False  # the pause under way is to end
        self._unknown = False  # the server does not know the session any more
        self._hung_up = False  # in this outage the local side was seen to be closed
        self._unheard: Stream | None = None  # the stream whose OPEN nobody answered in time
        self._made_for: Stream | None = None  # the stream that the session was made for, if one was

    def open(self, stream: Stream, first: bool = False) -> None:
        """Carries a stream; the session is idle, since it was taken from the pool, or made for this stream."""
        if first:
            self._made_for = stream
        else:  # it may have died unseen while it waited
            opened = now()
            TIMERS.after(limits.OPEN_HEARD, lambda _: self._look_for_answer(stream, opened))
        self.tunnel.open(stream)

    def release(self) -> None:
        """Ends the session: in three ways when it is idle and connected, else as `give_up`. Returns at once."""
        if self.tunnel.stream is None and self.tunnel.outcome is None:
            self.tunnel.disconnect()
        else:
            self.give_up(OWN_END)

    def give_up(self, reason: str) -> None:
        """Ends the session now: with ABORT where there is a connection, else by forgetting it."""
        self._given_up = reason
        self._command.set()
        self.tunnel.post_abort(Abort.OTHER, reason)  # without a connection: on the next one, if there is one yet
        TIMERS.after(limits.RELEASE, self.tunnel.unanswered)

    def hurry(self) -> None:
        """Ends a pause between two attempts to reconnect."""
        self._hurried = True
        self._command.set()

    # -- the session's thread ---------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serves the session until it is over; then nothing of it is left, and its stream has been told."""
        try:
            self._serve()
        except Exception as error:  # no thread or descriptor is left, or a fault of ours
            log.exception("a session failed")
            self._given_up = self._given_up or f"an internal error: {error or type(error).__name__}"
            if self._link is not None:
                self._link.close()
        finally:
            self._pool.withdraw(self)
            moved = None
            try:
                moved = self._finish()
            finally:
                self._pool.gone(self, moved)

    def _serve(self) -> None:
        liveness = Liveness(self.tunnel)
        try:
            while self._link is not None:
                self._redial = Redial(self.tunnel, self._connect, self._redial_age)
                outcome = self.tunnel.run(self._link)
                self._link = self._next_link(outcome, self._redial.take())
        finally:
            liveness.stop()

    def _connect(self) -> Link:
        return self._dialler.connect(self._server)

    def _next_link(self, outcome: Outcome, prepared: Link | None) -> Link | None:
        """A link on which the session goes on, or None when it is over. `prepared` is of use behind LEFT only."""
        tunnel, self._hung_up = self.tunnel, False
        over = outcome is Outcome.OVER or bool(self._given_up) or tunnel.releasing > 0
        if prepared is not None and outcome is Outcome.LEFT and not over:  # an idle session moves, too
            try:
                return self._resume_on(prepared)
            except NitroSocksError as error:
                tunnel.reason = str(error)
                over = self._is_over(error)
        elif prepared is not None:
            prepared.close()
        if over or self._is_unheard() or self._pool.drop_if_idle(self):
            return None
        return self._resumed()

    # -- a session that died unseen while it waited -----------------------------------------------------------------

    def _look_for_answer(self, stream: Stream, opened: float) -> None:
        """A timer: the server acknowledges OPEN at once, so a network that is silent since then is dead."""
        tunnel = self.tunnel
        unheard = tunnel.stream is stream and tunnel.outcome is None and tunnel.inbound.last_heard < opened
        if unheard and stream.untouched:
            self._unheard = stream
            tunnel.end(Outcome.LOST, "nothing was heard since OPEN")

    def _is_unheard(self) -> bool:
        """Whether the stream, of which nothing was carried yet, had better begin anew on another session."""
        stream = self.tunnel.stream
        return stream is not None and stream is self._unheard and stream.untouched

    def _finish(self) -> Stream | None:
        """Gives everything back; returns the stream if another session may carry it."""
        stream = self.tunnel.stream
        # What the session carried nothing of yet is not to suffer from its death, unless it was made for it.
        aborted = self.tunnel.outcome is Outcome.OVER and stream is not self._made_for
        died = not self._given_up and (self._unknown or aborted or self._is_unheard())
        moved = stream.again() if stream is not None and died else None
        self._redial.close()
        self.tunnel.dispose(self._given_up or self.tunnel.reason)
        self._command.close()
        return moved

    def _resumed(self) -> Link | None:
        """A link on which the session goes on, or None when it is over."""
        link = None
        self._pool.outage.begins(self.tunnel.reason)
        try:
            link = self._reconnect()
        finally:
            self._pool.outage.ends(link is not None)
        return link

    def _reconnect(self) -> Link | None:
        """Dials until the session is resumed: at once, then with growing pauses (protocol 3.5)."""
        terms, pause = self.tunnel.terms, limits.BACKOFF_FIRST
        # The server may notice the loss three silent periods after us, and its time runs from then.
        until = now() + terms.resume + limits.SILENT_PERIODS * terms.heartbeat * (1 + limits.HEARTBEAT_JITTER)
        while not self._given_up:
            try:
                return self._resume_on(None)
            except NitroSocksError as error:
                if self._is_over(error):
                    return None
                log.info("reconnecting: %s", error)
            if now() >= until:
                self.tunnel.reason = "the server was out of reach for longer than it keeps a session"
                return None
            if not self._pause(jittered(pause)):
                return None
            pause = min(pause * 2, limits.BACKOFF_MAX)
        return None

    def _resume_on(self, link: Link | None) -> Link:
        """RESUME, on this link or a new one; all is handed over when it returns. The old one is left for good."""
        tunnel = self.tunnel
        self._attempts += 1
        attempt = Attempt(self._dialler, self._server, link, self._command.set)
        attempt.start(tunnel.terms, self._attempts, tunnel.inbound.receiving.received)
        while not attempt.done:
            if not self._pause(None):
                attempt.abandon()
                raise SessionLost(self._given_up)
        if attempt.error is not None:
            raise attempt.error
        link, recovered = attempt.link, attempt.recovered
        assert link is not None and recovered is not None, "an attempt without an error has both"
        if not tunnel.may_have_received(recovered.received):
            with suppress(NetworkError):
                abort_first(link, recovered.keys, tunnel.terms.encrypt_type, Abort.VIOLATION)
            link.close()
            raise SessionLost("the server states a count of received frames that cannot be")
        tunnel.attach(Attached(recovered.keys, recovered.ephemeral), recovered.received)
        return link

    def _is_over(self, error: NitroSocksError) -> bool:
        """Whether an attempt failed in a way that ends the session; says why to people."""
        self._unknown = isinstance(error, Refused) and error.reason is Refusal.UNKNOWN_SESSION
        if self._unknown:
            self.tunnel.reason = "the server does not know the session any more: it was restarted, or the time is over"
        elif isinstance(error, (NotAuthorised, SessionLost)):
            self.tunnel.reason = str(error)
        else:
            return False
        return True

    def _pause(self, seconds: float | None) -> bool:
        """Waits before the next attempt, or for news of this one; False when it is given up, or the local socket gone.

        The news of an attempt may come late; only `hurry` and `give_up` end the wait before the next one.
        """
        until = None if seconds is None else now() + seconds
        while not self._given_up:
            ready = self._command.wait(self._local_interest(), None if until is None else until - now())
            # POLLERR is a local side that broke. POLLHUP alone is none: it may have written its last words before it
            # closed. But it would come again at once, and there is no news behind it: nobody is there to reset.
            if any(events & (select.POLLERR | select.POLLNVAL) for events in ready.values()):
                self._given_up = "the local side reset its connection"
            elif ready:
                self._hung_up = True
            else:
                self._command.clear()
                if until is None or self._hurried or now() >= until:
                    break
        self._hurried = False
        return not self._given_up

    def _local_interest(self) -> dict[int, int]:
        stream = self.tunnel.stream
        if self._hung_up or stream is None or stream.local is None or stream.closed or stream.reset_sent:
            return {}
        return {stream.local.fileno(): select.POLLERR}
