"""The live sessions of a server: who owns each one's connection, how long a lost one is kept, how much all may hold."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from ..facts import limits
from ..facts.errors import ProtocolError, Refused
from ..facts.wire import Refusal
from ..net.link import Link
from ..net.timers import TIMERS, Timer
from ..session.liveness import Liveness
from ..session.tunnel import Outcome
from .tunnel import ServerTunnel

log = logging.getLogger(__name__)
_AGAIN = 1.0  # seconds until an expiry for which there was no thread is tried again


class Hosted:
    """One session in the registry. `owner` is the thread that attached the last link, or tries to."""

    __slots__ = ("attempt", "expiry", "link", "liveness", "name", "owner", "reserved", "tunnel")

    def __init__(self, tunnel: ServerTunnel, liveness: Liveness, reserved: int) -> None:
        self.tunnel = tunnel
        self.name = tunnel.client.name
        self.liveness = liveness
        self.reserved = reserved
        self.attempt = 0  # the last j accepted
        self.owner: threading.Thread | None = None
        self.link: Link | None = None
        self.expiry: Timer | None = None


class Registry:
    """Any thread may call it. The lock covers work on dictionaries and timers only; threads are joined outside it."""

    def __init__(self, budget: int = limits.BUDGET) -> None:
        """`budget` in bytes bounds what all sessions may hold together, both directions."""
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Hosted] = {}
        self._per_client: Counter[bytes] = Counter()
        self._budget = budget
        self._changed = threading.Condition(self._lock)
        self.closing = False  # the server stops: nothing is kept for a RESUME any more

    def __len__(self) -> int:
        return len(self._sessions)

    def reserve(self, client_id: bytes, window: int) -> int:
        """A new session's share of the budget: the window it may have, in bytes. Raises Refused when there is none.

        Where this client has its full number of sessions, its oldest detached one without a stream makes room.
        """
        with self._lock:
            affordable = self._share(window) >= limits.WINDOW_MIN
            victim = self._oldest_idle(client_id) if affordable and self._full(client_id) else None
        if victim is not None:
            self.forget(victim, "it made room for a newer session")
        with self._lock:
            share = self._share(window)
            if self._full(client_id) or share < limits.WINDOW_MIN:
                raise Refused(Refusal.FULL)
            self._per_client[client_id] += 1
            self._budget -= 2 * share
            return share

    def _share(self, window: int) -> int:
        return min(window, self._budget // limits.BUDGET_SHARE // 2)

    def _full(self, client_id: bytes) -> bool:
        return self._per_client[client_id] >= limits.SESSIONS_PER_CLIENT

    def _oldest_idle(self, client_id: bytes) -> Hosted | None:
        for hosted in self._sessions.values():
            stream = hosted.tunnel.stream
            idle = stream is None or (stream.own_ended and stream.peer_over)
            if hosted.tunnel.client.public.client_id == client_id and hosted.expiry is not None and idle:
                return hosted
        return None

    def give_back(self, client_id: bytes, share: int) -> None:
        """A reservation whose session did not come about, or is over."""
        with self._lock:
            self._per_client[client_id] -= 1
            if not self._per_client[client_id]:
                del self._per_client[client_id]
            self._budget += 2 * share

    def add(self, hosted: Hosted, link: Link) -> None:
        """A new session, on the link of the calling thread, which becomes its owner."""
        with self._lock:
            hosted.owner, hosted.link = threading.current_thread(), link
            self._sessions[hosted.tunnel.terms.session_id] = hosted

    def find(self, session_id: bytes) -> Hosted | None:
        """The session, connected or detached."""
        return self._sessions.get(session_id)

    def claim(self, hosted: Hosted, attempt: int, link: Link) -> None:
        """A RESUME with this j verified: the calling thread owns the session from here on (protocol 3.5).

        The old connection and every attempt with a smaller j are ended and joined. Raises ProtocolError when a
        greater j was quicker, Refused when the session is over.
        """
        with self._lock:
            if self._sessions.get(hosted.tunnel.terms.session_id) is not hosted:
                raise Refused(Refusal.UNKNOWN_SESSION)  # forgotten while its RESUME was read
            if attempt <= hosted.attempt:
                raise ProtocolError("a RESUME is older than the last one accepted")
            hosted.attempt = attempt
            previous, old_link = hosted.owner, hosted.link
            hosted.owner, hosted.link = threading.current_thread(), link
        hosted.tunnel.end(Outcome.LOST, "the client reconnects")
        if old_link is not None:
            old_link.abort()
        if previous is not None:
            previous.join()
        if hosted.tunnel.outcome is Outcome.OVER:
            self.leave(hosted, Outcome.OVER)
            raise Refused(Refusal.UNKNOWN_SESSION)
        with self._lock:
            if hosted.owner is threading.current_thread():  # else a greater j sees to it
                self._detach(hosted)

    def moved(self, hosted: Hosted) -> None:
        """The first frame on the new link opened: the session is attached again."""
        with self._lock:
            timer, hosted.expiry = hosted.expiry, None
        if timer is not None:
            timer.cancel()

    def leave(self, hosted: Hosted, outcome: Outcome) -> None:
        """The owner's link has ended: the session is over, or detached until a RESUME; a successor sees to that."""
        with self._lock:
            if hosted.owner is not threading.current_thread():
                return
            hosted.owner = hosted.link = None
            over = outcome is Outcome.OVER or self.closing
            if not over:  # in this same block: once it has no owner, a RESUME may claim and move it
                self._detach(hosted)
        if over:
            self.forget(hosted, hosted.tunnel.reason)

    def _detach(self, hosted: Hosted) -> None:
        """`resume seconds` run from the first moment without a connection; a further RESUME does not restart them.

        The caller holds the lock, and has seen that it owns the session.
        """
        if hosted.expiry is None and hosted.tunnel.terms.session_id in self._sessions:
            hosted.expiry = TIMERS.after(hosted.tunnel.terms.resume, lambda at: self._expire(hosted, at))
        self._changed.notify_all()

    def _expire(self, hosted: Hosted, at: float) -> float | None:
        """A timer; joining an attempt that is under way may take a moment, so a thread does it."""
        try:
            threading.Thread(target=self._expired, args=(hosted,), name="expiry", daemon=True).start()
        except RuntimeError:  # no more threads just now
            return at + _AGAIN
        return None

    def _expired(self, hosted: Hosted) -> None:
        with self._lock:
            if hosted.expiry is None:
                return  # it moved before this thread began
        log.info("%s: a session was not resumed in time", hosted.name)
        self.forget(hosted, "the session was not resumed in time")

    def forget(self, hosted: Hosted, reason: str) -> None:
        """Ends a session for good; its local socket is reset. Whoever is not its owner waits for the owner first."""
        with self._lock:
            if self._sessions.pop(hosted.tunnel.terms.session_id, None) is None:
                return
            owner, link = hosted.owner, hosted.link
        if owner is not None and owner is not threading.current_thread():
            hosted.tunnel.end(Outcome.OVER, reason)
            if link is not None:
                link.abort()
            owner.join()
        self.moved(hosted)
        hosted.liveness.stop()
        hosted.tunnel.dispose(reason)
        self.give_back(hosted.tunnel.client.public.client_id, hosted.reserved)
        with self._lock:
            self._changed.notify_all()

    def all(self) -> list[Hosted]:
        """A snapshot."""
        with self._lock:
            return list(self._sessions.values())

    def wait_empty(self, busy: Callable[[Hosted], bool], seconds: float) -> bool:
        """Waits until no session is busy; False when time is over first."""
        with self._lock:
            return self._changed.wait_for(lambda: not any(map(busy, self._sessions.values())), seconds)
