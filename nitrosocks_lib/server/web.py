"""Connections that are HTTP, or that the decoy serves: one thread has them all, in one selector (protocol 3.6, 6).

The entrance hands them over, and gets back what turns out to be a knock.
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from ..facts import limits
from ..net.overlong import Overlong
from ..net.timers import now
from ..net.wake import Waiter
from .admission import Held
from .decoy import Decoy
from .tarpit import Tarpit
from .visit import Visit
from .visitor import Door, Visitor

log = logging.getLogger(__name__)


class Turning(Protocol):
    """What has turns of the thread: a visit, a carrier."""

    def go_on(self) -> None:
        """Does what can be done without waiting, and asks to be told of more."""

    def close(self) -> None:
        """Ends it."""


class Web:
    """`take`, `call` and `stop` may be called by any thread; all else is the web thread's."""

    def __init__(self, door: Door, decoy: Decoy | None, tarpit: Tarpit, most: int = limits.PLACES_VISITS) -> None:
        """`most` visits there are at once; beyond them one of whoever has most gives way to the next."""
        self.door, self.decoy = door, decoy
        self.buffer = memoryview(bytearray(limits.RELAYED))
        self.reads = Overlong()
        self._tarpit = tarpit
        self._places = Held(most)
        self._live: set[Turning] = set()
        self._ready: dict[Turning, None] = {}
        self._watched: dict[int, tuple[int, Turning]] = {}
        self._due: list[tuple[float, int, Turning]] = []
        self._times: dict[Turning, list[float]] = {}  # of each, those in `_due`
        self._order = count()
        self._calls: deque[Callable[[], None]] = deque()
        self._waiter = Waiter()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._live)

    def wants(self, got: bytes) -> bool:
        """Whether a connection that begins like this is to be taken: any where there is a decoy. Any thread."""
        return self.decoy is not None or (bool(got) and self.door.can_begin(got))

    # -- what other threads call --------------------------------------------------------------------------------------

    def take(self, visitor: Visitor) -> None:
        """Takes over a connection behind its TLS, with what was read of it."""
        with self._lock:
            running = not self._stopped and (self._thread is not None or self._start())
            if running:
                self._calls.append(lambda: self._enter(visitor))
        if running:
            self._waiter.set()
        else:
            self._tarpit.add(visitor.accepted, visitor.link)

    def call(self, action: Callable[[], None]) -> None:
        """Has the web thread do something."""
        self._calls.append(action)
        self._waiter.set()

    def _start(self) -> bool:
        """False where there is no thread to be had; the next one to come tries again."""
        thread = threading.Thread(target=self._run, name="web", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def stop(self) -> None:
        """Closes them all; the server ends."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._waiter.set()
        if thread is not None:
            thread.join()
        self._waiter.close()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped:
            try:
                self.turn()
            except Exception:  # of one connection; without this thread nobody would be served any more
                log.exception("a fault of our own; the server goes on")
        for what in list(self._live):
            what.close()

    def turn(self) -> None:
        """Waits for something, and does what can be done without waiting."""
        self._waiter.clear()
        while self._calls:
            self._calls.popleft()()
        for what, _ in self._waiter.select(self._wait()):
            self._ready[what] = None
        at = now()
        while self._due and self._due[0][0] <= at:
            time, _, what = heapq.heappop(self._due)
            if what in self._times:
                self._times[what].remove(time)
                self._ready[what] = None
        ready, self._ready = self._ready, {}
        for what in ready:
            if what in self._live:
                self._run_turn(what, what.go_on)

    def _wait(self) -> float | None:
        if self._ready or self._calls:
            return 0.0
        return max(0.0, self._due[0][0] - now()) if self._due else None

    def _enter(self, visitor: Visitor) -> None:
        visit = Visit(visitor, self)
        self.join(visit)
        self.seat(visit)
        self._run_turn(visit, visit.begin)

    def _run_turn(self, what: Turning, turn: Callable[[], None]) -> None:
        try:
            turn()
        except Exception:
            log.exception("a fault of our own; the connection is over")
            what.close()

    # -- what visits call ---------------------------------------------------------------------------------------------

    def seat(self, visit: Visit) -> None:
        """It has a place; another one gives way where there are too many."""
        if visit.seated:
            return
        if len(self._places.places) >= self._places.most:
            self._places.picked(random.randrange).close()  # type: ignore[attr-defined]
        self._places.add(visit)
        visit.seated = True

    def unseat(self, visit: Visit) -> None:
        """It needs none any more."""
        if visit.seated:
            self._places.remove(visit)
            visit.seated = False

    def join(self, what: Turning) -> None:
        """From here on it has turns."""
        self._live.add(what)

    def part(self, what: Turning) -> None:
        """It is over, or another thread's."""
        self._live.discard(what)
        self._times.pop(what, None)

    def again(self, what: Turning) -> None:
        """Its turn comes again without a wait."""
        self._ready[what] = None

    def at(self, time: float, what: Turning) -> None:
        """Its turn comes at that time, at the latest."""
        times = self._times.setdefault(what, [])
        if not times or time < min(times):  # else it is asked again when the earlier one has come
            times.append(time)
            heapq.heappush(self._due, (time, next(self._order), what))
        if len(self._due) > 4 * len(self._live) + limits.PLACES_VISITS:  # most are of some that are over
            self._due = [each for each in self._due if each[2] in self._live]
            heapq.heapify(self._due)

    def watch(self, fd: int, events: int, what: Turning) -> None:
        """Tells a visit when this descriptor is ready; 0 ends that."""
        if not events:
            self.forget(fd)
        elif self._watched.get(fd) != (events, what):
            self._waiter.watch(fd, events, what)
            self._watched[fd] = events, what

    def forget(self, fd: int) -> None:
        """Ends that, before the descriptor is closed."""
        if self._watched.pop(fd, None) is not None:
            self._waiter.forget(fd)

    def leave(self, visit: Visit) -> None:
        """It is over, or another thread's."""
        self.unseat(visit)
        self.part(visit)

    def keep_waiting(self, visit: Visit) -> None:
        """What is not ours, and has no decoy: read, and closed late."""
        self._tarpit.add(visit.accepted, visit.link)
