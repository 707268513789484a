"""For a thread that has many connections: one call of OpenSSL that does not come back keeps the others not waiting.

It reads on as long as records come that bring no data, as KeyUpdate does. A peer that sends them as fast as they
are taken would have the thread for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from ..facts import limits
from .link import Link
from .timers import TIMERS

T = TypeVar("T")


class Readable(Protocol):
    """What is read; a Link is it."""

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """As Link.read_some."""

    def break_off(self) -> None:
        """As Link.break_off."""


class Overlong:
    """One thread's, whose every read goes through it. The timer thread looks at it meanwhile."""

    def __init__(self) -> None:
        self._clock = time.CLOCK_MONOTONIC
        self._thread = 0  # whose clock it is
        self._lock = threading.Lock()  # around the two below: what is broken off is not the next one
        self._link: Readable | None = None  # the one whose turn it is just now
        self._armed = False  # a look is due
        self._since = 0.0  # on that clock, when this began

    def read_some(self, link: Readable, buffer: memoryview) -> int:
        """As Link.read_some, but breaks a connection off when this takes too long; NetworkError then, too."""
        return self._watched(link, lambda: link.read_some(buffer))

    def close(self, link: Link, deadline: float) -> None:
        """As Link.close, which looks for the other side's goodbye, among whatever comes."""
        self._watched(link, lambda: link.say_goodbye(deadline))
        link.close()

    def _watched(self, link: Readable, call: Callable[[], T]) -> T:
        self._begin(link)
        try:
            return call()
        finally:
            with self._lock:
                self._link = None

    def _begin(self, link: Readable) -> None:
        if self._thread != threading.get_ident():
            self._take_clock()
        self._since = time.clock_gettime(self._clock)
        with self._lock:
            self._link = link
            if not self._armed:
                with suppress(RuntimeError):  # no thread for timers is left: nobody looks this time
                    TIMERS.after(limits.READ_LOOK, self._look)
                    self._armed = True

    def _take_clock(self) -> None:
        """What the thread works counts, where that is known: nobody is broken off because the machine is busy."""
        self._thread = threading.get_ident()
        if hasattr(time, "pthread_getcpuclockid"):
            self._clock = time.pthread_getcpuclockid(self._thread)

    def _look(self, at: float) -> float | None:
        with self._lock:
            if self._link is None:
                self._armed = False
                return None
            if time.clock_gettime(self._clock) - self._since >= limits.READ_MOST:
                self._link.break_off()
            return at + limits.READ_LOOK
