"""Connections that are not ours: read, never answered, and closed late (protocol 3.6). One thread, one poll."""

from __future__ import annotations

import select
import threading
from collections import deque

from ..facts import limits
from ..facts.errors import NetworkError
from ..net.link import Link
from ..net.timers import now
from ..net.wake import Wake


class Tarpit:
    """`add` may be called by any thread; it hands the link over."""

    def __init__(self, seconds: int) -> None:
        """`seconds` after accept a connection is closed: fixed per server, so that it tells nothing."""
        self._seconds = seconds
        self._added: deque[tuple[float, Link]] = deque()
        self._wake = Wake()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._links: dict[int, tuple[float, Link]] = {}  # by descriptor, in the order of their ends

    def __len__(self) -> int:
        return len(self._links) + len(self._added)

    def add(self, accepted: float, link: Link) -> None:
        """Takes over a link; `accepted` is when its connection was (seconds of `timers.now`).

        It is closed at once when the server ends, and where there is no thread to watch it.
        """
        with self._lock:
            if self._stopped:
                link.close(now())
                return
            if self._thread is None and not self._start():
                link.close(now())
                return
            self._added.append((accepted + self._seconds, link))
        self._wake.set()

    def _start(self) -> bool:
        """False where there is no thread to be had; the next one to come tries again."""
        thread = threading.Thread(target=self._run, name="tarpit", daemon=True)
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
        self._wake.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        rubbish = memoryview(bytearray(limits.FIRST_READ))
        while not self._stopped:
            self._wake.clear()
            while self._added:
                end, link = self._added.popleft()
                self._links[link.fd] = (end, link)
                self._read(link, rubbish)
            self._close_due()
            first = min(self._links.values(), key=lambda each: each[0], default=None)
            interest = dict.fromkeys(self._links, select.POLLIN)
            for fd in self._wake.wait(interest, None if first is None else max(0.0, first[0] - now())):
                self._read(self._links[fd][1], rubbish)
        for _, link in [*self._links.values(), *self._added]:
            link.close(now())

    def _read(self, link: Link, rubbish: memoryview) -> None:
        try:
            for _ in range(16):  # a flood of one must not keep the others waiting
                if not link.read_some(rubbish):
                    return
        except NetworkError:
            self._close(link)

    def _close_due(self) -> None:
        over = max(0, len(self._links) - limits.TARPIT)
        due = [link for at, (end, link) in enumerate(self._links.values()) if at < over or end <= now()]
        for link in due:
            self._close(link)

    def _close(self, link: Link) -> None:
        del self._links[link.fd]
        link.close(now())
