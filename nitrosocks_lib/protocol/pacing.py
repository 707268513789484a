"""How much may go out at once (protocol 5, Fairness): no more than the line moved in the last 100 ms, 1 KiB at least.

So on a slow line a keystroke waits behind little. On a fast one this costs nothing: what may go out grows as fast as
the line takes it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..facts import limits

_SPAN: Final = 0.1


class Queued(NamedTuple):
    """What a kernel tells of a connection: bytes and seconds."""

    unsent: int  # not sent once
    unacknowledged: int  # these, and what the next kernel on the way has not acknowledged
    round_trip: float  # the shortest to that kernel


class Pace:
    """Owned by outbound, one for each connection. Bytes and seconds."""

    __slots__ = ("_bound", "_gone", "_looked_at", "_queued", "_since", "allowed")

    def __init__(self, now: float) -> None:
        self._since = now
        self._gone = 0
        self._looked_at = self._queued = 0  # bytes written at the last look, and what was not acknowledged then
        self._bound = False  # there was a wait since `_since`
        self.allowed = limits.PACE_FIRST

    def free(self, written: int) -> bool:
        """Whether so little was written since the last look that the next may go out without another one."""
        return 2 * (self._queued + written - self._looked_at) <= self.allowed

    def look(self, written: int, queued: Queued, now: float) -> float:
        """Of `written` bytes in all so many are queued; returns how many seconds to wait before the next.

        What left in 100 ms raises `allowed` at once, and lowers it, by half at most, only where the line was the bound:
        an idle one moves little, too. Half of it may wait unsent, so that the line does not run dry meanwhile. What is
        under way is bounded by what the line moves in a round trip and 100 ms, for more would queue at its slowest
        place. A pause is 100 ms at most: what queues now may soon be gone.
        """
        self._looked_at, self._queued = written, queued.unacknowledged
        gone = written - queued.unacknowledged
        moved, span = gone - self._gone, now - self._since
        rate = min(int(moved * _SPAN / max(span, _SPAN)), limits.PACE_MOST)
        if rate > self.allowed:
            self.allowed = rate
        elif span >= _SPAN and self._bound:
            self.allowed = max(limits.PACE_LEAST, self.allowed // 2, rate)
        if span >= _SPAN:
            self._since, self._gone, self._bound = now, gone, False
        most = self.allowed * (1 + queued.round_trip / _SPAN)
        excess = max(queued.unsent - self.allowed / 2, queued.unacknowledged - most)
        if excess <= 0:
            return 0.0
        self._bound = True
        return min(_SPAN, _SPAN * excess / self.allowed)
