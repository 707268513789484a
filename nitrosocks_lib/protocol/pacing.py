"""How much may go out at once (protocol 5, Fairness): no more than the line moved in the last 100 ms, 1 KiB at least.

So on a slow line a keystroke waits behind little. On a fast one this costs nothing: what may go out grows as fast as
the line takes it.
"""

from __future__ import annotations

from typing import Final

from ..facts import limits

_SPAN: Final = 0.1


class Pace:
    """Owned by outbound, one for each connection. Bytes and seconds."""

    __slots__ = ("_gone", "_looked_at", "_since", "_unsent", "allowed")

    def __init__(self, now: float) -> None:
        self._since = now
        self._gone = 0
        self._looked_at = self._unsent = 0  # bytes written at the last look, and what waited then
        self.allowed = limits.PACE_FIRST

    def free(self, written: int) -> bool:
        """Whether so little was written since the last look that the next may go out without another one."""
        return 2 * (self._unsent + written - self._looked_at) <= self.allowed

    def look(self, written: int, unsent: int, now: float) -> float:
        """Of `written` bytes in all `unsent` wait in the kernel; returns how many seconds to wait before the next.

        What left in 100 ms raises `allowed` at once, and lowers it, by half at most, only where the line was the
        bound: an idle one moves little, too. Half of it may wait unsent, so that the line does not run dry meanwhile.
        What waits may be much more than the line takes now, and soon be gone all the same: so 100 ms are the longest.
        """
        self._looked_at, self._unsent = written, unsent
        moved, span = written - unsent - self._gone, now - self._since
        rate = min(int(moved * _SPAN / max(span, _SPAN)), limits.PACE_MOST)
        if rate > self.allowed:
            self.allowed = rate
        elif span >= _SPAN and unsent:
            self.allowed = max(limits.PACE_LEAST, self.allowed // 2, rate)
        if span >= _SPAN:
            self._since, self._gone = now, written - unsent
        if 2 * unsent <= self.allowed:
            return 0.0
        return min(_SPAN, _SPAN * (unsent - self.allowed // 2) / self.allowed)
