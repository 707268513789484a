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

        What left is measured over 100 ms. It lowers `allowed` only while the line was the bound: an idle line moves
        little, too. Half of `allowed` may wait unsent, so that the line does not run dry meanwhile.
        """
        self._looked_at, self._unsent = written, unsent
        moved, span = written - unsent - self._gone, now - self._since
        if moved > self.allowed:
            self.allowed = min(moved, limits.PACE_MOST)
        if span >= _SPAN:
            if unsent:
                rate = int(moved * _SPAN / span)
                self.allowed = max(limits.PACE_LEAST, self.allowed // 2, min(rate, limits.PACE_MOST))
            self._since, self._gone = now, written - unsent
        if 2 * unsent <= self.allowed:
            return 0.0
        return _SPAN * (unsent - self.allowed // 2) / self.allowed
