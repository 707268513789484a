"""One thread's many things, each of which has its turn when a descriptor of it is ready, or its time has come."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

from .timers import now
from .wake import Waiter

log = logging.getLogger(__name__)
_STALE: Final = 1024  # entries of the heap beyond four for each thing: most are of some that are over


class Turning(Protocol):
    """What has turns."""

    def go_on(self) -> None:
        """Does what can be done without waiting, and asks to be told of more."""

    def close(self) -> None:
        """Ends it: the thread does, or a turn failed."""


class Turns:
    """One thread's, but for `call` and `stop`."""

    def __init__(self) -> None:
        self.live: set[Turning] = set()
        self.stopped = False
        self._ready: dict[Turning, None] = {}
        self._watched: dict[int, tuple[int, Turning]] = {}
        self._due: list[tuple[float, int, Turning]] = []
        self._times: dict[Turning, list[float]] = {}  # of each, those in `_due`
        self._order = count()
        self._calls: deque[Callable[[], None]] = deque()
        self._waiter = Waiter()

    def call(self, action: Callable[[], None]) -> None:
        """Has the thread do something; any thread."""
        self._calls.append(action)
        self._waiter.set()

    def stop(self) -> None:
        """Ends all waits: `stopped` is to be looked at; any thread."""
        self.stopped = True
        self._waiter.set()

    def wait(self) -> list[Turning]:
        """Waits until something is to be done; does what was called for, and returns those whose turn it is."""
        self._waiter.clear()
        while self._calls:
            self._calls.popleft()()
        for what, _ in self._waiter.select(self._seconds()):
            self._ready[what] = None
        at = now()
        while self._due and self._due[0][0] <= at:
            time, _, what = heapq.heappop(self._due)
            if what in self._times:
                self._times[what].remove(time)
                self._ready[what] = None
        ready, self._ready = self._ready, {}
        return [what for what in ready if what in self.live]

    def _seconds(self) -> float | None:
        if self._ready or self._calls or self.stopped:
            return 0.0
        return max(0.0, self._due[0][0] - now()) if self._due else None

    def run(self) -> None:
        """The body of the thread: each has its turn until `stop`, then all are closed. A fault costs one of them."""
        while not self.stopped:
            try:
                for what in self.wait():
                    self.go_on(what)
            except Exception:  # of what it was called for
                log.exception("internal error; the thread goes on")
        self.wait()  # does what was called for meanwhile
        for what in list(self.live):
            what.close()

    def go_on(self, what: Turning) -> None:
        """Its turn; a fault ends it alone: without this thread none of the others would go on."""
        try:
            what.go_on()
        except Exception:
            log.exception("internal error; one connection or listener is closed")
            what.close()

    def close(self) -> None:
        """Gives the descriptors back; the last call."""
        self._waiter.close()

    # -- what those that have turns call ------------------------------------------------------------------------------

    def join(self, what: Turning) -> None:
        """From here on it has turns."""
        self.live.add(what)

    def part(self, what: Turning) -> None:
        """It is over, or another thread's; its descriptors are forgotten before."""
        self.live.discard(what)
        self._times.pop(what, None)

    def again(self, what: Turning) -> None:
        """Its turn comes again without a wait."""
        self._ready[what] = None

    def at(self, time: float, what: Turning) -> None:
        """Its turn comes at that time (seconds of `timers.now`), or earlier: it asks anew in each turn."""
        times = self._times.setdefault(what, [])
        if not times or time < min(times):
            times.append(time)
            heapq.heappush(self._due, (time, next(self._order), what))
        if len(self._due) > 4 * len(self.live) + _STALE:
            self._due = [each for each in self._due if each[2] in self.live]
            heapq.heapify(self._due)

    def watch(self, fd: int, events: int, what: Turning) -> None:
        """Its turn comes when this descriptor is ready; `events` as in `selectors`, 0 ends that."""
        if not events:
            self.forget(fd)
        elif self._watched.get(fd) != (events, what):
            self._waiter.watch(fd, events, what)
            self._watched[fd] = events, what

    def forget(self, fd: int) -> None:
        """Ends that, before the descriptor is closed."""
        if self._watched.pop(fd, None) is not None:
            self._waiter.forget(fd)
