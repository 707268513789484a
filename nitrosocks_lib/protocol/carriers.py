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


def patience(round_trip: float) -> float:
    """Seconds that one may take to bring an answer, by those that a connection takes: some boxes hang for ever."""
    return min(max(limits.CARRIER_PATIENCE, 4 * round_trip), limits.DIAL)
