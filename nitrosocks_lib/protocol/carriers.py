"""Which carriers a client tries, in which order, and for how long (protocol 6, CA5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..facts import limits
from ..facts.wire import Carrier


class Known(NamedTuple):
    """What was learnt of the way to one server from one network."""

    carrier: Carrier  # that worked last
    since: int  # unix time
    most: int = limits.BODY  # bytes of a body that it took (HP7)


def order(offered: Sequence[Carrier], known: Known | None, unix: float) -> list[Carrier]:
    """The carriers that are offered, what worked first. After a day it is forgotten: a better one may work by now."""
    fresh = known is not None and 0 <= unix - known.since < limits.CARRIER_KNOWN
    return sorted(offered, key=lambda each: (not (fresh and known is not None and each is known.carrier), rank(each)))


def rank(carrier: Carrier) -> int:
    """Its place in the order of CA5."""
    return list(Carrier).index(carrier)


def behind(tried: Carrier, ordered: Sequence[Carrier]) -> Carrier:
    """Whose turn it is when one has failed: the next, and behind the last one the first."""
    return ordered[(ordered.index(tried) + 1) % len(ordered)]


class Turn(NamedTuple):
    """Over which carrier the next attempt to resume goes. What worked last is tried again behind each other one: mostly
    it is the network that failed, and where it is the carrier, two others are soon tried."""

    best: Carrier  # that worked last
    now: Carrier
    other: Carrier  # of the others, the one that was tried last; `best` where none was
    tried: int = 0  # others, since something worked

    def failed(self, ordered: Sequence[Carrier]) -> Turn:
        """`now` brought no answer."""
        if self.now is not self.best:
            return self._replace(now=self.best)
        other = behind(self.other, ordered)
        if other is self.best:
            other = behind(other, ordered)
        return Turn(self.best, other, other, self.tried + 1)

    def hurried(self, ordered: Sequence[Carrier]) -> bool:
        """Whether it is soon given up: not what worked, once all others have failed, too."""
        return self.now is not self.best or self.tried < len(ordered) - 1


def patience(round_trip: float) -> float:
    """Seconds that one may take to bring an answer, by those that a connection takes: some boxes hang for ever."""
    return min(max(limits.CARRIER_PATIENCE, 4 * round_trip), limits.DIAL)
