"""All dials of one session: connections to targets begun, watched, given up, without ever waiting for one.

Their order: what can be connected to at once is, in the order of the calls of `begin`; names that are looked up for the
same target join one look-up, and follow it in their order; so do dials to one unix socket whose backlog is full.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..facts import limits
from ..facts.wire import Kind, Reply
from ..facts.words import foreign
from ..net.datagrams import associate
from ..net.race import Connected, Place, Race, Remembered
from ..net.sockets import descriptors
from ..net.timers import now
from ..net.wake import Watches
from ..protocol.frames import Target
from .dialling import Found, Reached, Ruling, Unreached
from .reaching import address, unreached
from .resolvers import Lookup, Resolvers
from .shares import Shares

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reach:
    """What the dials of all sessions of a server share. Their sockets have numbers below `descriptors`: what is above
    is for connections of clients."""

    resolvers: Resolvers = field(default_factory=Resolvers)
    descriptors: int = field(default_factory=lambda: descriptors() * 3 // 4)
    streams: Shares = field(default_factory=lambda: Shares(min(limits.STREAMS_IN_ALL, descriptors() // 2)))
    remembered: Remembered = field(default_factory=Remembered)


class _Dial:
    """One target that is being dialled: first `lookup` is set, for a name, then `race`."""

    __slots__ = ("deadline", "lookup", "number", "places", "race", "ruling", "target")

    def __init__(self, number: int, target: Target, ruling: Ruling) -> None:
        self.number, self.target, self.ruling = number, target, ruling
        self.deadline = now() + limits.DIAL_TARGET
        self.lookup: Lookup | None = None
        self.places: list[Place] = []
        self.race: Race | None = None


class Dials:
    """Owned by one thread, a session's inbound for one, which calls everything here; nothing here blocks.

    Sockets are watched in its Waiter, or what is like one, as `("dial", number)`; a thread that looked up a name sets
    it.
    """

    def __init__(
        self, asker: bytes, rule: Callable[[Target], Ruling | Unreached], reach: Reach, waiter: Watches
    ) -> None:
        """`asker` stands for the client among all that look names up; `rule` is asked for each target."""
        self._asker, self._rule, self._reach, self._waiter = asker, rule, reach, waiter
        self._dials: dict[int, _Dial] = {}
        self._lookups: dict[tuple[str, int], Lookup] = {}  # also those that nobody waits for any more, but run
        self._joined: dict[Lookup, list[_Dial]] = {}  # who waits for each of these, in order
        self._paths: dict[str, deque[_Dial]] = {}  # who dials a unix socket, in order; the first alone tries
        self._posted: deque[Lookup] = deque()  # by resolver threads
        self._decided: list[tuple[int, Reached | Unreached]] = []
        self._next: float | None = None  # no time of any dial is before it

    def __len__(self) -> int:
        """Dials under way."""
        return len(self._dials)

    @property
    def left(self) -> int:
        """Look-ups that run though nobody waits for them any more."""
        return sum(not joined for joined in self._joined.values())

    # -- what the session calls -------------------------------------------------------------------------------------

    def begin(self, number: int, target: Target) -> None:
        """Dials a target, by the client's rules as they are now; `take` tells what became of it."""
        try:
            self._begin(number, target)
        except Exception:
            log.exception("internal error while dialling")
            self.stop(number)
            self._decide(number, Unreached(Reply.GENERAL, "an internal error"))

    def fired(self, number: int, now: float) -> None:
        """A watched socket of this dial is writable."""
        if (dial := self._dials.get(number)) is not None:
            self._advance(dial, now)

    def due(self, now: float) -> float | None:
        """Does what time or a resolver thread asks for; returns when to be called next, though nobody sets the Waiter.

        To be called in each turn of the loop, behind the Waiter's `clear`. Costs nothing while nothing is due.
        """
        while self._posted:
            self._looked_up(self._posted.popleft(), now)
        if not self._dials:
            self._next = None
        elif self._next is not None and now >= self._next:
            for number in [dial.number for dial in self._dials.values() if now >= self._time_of(dial)]:
                self.fired(number, now)
            self._next = min(map(self._time_of, self._dials.values()), default=None)
        return self._next

    def stop(self, number: int) -> None:
        """Gives one up silently, also one that is decided and not taken: its socket is closed."""
        if (dial := self._dials.get(number)) is not None:
            self._end(dial)
        for decided in [decided for decided in self._decided if decided[0] == number]:
            self._decided.remove(decided)
            _close(decided[1])

    def take(self) -> list[tuple[int, Reached | Unreached]]:
        """What was decided since the last call, in its order."""
        decided, self._decided = self._decided, []
        return decided

    def close(self) -> None:
        """Gives all up."""
        for dial in list(self._dials.values()):
            self._end(dial)
        for _, decided in self.take():
            _close(decided)

    # -- one dial ---------------------------------------------------------------------------------------------------

    def _begin(self, number: int, target: Target) -> None:
        ruling = self._rule(target)
        if isinstance(ruling, Unreached):
            self._decide(number, ruling)
            return
        dial = _Dial(number, target, ruling)
        if (found := ruling.place()) is None:
            self._look_up(dial)
        else:
            self._race(dial, found, now())

    def _look_up(self, dial: _Dial) -> None:
        key = dial.target.host, dial.target.port
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = Lookup(self._asker, *key, self._post)
            if (refused := self._ask(lookup)) is not None:
                self._decide(dial.number, refused)
                return
            self._lookups[key], self._joined[lookup] = lookup, []
        self._joined[lookup].append(dial)
        dial.lookup = lookup
        self._dials[dial.number] = dial
        self._call_at(dial.deadline)

    def _ask(self, lookup: Lookup) -> Unreached | None:
        if len(self._lookups) >= limits.LOOKUPS_PER_SESSION:
            return Unreached(Reply.GENERAL, "too many names are being looked up")
        return self._reach.resolvers.ask(lookup)

    def _post(self, lookup: Lookup) -> None:
        """A resolver thread."""
        self._posted.append(lookup)
        self._waiter.set()

    def _looked_up(self, lookup: Lookup, now: float) -> None:
        found = lookup.found
        assert found is not None, "set before it was posted"
        joined = self._forget(lookup)
        for dial in joined:
            dial.lookup = None
        for dial in joined:
            if not isinstance(found, Unreached):
                self._race(dial, dial.ruling.permitted(found), now)
            else:
                self._end(dial)
                self._decide(dial.number, found)

    def _forget(self, lookup: Lookup) -> list[_Dial]:
        del self._lookups[lookup.host, lookup.port]
        return self._joined.pop(lookup)

    def _race(self, dial: _Dial, found: Found, at: float) -> None:
        """Begins to connect to the places that were found for it."""
        if isinstance(found, Unreached):
            self._end(dial)
            self._decide(dial.number, found)
            return
        if dial.target.kind == Kind.UDP:
            self._end(dial)
            self._decide(dial.number, self._associate(dial, found))
            return
        dial.places = self._reach.remembered.order(dial.target.host, dial.target.port, found, at)
        what = ("dial", dial.number)

        def watch(sock: socket.socket) -> None:
            self._waiter.watch(sock.fileno(), selectors.EVENT_WRITE, what)

        def forget(sock: socket.socket) -> None:
            self._waiter.forget(sock.fileno())

        dial.race = Race(dial.places, dial.deadline, watch, forget, self._reach.descriptors)
        self._dials[dial.number] = dial
        if dial.target.kind == Kind.UNIX:
            self._paths.setdefault(dial.target.host, deque()).append(dial)
        self._advance(dial, at)

    def _associate(self, dial: _Dial, places: list[Place]) -> Reached | Unreached:
        """Datagrams need no answer: whether somebody takes them is not known."""
        made = associate(places, self._reach.descriptors)
        if not isinstance(made, Connected):
            return unreached(dial.target, made)
        reached = address(dial.target, made.place)
        dial.ruling.reached(reached)
        return Reached(made.sock, reached)

    def _time_of(self, dial: _Dial) -> float:
        """When it is to be looked at though its sockets are silent."""
        if dial.race is None or self._waits_for_another(dial):
            return dial.deadline
        return dial.race.next_at

    def _waits_for_another(self, dial: _Dial) -> bool:
        return dial.target.kind == Kind.UNIX and self._paths[dial.target.host][0] is not dial

    def _call_at(self, at: float) -> None:
        self._next = at if self._next is None else min(self._next, at)

    def _advance(self, dial: _Dial, at: float) -> None:
        """Goes on with one dial; where it ends and others waited for it (a unix socket's), with these."""
        while (decided := self._look(dial, at)) is not None:
            self._end(dial)
            self._decide(dial.number, decided)
            if dial.target.host not in self._paths:
                return
            dial = self._paths[dial.target.host][0]
        self._call_at(self._time_of(dial))

    def _look(self, dial: _Dial, at: float) -> Reached | Unreached | None:
        """What became of it, if that can be told by now."""
        race = dial.race
        if race is None:
            late = Unreached(Reply.EXPIRED, f"cannot find {foreign(dial.target.host)}: no answer in time")
            return late if at >= dial.deadline else None
        if self._waits_for_another(dial) and at < dial.deadline:
            return None
        if (won := race.advance(at)) is not None:
            return self._won(dial, won, at)
        return unreached(dial.target, race.failed.values()) if race.over else None

    def _won(self, dial: _Dial, won: Connected, at: float) -> Reached:
        self._reach.remembered.worked(dial.target.host, dial.target.port, dial.places, won.place, at)
        reached = address(dial.target, won.place)
        dial.ruling.reached(reached)
        return Reached(won.sock, reached)

    def _decide(self, number: int, decided: Reached | Unreached) -> None:
        self._decided.append((number, decided))

    def _end(self, dial: _Dial) -> None:
        """It is under way no longer: its sockets are closed, but for the one that won."""
        self._dials.pop(dial.number, None)
        if dial.race is not None:
            dial.race.close()
        if (lookup := dial.lookup) is not None:
            dial.lookup = None
            self._joined[lookup].remove(dial)
            if not self._joined[lookup] and self._reach.resolvers.drop(lookup):
                self._forget(lookup)
        if (queue := self._paths.get(dial.target.host)) is not None and dial in queue:
            queue.remove(dial)
            if not queue:
                del self._paths[dial.target.host]


def _close(decided: Reached | Unreached) -> None:
    if isinstance(decided, Reached):
        decided.sock.close()
