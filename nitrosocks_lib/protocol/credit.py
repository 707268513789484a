"""Limits of streams (protocol 5, "ACK, limit"): what a receiver lets its peer send, and how that grows with use."""

from __future__ import annotations

from typing import Final

from ..facts import limits
from ..facts.errors import Violation
from ..facts.wire import Abort

_TWO: Final = 2.5  # round trips, and the time that both ends take for each


class Promises:
    """What all streams of a session were promised beyond their first windows; growth keeps within the budget."""

    __slots__ = ("budget", "grown")

    def __init__(self, budget: int = limits.PROMISES) -> None:
        self.budget = budget
        self.grown = 0  # bytes that windows have grown by


class Credit:
    """One stream's receiving side, owned by inbound; bytes of DATA, counted from the stream's beginning."""

    __slots__ = ("_first", "_promises", "_raised_at", "given", "received", "taken", "window")

    def __init__(self, window: int, promises: Promises, now: float) -> None:
        """`window` is the limit that a stream begins with."""
        self._first = self.window = window
        self._promises = promises
        self._raised_at = now
        self.given = window
        self.received = 0
        self.taken = 0

    def receive(self, size: int) -> None:
        """DATA of `size` bytes came. Raises Violation where the peer passes its limit."""
        if self.received + size > self.given:
            raise Violation("the peer sent more than its limit", Abort.LIMIT)
        self.received += size

    def take(self, size: int, now: float, round_trip: float) -> bool:
        """The local socket took `size` bytes; True when `given` is raised and to be stated.

        Who uses the whole window in two round trips waits for it: then it doubles.
        """
        self.taken += size
        if 2 * (self.given - self.taken) > self.window:
            return False
        used = self.taken + self.window - self.given
        if (now - self._raised_at) * self.window <= _TWO * round_trip * used:
            self._grow()
        self._raised_at = now
        self.given = self.taken + self.window
        return True

    def _grow(self) -> None:
        window = min(2 * self.window, max(limits.WINDOW_GROWN, self._first))
        if self._promises.grown + window - self.window <= self._promises.budget:
            self._promises.grown += window - self.window
            self.window = window

    def close(self) -> None:
        """The stream is over: its promises are."""
        self._promises.grown -= self.window - self._first
        self.window = self._first
