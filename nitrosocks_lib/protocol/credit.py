"""Limits of streams (protocol 5, "ACK, limit"): what a receiver lets its peer send, and how that grows with use."""

from __future__ import annotations

from ..facts import limits
from ..facts.errors import Violation
from ..facts.wire import Abort


class Promises:
    """What all streams of a session were promised beyond their first windows; growth keeps within the budget."""

    __slots__ = ("budget", "grown")

    def __init__(self, budget: int = limits.PROMISES) -> None:
        self.budget = budget
        self.grown = 0  # bytes that windows have grown by


class Credit:
    """One stream's receiving side, owned by inbound; bytes of DATA, counted from the stream's beginning."""

    __slots__ = (
        "_each",
        "_first",
        "_pressed",
        "_promises",
        "_stated_at",
        "_trial",
        "_trial_since",
        "given",
        "received",
        "taken",
        "window",
    )

    def __init__(self, window: int, promises: Promises, now: float, each: bool = False) -> None:
        """`window` is the limit that a stream begins with; `each` datagram that is taken raises it (UD2)."""
        self._each = each
        self._first = self.window = window
        self._promises = promises
        self.given = self._trial = window  # _trial: a limit of which it is looked at how soon it is used up
        self._stated_at = self._trial_since = now
        self.received = 0
        self.taken = self._pressed = 0

    def receive(self, size: int) -> None:
        """DATA of `size` bytes came. Raises Violation where the peer passes its limit."""
        if self.received + size > self.given:
            raise Violation("the peer sent more than its limit", Abort.LIMIT)
        self.received += size

    def take(self, size: int, now: float, round_trip: float) -> bool:
        """The local socket took `size` bytes; True when `given` is raised and to be stated.

        The window doubles when a limit was used up, and taken, within two round trips of being stated.
        """
        self.taken += size
        used_up = self.taken >= self._trial
        if used_up and now - self._trial_since <= 2 * round_trip:
            self._grow()
        raised = self.given - self.taken <= self.window - self._step
        if raised:
            self.given, self._stated_at = self.taken + self.window, now
        if used_up:
            self._trial, self._trial_since = self.given, self._stated_at
        return raised

    def presses(self) -> bool:
        """Whether a limit that `take` raised is to be stated before an ACK is due anyhow. Many datagrams may fit into
        what is left of a window, so of these an eighth of it is taken from one time to the next."""
        if self._each and self.taken - self._pressed < self.window // 8:
            return False
        self._pressed = self.taken
        return True

    @property
    def _step(self) -> int:
        """How much is taken from one statement to the next: half of a window at most (protocol 5), of large ones less.

        The sender has only the rest of the window to go on with until it hears of the next limit; datagrams may not
        even fit into it, so each states the whole window.
        """
        if self._each:
            return 1
        return min(self.window // 2, max(limits.ACK_BYTES, self.window // 8))

    def _grow(self) -> None:
        window = min(2 * self.window, max(limits.WINDOW_GROWN, self._first))
        if self._promises.grown + window - self.window <= self._promises.budget:
            self._promises.grown += window - self.window
            self.window = window

    def close(self) -> None:
        """The stream is over: its promises are."""
        self._promises.grown -= self.window - self._first
        self.window = self._first
