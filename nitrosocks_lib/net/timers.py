"""One thread, one heap of deadlines: heartbeat, refresh, expiry, release."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable

from ..facts import limits

log = logging.getLogger(__name__)

# CLOCK_MONOTONIC stands still while a laptop sleeps; then a peer would look alive that has long given up.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_PURGE = 64  # entries; below it is not worth the while
_LONGEST_WAIT = 15.0  # Condition.wait counts CLOCK_MONOTONIC, so after a sleep it would come late


def now() -> float:
    """Seconds on the clock that all deadlines use."""
    return time.clock_gettime(_CLOCK)


def jittered(seconds: float) -> float:
    """`seconds` ± 30 % (protocol 5, Liveness)."""
    return seconds * random.uniform(1 - limits.HEARTBEAT_JITTER, 1 + limits.HEARTBEAT_JITTER)


def sooner(seconds: float) -> float:
    """`seconds` or up to 30 % less: for ages that somebody was promised, and that are not to come all at once."""
    return seconds * random.uniform(1 - limits.HEARTBEAT_JITTER, 1)


class Seldom:
    """Lines that come often are said once in a while: who floods is not to fill the log, too. One thread's."""

    def __init__(self, seconds: float = limits.SAID) -> None:
        self._seconds = seconds
        self._next: dict[str, float] = {}

    def due(self, kind: str = "") -> bool:
        """Whether a line of this kind is due; it counts as said then."""
        if now() < self._next.get(kind, float("-inf")):
            return False
        self._next[kind] = now() + self._seconds
        return True


class Timer:
    """One entry; `cancel` may be called by any thread, and again."""

    __slots__ = ("action", "cancelled", "made")

    def __init__(self, action: Callable[[float], float | None]) -> None:
        self.action = action
        self.made = now()
        self.cancelled = False

    def cancel(self) -> None:
        """The action does not start any more; one that runs now ends."""
        self.cancelled = True
        self.action = _nothing


def _nothing(_: float) -> None:
    return None


class Timers:
    """Actions run on the one timer thread, so they must not block: they set fields and wake."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._purge_at = _PURGE
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def at(self, deadline: float, action: Callable[[float], float | None]) -> Timer:
        """Runs `action(now)` at the deadline; when it returns a number, again then."""
        timer = Timer(action)
        with self._changed:
            self._push(deadline, timer)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="timers", daemon=True)
                thread.start()  # if no thread can be started, the next caller retries
                self._thread = thread
        return timer

    def after(self, seconds: float, action: Callable[[float], float | None]) -> Timer:
        """The same, `seconds` from now."""
        return self.at(now() + seconds, action)

    def _push(self, deadline: float, timer: Timer) -> None:
        if len(self._heap) >= self._purge_at:  # cancelled ones would stay until their time comes
            self._heap = [entry for entry in self._heap if not entry[2].cancelled]
            heapq.heapify(self._heap)
            self._purge_at = max(_PURGE, 2 * len(self._heap))
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > now():
                    until = self._heap[0][0] - now() if self._heap else None
                    self._changed.wait(None if until is None else min(until, _LONGEST_WAIT))
                timer = heapq.heappop(self._heap)[2]
            self._fire(timer)

    def _fire(self, timer: Timer) -> None:
        try:
            again = timer.action(now())
        except Exception:  # a fault in one session must not stop the others' timers
            log.exception("a timer failed")
            return
        if again is not None and not timer.cancelled:
            with self._changed:
                self._push(again, timer)


TIMERS = Timers()
