"""Somebody who types, and looks for the echo of each key; used by bench/networks.py."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from contextlib import suppress

PERIOD = 0.2  # seconds between two keys
SETTLED = 15  # keys in a row whose echo was seen, before something is done to the network


class Typist:
    """Types one key each 200 ms into an echo until it is left, whether or not an echo comes. It closes the socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        self._sock = sock
        self._sent: list[float] = []  # when each key was typed
        self._seen: list[float] = []  # when its echo came
        self._ended = False  # the connection has
        self._left = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._type, self._look)]

    def __enter__(self) -> Typist:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        with suppress(OSError):  # the connection may be over
            self._sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._sock.close()

    def _type(self) -> None:
        with suppress(OSError):
            while not self._left.wait(PERIOD):
                self._sent.append(time.monotonic())
                self._sock.sendall(b"k")

    def _look(self) -> None:
        with suppress(OSError):
            while piece := self._sock.recv(4096):
                with self._changed:
                    self._seen += [time.monotonic()] * len(piece)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def settle(self, keys: int = SETTLED, limit: float = 120.0) -> bool:
        """Waits until as many further keys were typed and echoed; whether they were."""
        with self._changed:
            wanted = max(len(self._seen), len(self._sent)) + keys
            self._changed.wait_for(lambda: self._ended or len(self._seen) >= wanted, limit)
            return len(self._seen) >= wanted

    def recovered(self, since: float, limit: float) -> float | None:
        """Seconds from `since` until the echo of a key came that was typed later; None when none came within `limit`,
        or the connection was lost."""

        def seen() -> float | None:
            return next((seen for sent, seen in zip(self._sent, self._seen, strict=False) if sent > since), None)

        with self._changed:
            self._changed.wait_for(lambda: self._ended or seen() is not None, limit)
            at = seen()
        return None if at is None else at - since

    def latencies(self, since: float) -> tuple[list[float], int]:
        """Seconds from key to echo of all keys typed since then, and how many have none yet: these count with the time
        that they have waited so far."""
        with self._changed:
            sent, seen = list(self._sent), list(self._seen)
        now = time.monotonic()
        missing = max(0, len(sent) - len(seen))
        ends = seen + [now] * missing
        taken = [end - at for at, end in zip(sent, ends, strict=False) if at >= since]
        return taken, min(missing, len(taken))


def described(latencies: list[float], missing: int) -> str:
    """Median, 95th percentile and the longest, in milliseconds."""
    if not latencies:
        return "no key was typed"
    ordered = sorted(1000 * each for each in latencies)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    figures = f"median {statistics.median(ordered):,.0f} ms, p95 {p95:,.0f} ms, max {ordered[-1]:,.0f} ms"
    return f"{figures} ({len(ordered)} keys{f', {missing} of them without echo so far' if missing else ''})"
