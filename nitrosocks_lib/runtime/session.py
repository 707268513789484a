"""The owner of a client's session: its thread carries it from connection to connection until it is over."""

from __future__ import annotations

import logging
import select
import threading
from typing import TYPE_CHECKING

from ..facts import limits
from ..facts.errors import NitroSocksError, NotAuthorised, Refused, SessionLost
from ..facts.wire import Abort, Refusal
from .attempt import Attempt, abort_first
from .client import ClientTunnel
from .dialler import Dialler, Greeting
from .link import Link
from .liveness import Liveness
from .stream import Stream
from .timers import TIMERS, Timer, jittered, now
from .tunnel import Attached, Outcome
from .wake import Wake

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
        """`redial` in seconds: the age at which a connection is replaced, before a proxy would cut it."""
        self._dialler, self._pool, self._server = dialler, pool, made.server
        self.tunnel = ClientTunnel(dialler.credentials, made.greeted, dialler.window, lambda: pool.idle(self))
        self._link: Link | None = made.link
        self._redial_every = redial
        self._prepared: Link | None = None  # the connection to move to
        self._attempts = 0  # j of protocol 3.5
        self._command = Wake()  # ends a pause between two attempts
        self._given_up = ""
        self._unknown = False  # the server does not know the session any more
        self._finished = False
        self._made_for: Stream | None = None  # the stream that the session was made for, if one was

    def open(self, stream: Stream, first: bool = False) -> None:
        """Carries a stream; the session is idle, since it was taken from the pool, or made for this stream."""
        if first:
            self._made_for = stream
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
        self._command.set()

    # -- the session's thread ---------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serves the session until it is over; then nothing of it is left, and its stream has been told."""
        liveness = Liveness(self.tunnel)
        link, self._link = self._link, None
        while link is not None:
            timer = self._plan_redial()
            outcome = self.tunnel.run(link)
            timer.cancel()
            link = None
            if outcome is not Outcome.OVER and not self._given_up and not self._pool.drop_if_idle(self):
                link = self._resumed()
        liveness.stop()
        self._pool.withdraw(self)
        self._finish()
        self._pool.gone(self)

    def _finish(self) -> None:
        self._finished = True  # before the look at `_prepared`, which another thread may still set
        stream = self.tunnel.stream
        # A session that waited may have died unseen: what it carried nothing of yet is not to suffer from that.
        aborted = self.tunnel.outcome is Outcome.OVER and not self._given_up and stream is not self._made_for
        moved = stream.again() if stream is not None and (self._unknown or aborted) else None
        if self._prepared is not None:
            self._prepared.close()
        self.tunnel.dispose(self._given_up or self.tunnel.reason)
        self._command.close()
        if moved is not None:
            self._pool.carry(moved)

    def _resumed(self) -> Link | None:
        """A link on which the session goes on, or None when it is over."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            try:
                return self._resume_on(prepared)
            except NitroSocksError as error:
                if self._is_over(error):
                    return None
        self._pool.outage.begins(self.tunnel.reason)
        link = self._reconnect()
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
        """Waits before the next attempt, or for this one; False when it is given up, or the local socket gone."""
        interest = {}
        stream = self.tunnel.stream
        if stream is not None and stream.local is not None and not (stream.closed or stream.reset_sent):
            interest[stream.local.fileno()] = select.POLLERR
        ready = self._command.wait(interest, seconds)
        self._command.clear()
        # POLLERR is a local side that broke. POLLHUP is none: it may have written its last words before it closed.
        if any(events & (select.POLLERR | select.POLLNVAL) for events in ready.values()):
            self._given_up = "the local side reset its connection"
        return not self._given_up

    # -- redial -----------------------------------------------------------------------------------------------------

    def _plan_redial(self) -> Timer:
        if self._redial_every is None:
            return Timer(lambda _: None)
        thread = threading.Thread(target=self._prepare, name="redial", daemon=True)
        return TIMERS.after(jittered(self._redial_every), lambda _: thread.start())

    def _prepare(self) -> None:
        """Makes the next connection while the old one still carries; then the session's thread moves to it."""
        try:
            self._prepared = self._dialler.connect(self._server)
        except NitroSocksError as error:
            log.info("redial: %s", error)
            return
        if self._finished:
            self._prepared.close()
        else:
            self.tunnel.end(Outcome.LEFT, "redial")
