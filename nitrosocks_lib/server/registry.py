"""The live sessions of a server: who owns each one's connection, how long a lost one is kept, how much all may hold."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import count

from ..facts import limits
from ..facts.errors import Overtaken, Refused
from ..facts.wire import Abort, Refusal
from ..net.link import Link
from ..net.timers import TIMERS, Timer
from ..session.shares import Shares
from ..session.state import Outcome
from .audit import tell
from .entry import Entry
from .tunnel import ServerTunnel

_AGAIN = 1.0  # seconds until an expiry for which there was no thread is tried again


class Registry:
    """Any thread may call it. The lock covers work on dictionaries and timers only; threads are joined outside it."""

    def __init__(self, held_most: int = limits.HELD, sessions: Shares | None = None) -> None:
        """`held_most` in bytes bounds what all sessions hold together; `sessions` how many there are."""
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Entry] = {}
        self._per_client: Counter[bytes] = Counter()
        self._numbers = count(1)
        self._shared = Shares(limits.SESSIONS_IN_ALL) if sessions is None else sessions
        self._held_most = held_most
        self._changed = threading.Condition(self._lock)
        self._came: set[bytes] = set()
        self.closing = False  # the server stops: nothing is kept for a RESUME any more
        self._watch: Timer | None = None
        self._delivering: list[ServerTunnel] = []  # over, but for what their targets have not taken; the oldest first

    def __len__(self) -> int:
        return len(self._sessions)

    def reserve(self, client_id: bytes) -> None:
        """A place for a new session. Raises Refused when there is none.

        Where this client has its full number of sessions, the one that is longest without a connection makes room.
        """
        if self._take(client_id):
            return
        with self._lock:
            victim = self._longest_detached(client_id)
        if victim is not None:
            self.forget(victim, "it made room for a newer session")
        if not self._take(client_id):
            raise Refused(Refusal.FULL)

    def _take(self, client_id: bytes) -> bool:
        with self._lock:
            if self._per_client.get(client_id, 0) >= limits.SESSIONS_PER_CLIENT or not self._shared.take(client_id):
                return False
            self._per_client[client_id] += 1
            return True

    def _longest_detached(self, client_id: bytes) -> Entry | None:
        detached = [e for e in self._sessions.values() if e.client_id == client_id and e.expiry is not None]
        return min(detached, key=lambda e: e.expiry.made if e.expiry else 0.0, default=None)

    def give_back(self, client_id: bytes) -> None:
        """A reservation whose session did not come about, or is over."""
        self._shared.give_back(client_id)
        with self._lock:
            self._per_client[client_id] -= 1
            if not self._per_client[client_id]:
                del self._per_client[client_id]

    def add(self, entry: Entry, link: Link) -> None:
        """A new session, on the link of the calling thread, which becomes its owner."""
        with self._lock:
            entry.tunnel.number = next(self._numbers)
            entry.owner, entry.link = threading.current_thread(), link
            self._sessions[entry.tunnel.state.terms.session_id] = entry
            self._came.add(entry.client_id)
            if self._watch is None:
                self._watch = TIMERS.after(limits.HELD_LOOK, self._look_at_held)

    def find(self, session_id: bytes) -> Entry | None:
        """The session, connected or detached."""
        return self._sessions.get(session_id)

    # -- what all hold -------------------------------------------------------------------------------------------------

    def _look_at_held(self, at: float) -> float | None:
        """A timer: beyond the bound the client that holds most loses its largest session (protocol 5)."""
        with self._lock:
            self._delivering = [tunnel for tunnel in self._delivering if tunnel.load]
            tunnels = [*(entry.tunnel for entry in self._sessions.values()), *self._delivering]
        held: Counter[bytes] = Counter()
        for tunnel in tunnels:
            held[_client_id(tunnel)] += tunnel.held
        if held.total() > self._held_most:
            client_id = held.most_common(1)[0][0]
            largest = max((t for t in tunnels if _client_id(t) == client_id), key=lambda tunnel: tunnel.held)
            tell("client-holds-too-much", client=largest.client.name, session=largest.number)
            self._end_large(largest)
        with self._lock:
            if tunnels or self._sessions:
                return at + limits.HELD_LOOK
            self._watch = None
        return None

    def _end_large(self, tunnel: ServerTunnel) -> None:
        """Ends a session with ABORT 5, connected or not, and what it holds. A timer: must not block."""
        text = "the server holds too much for this client"
        tunnel.drop()
        entry = self.find(tunnel.state.terms.session_id)
        if entry is None:
            return  # it was over already, and delivered the rest
        if not tunnel.connected:
            _in_thread(lambda: self.forget(entry, text))
        elif tunnel.outbox.farewell is None:
            tunnel.post_abort(Abort.LIMIT, text)
        else:  # told already, but it does not read
            tunnel.state.end(Outcome.OVER, text)

    def _delivers(self, tunnel: ServerTunnel) -> None:
        """A session that is over still delivers, in a thread: so many of one client and of all at most, or the oldest
        ends, of the client that has most. Holds the lock."""
        self._delivering = [each for each in self._delivering if each.load]
        counts, whose = Counter(map(_client_id, self._delivering)), _client_id(tunnel)
        if len(self._delivering) >= self._shared.most:
            whose = counts.most_common(1)[0][0]
        if counts[whose] >= limits.DELIVERING or len(self._delivering) >= self._shared.most:
            next(each for each in self._delivering if _client_id(each) == whose).drop()
        self._delivering.append(tunnel)

    # -- from connection to connection ---------------------------------------------------------------------------------

    def claim(self, entry: Entry, attempt: int, link: Link) -> None:
        """A RESUME with this j verified: the calling thread owns the session from here on (protocol 3.5).

        The old connection and every attempt with a smaller j are ended and joined. Raises Overtaken when a
        greater j was quicker, Refused when the session is over.
        """
        state = entry.tunnel.state
        with self._lock:
            if self._sessions.get(state.terms.session_id) is not entry:
                raise Refused(Refusal.UNKNOWN_SESSION)  # forgotten while its RESUME was read
            if attempt <= entry.attempt:
                raise Overtaken
            entry.attempt = attempt
            previous, old_link = entry.owner, entry.link
            entry.owner, entry.link = threading.current_thread(), link
        state.end(Outcome.LOST, "the client reconnects")
        if old_link is not None:
            old_link.abort()
        if previous is not None:
            previous.join()
        if state.outcome is Outcome.OVER:
            self.leave(entry, Outcome.OVER)
            raise Refused(Refusal.UNKNOWN_SESSION)
        with self._lock:
            if entry.owner is threading.current_thread():  # else a greater j sees to it
                self._detach(entry)

    def moved(self, entry: Entry) -> None:
        """The first frame on the new link opened: the session is attached again."""
        with self._lock:
            timer, entry.expiry = entry.expiry, None
        if timer is not None:
            timer.cancel()

    def leave(self, entry: Entry, outcome: Outcome) -> None:
        """The owner's link has ended: the session is over, or detached until a RESUME; a successor sees to that."""
        with self._lock:
            if entry.owner is not threading.current_thread():
                return
            entry.owner = entry.link = None
            over = outcome is Outcome.OVER or self.closing
            if not over:  # in this same block: once it has no owner, a RESUME may claim and move it
                self._detach(entry)
        if over:
            self.forget(entry, entry.tunnel.state.reason)
        else:
            entry.lost()

    def _detach(self, entry: Entry) -> None:
        """`resume seconds` run from the first moment without a connection; a further RESUME does not restart them.

        The caller holds the lock, and has seen that it owns the session.
        """
        terms = entry.tunnel.state.terms
        if entry.expiry is None and terms.session_id in self._sessions:
            entry.expiry = TIMERS.after(terms.resume, lambda at: self._expire(entry, at))
        self._changed.notify_all()

    def _expire(self, entry: Entry, at: float) -> float | None:
        """A timer; joining an attempt that is under way may take a moment, so a thread does it."""
        return None if _in_thread(lambda: self._expired(entry)) else at + _AGAIN

    def _expired(self, entry: Entry) -> None:
        with self._lock:
            if entry.expiry is None:
                return  # it moved before this thread began
        self.forget(entry, "it was not resumed in time")

    def forget(self, entry: Entry, reason: str) -> None:
        """Ends a session for good; its local sockets are reset. Whoever is not its owner waits for the owner first."""
        with self._lock:
            if self._sessions.pop(entry.tunnel.state.terms.session_id, None) is None:
                return
            owner, link = entry.owner, entry.link
        if owner is not None and owner is not threading.current_thread():
            entry.tunnel.state.end(Outcome.OVER, reason)
            if link is not None:
                link.abort()
            owner.join()
        self.moved(entry)
        entry.liveness.stop()
        entry.tunnel.dispose(reason)
        entry.ended(reason)
        self.give_back(entry.client_id)
        with self._lock:
            if entry.tunnel.load:
                self._delivers(entry.tunnel)
            self._changed.notify_all()

    def present(self) -> set[bytes]:
        """The ids of the clients that are connected, or began a session since this was asked last."""
        with self._lock:
            came, self._came = self._came, set()
            return came | {entry.client_id for entry in self._sessions.values() if entry.link is not None}

    def all(self) -> list[Entry]:
        """A snapshot."""
        with self._lock:
            return list(self._sessions.values())

    def wait_empty(self, busy: Callable[[Entry], bool], seconds: float) -> bool:
        """Waits until no session is busy; False when time is over first."""
        with self._lock:
            return self._changed.wait_for(lambda: not any(map(busy, self._sessions.values())), seconds)


def _in_thread(work: Callable[[], None]) -> bool:
    """Starts a short thread; False when there is none just now."""
    try:
        threading.Thread(target=work, name="expiry", daemon=True).start()
    except RuntimeError:
        return False
    return True


def _client_id(tunnel: ServerTunnel) -> bytes:
    return tunnel.client.public.client_id
