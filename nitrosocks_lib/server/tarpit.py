"""Connections that are not ours: read, never answered, and closed late (protocol 3.6). One thread, one selector."""

from __future__ import annotations

import heapq
import selectors
from collections import deque
from itertools import count

from ..facts import limits
from ..facts.errors import NetworkError
from ..net.link import Link
from ..net.ondemand import OnDemand
from ..net.overlong import Overlong
from ..net.timers import now
from ..net.wake import Waiter


class Tarpit:
    """`add` and `linger` may be called by any thread; they hand the link over."""

    def __init__(self, seconds: int, most: int = limits.TARPIT) -> None:
        """`seconds` after accept a connection is closed: fixed per server, so that it tells nothing.

        `most` are kept; beyond it the one whose end is next goes.
        """
        self._seconds, self._most = seconds, most
        self._added: deque[tuple[float, Link]] = deque()
        self._waiter = Waiter()
        self._reads = Overlong()
        self._thread = OnDemand("tarpit", self._run)
        self._ends: list[tuple[float, int, Link]] = []  # a heap; some may be closed already
        self._links: dict[int, Link] = {}  # by descriptor
        self._order = count()

    def __len__(self) -> int:
        return len(self._links) + len(self._added)

    def add(self, accepted: float, link: Link) -> None:
        """Takes over a link; `accepted` is when its connection was (seconds of `timers.now`).

        It is closed at once when the server ends, and where it cannot be watched.
        """
        self._take(accepted + self._seconds, link)

    def linger(self, link: Link) -> None:
        """Takes over a link that was refused: says goodbye, and leaves the peer a second to read what was written."""
        link.say_goodbye()
        self._take(now() + limits.LINGER_REFUSED, link)

    def _take(self, end: float, link: Link) -> None:
        if self._thread.give(lambda: self._added.append((end, link))):
            self._waiter.set()
        else:
            link.close(now())

    def stop(self) -> None:
        """Closes them all; the server ends."""
        self._thread.stop(self._waiter.set)
        self._waiter.close()

    def _run(self) -> None:
        rubbish = memoryview(bytearray(limits.FIRST_READ))
        while True:
            self._waiter.clear()
            if self._thread.stopped:
                break
            while self._added:
                self._enter(*self._added.popleft(), rubbish)
            self._close_due()
            wait = max(0.0, self._ends[0][0] - now()) if self._ends else None
            for link, _ in self._waiter.select(wait):
                self._read(link, rubbish)
        for link in [*self._links.values(), *(link for _, link in self._added)]:
            self._reads.close(link, now())

    def _enter(self, end: float, link: Link, rubbish: memoryview) -> None:
        try:
            self._waiter.watch(link.fd, selectors.EVENT_READ, link)
        except OSError:  # the kernel watches no more: as where there is no thread to watch
            self._reads.close(link, now())
            return
        self._links[link.fd] = link
        heapq.heappush(self._ends, (end, next(self._order), link))
        self._read(link, rubbish)

    def _read(self, link: Link, rubbish: memoryview) -> None:
        try:
            for _ in range(16):  # a flood of one must not keep the others waiting
                if not self._reads.read_some(link, rubbish):
                    return
        except NetworkError:
            self._close(link)

    def _close_due(self) -> None:
        """Those whose time it is, and the next ones while there are too many."""
        while self._ends and (len(self._links) > self._most or self._ends[0][0] <= now()):
            _, _, link = heapq.heappop(self._ends)
            if self._links.get(link.fd) is link:
                self._close(link)
        if len(self._ends) > 2 * len(self._links) + limits.TARPIT:  # most are closed already
            self._ends = [each for each in self._ends if self._links.get(each[2].fd) is each[2]]
            heapq.heapify(self._ends)

    def _close(self, link: Link) -> None:
        self._waiter.forget(link.fd)
        del self._links[link.fd]
        self._reads.close(link, now())
