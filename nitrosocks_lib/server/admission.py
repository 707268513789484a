"""Who waits before authentication, by how far it has come, and who gives way when places are scarce. Pure policy.

Each rank has places of its own, so a flood at one rank takes nothing from those who have come further. A newcomer
always gets a place: where the rank is full, one of those who hold one gives way.
"""

from __future__ import annotations

import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from enum import IntEnum
from itertools import count
from typing import Final, TypeVar

from ..facts import limits

Random = Callable[[int], int]  # below a bound, as random.randrange

_LEAST: Final = 96  # places of those without a thread, however few descriptors there are


class Rank(IntEnum):
    """How far a connection has come; what a step to the next rank costs its sender rises with it."""

    SILENT = 0  # TCP, and no whole ClientHello
    TLS = 1  # TLS under way
    UNPROVEN = 2  # TLS is done, the first Enc has not opened
    GREETING = 3  # the first Enc of a GREETING opened: one who knows the server's key
    RESUME = 4  # the same of a RESUME
    HEARD = 5  # its first message is there whole: from here on it has a thread, and never waits for the peer
    NAMED = 6  # a greeting of a client that is authorised
    RESUMING = 7  # a RESUME of a session that there is


def places(descriptors: int) -> tuple[dict[Rank, int], int]:
    """How many of each rank, and in the tarpit, where the process may have so many descriptors.

    Half of them are for those that have no session. What TLS costs is bounded first; the silent ones get the rest.
    """
    threads = {
        Rank.HEARD: limits.PLACES_HEARD,
        Rank.NAMED: limits.PLACES_NAMED,
        Rank.RESUMING: limits.PLACES_RESUMING,
    }
    left = max(descriptors // 2 - sum(threads.values()), _LEAST)
    wanted = {
        Rank.TLS: limits.PLACES_TLS,
        Rank.UNPROVEN: limits.PLACES_UNPROVEN,
        Rank.GREETING: limits.PLACES_GREETING,
        Rank.RESUME: limits.PLACES_RESUME,
    }
    with_tls = {rank: min(most, left // 8) for rank, most in wanted.items()}
    late = min(limits.TARPIT, left // 8)
    silent = min(limits.PLACES_SILENT, left - sum(with_tls.values()) - late)
    return {Rank.SILENT: silent} | with_tls | threads, late


def network(address: str) -> bytes:
    """The source network that shares are counted by: /24 of IPv4, also inside IPv6; /64 of IPv6; all else is one."""
    try:
        if "." in address:
            return socket.inet_pton(socket.AF_INET, address.rpartition(":")[2])[:3]
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8]
    except OSError:
        return b""


class Place:
    """What one connection holds; `source` is its network, and from NAMED on its client."""

    __slots__ = ("_index", "_number", "accepted", "began", "rank", "source")

    def __init__(self, source: bytes, accepted: float) -> None:
        """`accepted` in seconds, on whatever clock `overdue` is asked by."""
        self.source, self.accepted = source, accepted
        self.began = accepted  # when its handshake did: later only where those before TLS have a time of their own
        self.rank: Rank | None = None  # None: it has none (any more)
        self._number = self._index = 0


P = TypeVar("P", bound=Place)


class Held:
    """The places of one rank, in no order; not for two threads at once."""

    def __init__(self, most: int) -> None:
        """`most` of them there may be."""
        self.most = most
        self.places: list[Place] = []
        self.counts: Counter[bytes] = Counter()
        self._numbers = count(1)

    def add(self, place: Place) -> None:
        """One more; how many there may be is the caller's to look at."""
        place._number = place._number or next(self._numbers)
        place._index = len(self.places)
        self.places.append(place)
        self.counts[place.source] += 1

    def remove(self, place: Place) -> None:
        """The last one takes its position, so that it costs the same however many there are."""
        last = self.places.pop()
        if last is not place:
            self.places[place._index] = last
            last._index = place._index
        self.counts[place.source] -= 1
        if not self.counts[place.source]:
            del self.counts[place.source]

    def picked(self, random: Random) -> Place:
        """Of a few at random the one whose source has most beyond its share; where none has, the oldest.

        So a flood ends its own, many behind one address are as good as others while they are few, and a flood from
        everywhere leaves whoever is quick nearly always alone, and nobody never.
        """
        share = max(1, self.most // limits.PLACES_SHARES)
        some = [self.places[random(len(self.places))] for _ in range(limits.PLACES_PICKED)]
        return max(some, key=lambda place: (max(share, self.counts[place.source]), -place._number))


class Admission:
    """The places of one server. Not for two threads at once.

    What a call returns has lost its place, and its connection is for the caller to end.
    """

    def __init__(self, most: Mapping[Rank, int], random: Random, patience: float = 0.0) -> None:
        """`patience`: seconds since accept until TLS has to be done, where that is not a part of a handshake's."""
        self._patience = patience
        self._held = {rank: Held(most[rank]) for rank in Rank}
        self._random = random
        self._entered = 0
        self._ages: OrderedDict[Place, None] = OrderedDict()  # those without a thread, in the order of acceptance
        self._early = OrderedDict[Place, None]() if patience else self._ages  # those of them whose TLS is not done

    def __len__(self) -> int:
        return sum(len(held.places) for held in self._held.values())

    def count(self, rank: Rank) -> int:
        """How many have this rank now."""
        return len(self._held[rank].places)

    def full(self, rank: Rank) -> bool:
        """Whether one more of this rank would make another one give way."""
        return len(self._held[rank].places) >= self._held[rank].most

    def enter(self, place: Place, rank: Rank = Rank.SILENT) -> Place | None:
        """A new connection, or one that comes back from elsewhere; returns the one that gives way to it."""
        self._entered += 1
        place._number = self._entered
        (self._early if rank < Rank.UNPROVEN else self._ages)[place] = None
        return self._put(place, rank)

    def advance(self, place: Place, rank: Rank, source: bytes | None = None) -> Place | None:
        """A connection came further, and may have another source to be counted by; returns the one that gives way.

        Does nothing where it has no place any more.
        """
        if place.rank is None:
            return None
        self._held[place.rank].remove(place)
        place.source = place.source if source is None else source
        if rank >= Rank.HEARD:
            self._ages.pop(place, None)
        elif rank >= Rank.UNPROVEN and self._early is not self._ages and place in self._early:
            del self._early[place]
            self._ages[place] = None
        return self._put(place, rank)

    def leave(self, place: Place) -> bool:
        """It is authenticated, not ours, or over; False where it had no place any more."""
        if place.rank is None:
            return False
        self._held[place.rank].remove(place)
        place.rank = None
        self._ages.pop(place, None)
        self._early.pop(place, None)
        return True

    def scarce(self) -> Place | None:
        """The one that gives way where a descriptor or a thread is missing: among those that came least far."""
        for held in self._held.values():
            if held.places:
                return self._give_way(held)
        return None

    def overdue(self, now: float) -> Place | None:
        """The one without a thread whose time is over first, once it is; it keeps its place."""
        place = self._next()
        return place if place is not None and self.until(place) <= now else None

    def next_at(self) -> float | None:
        """When `overdue` has the next one; None: never."""
        place = self._next()
        return None if place is None else self.until(place)

    def _next(self) -> Place | None:
        first = [next(iter(each)) for each in (self._early, self._ages) if each]
        return min(first, key=self.until, default=None)

    def until(self, place: Place) -> float:
        """When the time of a handshake is over, or of what comes before it."""
        if self._patience and place.rank is not None and place.rank < Rank.UNPROVEN:
            return place.accepted + self._patience
        return place.began + limits.HANDSHAKE

    def _put(self, place: Place, rank: Rank) -> Place | None:
        held = self._held[rank]
        victim = self._give_way(held) if len(held.places) >= held.most else None
        place.rank = rank
        held.add(place)
        return victim

    def _give_way(self, held: Held) -> Place:
        victim = held.picked(self._random)
        self.leave(victim)
        return victim


def turns(ready: Mapping[P, float], now: float) -> list[P]:
    """In which order those go on that sent something, and when: the networks in turn, in each the most advanced.

    So no network waits behind another's many. Among equals the first goes first; but the last does while the first has
    waited for long: there is more than can be served then, and who is served is to be served in time.
    """
    first = next(iter(ready.values()), now)
    order = list(ready)[:: -1 if now > first + limits.BEHIND else 1]
    before: Counter[bytes] = Counter()
    rounds: list[tuple[int, P]] = []
    for place in sorted(order, key=lambda place: -(place.rank or 0)):
        rounds.append((before[place.source], place))
        before[place.source] += 1
    return [place for _, place in sorted(rounds, key=lambda each: each[0])]
