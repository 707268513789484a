"""Threads that look names up for all sessions of a program: few, so that dead name servers cost few threads.

The system's resolver can only be waited for. So a look-up that nobody wants any more keeps its thread until it ends.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from ..facts import limits
from ..facts.wire import Reply
from ..net.race import Place, find
from .dialling import Found, Unreached
from .reaching import unfound
from .shares import Shares

Resolve = Callable[[str, int], list[Place]]
resolve: Resolve = find
log = logging.getLogger(__name__)


class Lookup:
    """One name and port, asked for by one client (`asker`, its id). `found` is set once, before `done`."""

    __slots__ = ("asker", "done", "found", "host", "port")

    def __init__(self, asker: bytes, host: str, port: int, done: Callable[[Lookup], None]) -> None:
        """`done(lookup)` is called once, by a resolver thread, unless the look-up is dropped; it must not block."""
        self.asker, self.host, self.port, self.done = asker, host, port, done
        self.found: Found | None = None


class Resolvers:
    """At most `limits.RESOLVERS` threads, started when there is need and ended when idle; any thread may call it.

    Clients take turns. None uses more threads than are free, nor has more names than there is room for others'.
    """

    def __init__(self, resolve: Resolve = resolve) -> None:
        """`resolve(host, port)` blocks; it raises OSError or ValueError where there is no such name."""
        self._resolve = resolve
        self._changed = threading.Condition()  # its lock is around all below
        self._waiting: OrderedDict[bytes, deque[Lookup]] = OrderedDict()  # by asker; whose turn is next, first
        self._running: Counter[bytes] = Counter()  # by asker
        self._asked = Shares(limits.LOOKUPS)  # all that waits or runs
        self._threads = 0
        self._idle = 0  # of these

    def __len__(self) -> int:
        """Names that are being looked up, or wait for it."""
        return self._asked.taken

    def ask(self, lookup: Lookup) -> Unreached | None:
        """Has a name looked up; returns at once, with the reason where it cannot be."""
        with self._changed:
            if not self._asked.take(lookup.asker):
                return Unreached(Reply.GENERAL, "too many names are being looked up")
            waiting = sum(map(len, self._waiting.values()))
            if self._idle <= waiting and self._threads < limits.RESOLVERS and not self._start() and not self._threads:
                self._asked.give_back(lookup.asker)
                return Unreached(Reply.GENERAL, "there are no threads left to look it up")
            self._waiting.setdefault(lookup.asker, deque()).append(lookup)
            self._changed.notify()
        return None

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._run, name="resolver", daemon=True).start()
        except RuntimeError:  # no more of them just now; those that run will see to it
            return False
        self._threads += 1
        return True

    def drop(self, lookup: Lookup) -> bool:
        """Forgets a look-up that still waits; False where it runs, or is done."""
        with self._changed:
            queue = self._waiting.get(lookup.asker, ())
            if lookup not in queue:
                return False
            self._take(lookup)
            self._asked.give_back(lookup.asker)
            return True

    def _take(self, lookup: Lookup) -> None:
        queue = self._waiting[lookup.asker]
        queue.remove(lookup)
        if not queue:
            del self._waiting[lookup.asker]

    # -- a resolver's thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (lookup := self._next()) is not None:
            lookup.found = self._look_up(lookup)
            with self._changed:
                self._running[lookup.asker] -= 1
                if not self._running[lookup.asker]:
                    del self._running[lookup.asker]
                self._asked.give_back(lookup.asker)
                self._changed.notify_all()  # others may have waited for this share
            lookup.done(lookup)

    def _next(self) -> Lookup | None:
        """Waits for work; None when none came for long, and the thread is none of ours any more."""
        with self._changed:
            self._idle += 1
            if not self._changed.wait_for(self._is_work, limits.RESOLVERS_IDLE):
                self._idle -= 1
                self._threads -= 1
                return None
            self._idle -= 1
            asker = self._whose_turn()
            assert asker is not None, "there is work"
            lookup = self._waiting[asker][0]
            self._take(lookup)
            if asker in self._waiting:
                self._waiting.move_to_end(asker)
            self._running[asker] += 1
            return lookup

    def _is_work(self) -> bool:
        return self._whose_turn() is not None

    def _whose_turn(self) -> bytes | None:
        """Of those who wait, who uses fewer threads than are free."""
        free = limits.RESOLVERS - self._running.total()
        return next((asker for asker in self._waiting if self._running.get(asker, 0) < free), None)

    def _look_up(self, lookup: Lookup) -> Found:
        try:
            return self._resolve(lookup.host, lookup.port)
        except (OSError, ValueError) as error:
            return unfound(lookup.host, error)
        except Exception:
            log.exception("internal error while looking up a name")
            return Unreached(Reply.GENERAL, "an internal error")
