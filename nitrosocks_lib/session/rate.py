"""What a client may send, or be sent, in a second: one bucket for all of its sessions, and whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from ..facts import limits
from ..net.timers import TIMERS, Timer, now
from ..protocol.bucket import burst_of
from ..protocol.fair import Fair, Turn

_ANY: Final = 1 << 62  # bytes: more than any window


class Rate:
    """Of one client and direction; any thread may call it. Bytes, of what streams carry, and seconds."""

    def __init__(self, rate: int = 0, held: Callable[[], None] = lambda: None) -> None:
        """`rate` 0: there is none. `held` is called when a stream has to wait; it must not block."""
        self._lock = threading.Lock()
        self._fair = Fair(rate, now())
        self._held = held
        self._timer: Timer | None = None
        self._due = 0.0
        self._set(rate)

    def _set(self, rate: int) -> None:
        self.limited = rate > 0  # where it is False nobody need ask
        self.window = burst_of(rate) if rate else _ANY  # more need not be under way on a stream

    @property
    def rate(self) -> int:
        """0: none."""
        return self._fair.bucket.rate

    def change(self, rate: int) -> None:
        """Another rate holds from now on, also for streams that wait."""
        if rate == self.rate:
            return
        at = now()
        with self._lock:
            self._fair.bucket.change(rate, at)
            self._set(rate)
            told = self._next(at) if rate else self._fair.all()
        _tell(told)

    def take(self, turn: Turn, most: int, likely: int) -> int:
        """How many of `most` bytes may pass now, and are taken; `likely` there are so many.

        At 0 the stream has to wait: `turn.tell` is called when it is to ask again.
        """
        at, told = now(), list[Turn]()
        with self._lock:
            if not self.limited:
                return most
            taken = self._fair.ask(turn, most, likely, at)
            if not taken:
                told = self._next(at)
        if not taken:
            self._held()
        _tell(told)
        return taken

    def passes(self, turn: Turn, size: int) -> bool:
        """Whether a datagram may pass now, which does not wait; it is taken then."""
        with self._lock:
            passes = not self.limited or self._fair.passes(turn, size, now())
        if not passes:
            self._held()
        return passes

    def give_back(self, turn: Turn, size: int) -> None:
        """So much of what it took did not pass."""
        if size:
            with self._lock:
                self._fair.give_back(turn, size)

    def leave(self, turn: Turn) -> None:
        """The stream needs this direction no more."""
        with self._lock:
            self._fair.leave(turn)

    def _next(self, at: float) -> list[Turn]:
        """Whose turn it is; of the others the timer hears. Holds the lock."""
        told = list[Turn]()
        while (turn := self._fair.next(at)) is not None:
            told.append(turn)
        due = self._fair.due(at)
        if due is None:
            return told
        due = max(due, at + limits.RATE_PAUSE)
        if self._timer is None or due < self._due - limits.RATE_PAUSE:
            if self._timer is not None:
                self._timer.cancel()
            self._due, self._timer = due, TIMERS.at(due, self._look)
        return told

    def _look(self, at: float) -> None:
        """The timer."""
        with self._lock:
            self._timer = None
            self._fair.forget_told()
            told = self._next(at)
        _tell(told)


def _tell(turns: list[Turn]) -> None:
    for turn in turns:
        turn.tell()


FREE: Final = Rate()  # of whom nothing is limited
