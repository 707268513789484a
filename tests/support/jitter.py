"""A line between visitors and servers, which holds each chunk for a while; a process of its own.

    python tests/support/jitter.py DELAY JITTER PORT ...

It prints a port for each PORT that it leads to, and ends with its standard input. Each chunk, each way, each connection
and each end is held for DELAY ms, and for a time beyond it that is exponentially distributed with the mean JITTER ms,
as queues are: one-sided. None overtakes another of the same direction.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER


@contextmanager
def line(delay: float, jitter: float, *ports: int) -> Iterator[list[int]]:
    """Ports that lead to those; both times in ms."""
    words = [sys.executable, Path(__file__), delay, jitter, *ports]
    process = subprocess.Popen(list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield [int(word) for word in process.stdout.readline().split()]
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


class _Line:
    """All connections, in one thread; `select` has finer time-outs than others."""

    def __init__(self, delay: float, jitter: float) -> None:
        """Both in seconds."""
        self.reads: dict[socket.socket, Callable[[], None]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._delay, self._jitter = delay, jitter
        self._draw, self._order = random.Random(), count()

    def later(self, not_before: float, action: Callable[[], None]) -> float:
        """Does it when it was held long enough; when that is."""
        more = self._draw.expovariate(1 / self._jitter) if self._jitter else 0.0
        at = max(not_before, time.monotonic() + self._delay + more)
        heapq.heappush(self._due, (at, next(self._order), action))
        return at

    def run(self, until: socket.socket | int) -> None:
        """Until that is readable."""
        while True:
            left = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            ready = select.select([until, *self.reads], [], [], left)[0]
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            for each in ready:
                if each is until:
                    return
                if each in self.reads:
                    self.reads[each]()

    def listen(self, port: int) -> int:
        """A port that leads there."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.reads[listener] = lambda: self._accept(listener, port)
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket, port: int) -> None:
        near, far = listener.accept()[0], socket.socket()
        up, down = _Way(self, near, far), _Way(self, far, near)

        def connect() -> None:
            far.connect(("127.0.0.1", port))
            down.begin()

        up.other, down.other = down, up
        up.last = self.later(0.0, connect)
        up.begin()


class _Way:
    """One direction of a connection."""

    other: _Way

    def __init__(self, line: _Line, source: socket.socket, sink: socket.socket) -> None:
        self._line, self._source, self._sink = line, source, sink
        self.last = 0.0  # when what came last goes on
        self._over = False

    def begin(self) -> None:
        self._source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line.reads[self._source] = self._read

    def _read(self) -> None:
        try:
            data = self._source.recv(CHUNK)
        except OSError:
            self._stop(self._reset)
            return
        if data:
            self.last = self._line.later(self.last, lambda: self._send(data))
        else:
            self._stop(self._end)

    def _stop(self, then: Callable[[], None]) -> None:
        self._line.reads.pop(self._source, None)
        self.last = self._line.later(self.last, then)

    def _send(self, data: bytes) -> None:
        with suppress(OSError):  # its end is told by the other way
            self._sink.sendall(data)

    def _end(self) -> None:
        with suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)
        self._over = True
        if self.other._over:
            self._close()

    def _reset(self) -> None:
        with suppress(OSError):
            self._sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._close()

    def _close(self) -> None:
        for sock in (self._source, self._sink):
            self._line.reads.pop(sock, None)
            sock.close()


if __name__ == "__main__":
    held = _Line(float(sys.argv[1]) / 1000, float(sys.argv[2]) / 1000)
    print(*[held.listen(int(port)) for port in sys.argv[3:]], flush=True)
    held.run(sys.stdin.fileno())
