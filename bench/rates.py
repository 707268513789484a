#!/usr/bin/env python3
"""Holds a client to a rate, and measures what each of its streams gets, and how long a byte waits beside them.

    bench/rates.py [--rate 2M] [--streams 4] [--seconds 10] [--words "--sessions 1"]

A real server and client, with `up` and `down` in the client's file. In each direction so many streams carry all they
can, and one more has single bytes echoed, 10 a second. The first 3 seconds are not counted: a burst passes then.
"""

from __future__ import annotations

import argparse
import shlex
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import ends  # noqa: E402
from figures import figure, head, row  # noqa: E402
from program import Site  # noqa: E402

BURST = 3.0


class Bulk:
    """A target that takes all that comes, or gives all it can."""

    def __init__(self) -> None:
        self.listener = socket.create_server((ends.LOOPBACK, 0), backlog=1024)
        self.port = int(self.listener.getsockname()[1])

    def streams(self, port: int, up: bool, count: int, seconds: float) -> list[float]:
        """Bytes a second that each of so many streams through `port` got."""
        pairs = [(ends.dial(port), self.listener.accept()[0]) for _ in range(count)]
        for near, far in pairs:
            threading.Thread(target=_give, args=[near if up else far], daemon=True).start()
        sizes = [0] * count
        began = time.monotonic() + BURST
        readers = [
            threading.Thread(target=_read, args=[far if up else near, sizes, index, began, began + seconds])
            for index, (near, far) in enumerate(pairs)
        ]
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join()
        for sock in (end for pair in pairs for end in pair):
            sock.close()
        return [size / seconds for size in sizes]


def _give(sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(ends.BLOCK)


def _read(sock: socket.socket, sizes: list[int], index: int, began: float, until: float) -> None:
    while (at := time.monotonic()) < until:
        sock.settimeout(until - at)
        with suppress(TimeoutError):
            size = len(sock.recv(1 << 16))
            sizes[index] += size if time.monotonic() >= began else 0


def _type(port: int, waits: list[float], done: threading.Event) -> None:
    with ends.dial(port, b"e") as sock:
        ends.ping(sock, 0.05)
        done.wait(BURST)
        while not done.wait(0.1):
            began = time.monotonic()
            sock.sendall(b"k")
            sock.recv(1)
            waits.append(1000 * (time.monotonic() - began))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", default="2M")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--words", default="", help="more options of `forward`")
    asked = parser.parse_args()
    bulk = Bulk()
    print(head(["direction", "all, KB/s", "least", "most", "a byte to and fro, ms: median", "95 %"]))
    for up in (True, False):
        with ends.Far() as far, tempfile.TemporaryDirectory() as place, Site(Path(place)) as site:
            profile = site.profile("alice", (server := site.serve()).port)
            file = site.home / "clients.d" / "alice.toml"
            rate = f'up = "{asked.rate}"\ndown = "{asked.rate}"\n'
            file.write_text(rate + file.read_text())
            specs = [f"0:{ends.LOOPBACK}:{port}" for port in (bulk.port, far.port)]
            client = site.forward(profile, *specs, words=tuple(shlex.split(asked.words)))
            waits, done = list[float](), threading.Event()
            typist = threading.Thread(target=_type, args=[client.ports[1], waits, done])
            typist.start()
            cpu = ends.cpu_seconds(server.pid)
            speeds = [each / 1000 for each in bulk.streams(client.port, up, asked.streams, asked.seconds)]
            cpu = ends.cpu_seconds(server.pid) - cpu
            done.set()
            typist.join()
        cells = sum(speeds), min(speeds), max(speeds), statistics.median(waits), statistics.quantiles(waits, n=20)[-1]
        print(row(["up" if up else "down", *map(figure, cells)]), f"server {cpu:.2f} s of a core", flush=True)


if __name__ == "__main__":
    main()
