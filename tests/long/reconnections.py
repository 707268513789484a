"""Reconnections of one session, each followed by data; prints what they left behind and how long each one took.

    python tests/long/reconnections.py [--streams N] [--count N] [--seconds MOST]

Client, server, target and proxy are one process, whose threads and memory are compared. Linux only. Exits 1 when data
was wrong, threads or memory were left behind, the session was not the same to the end, or time was up.
"""

import argparse
import logging
import os
import socket
import statistics
import sys
import threading
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from traffic import all_descriptors  # noqa: E402
from world import Opened, World  # noqa: E402

from nitrosocks_lib.net.timers import now  # noqa: E402

BLOCK = 1 << 16  # bytes there and back after each reconnection, in all streams together
GROWTH = 32.0  # MiB of memory that may be left behind, less than this
THREADS = 2  # the last pair may not have gone yet
READ = 1 << 12  # bytes asked for at once: hundreds of threads that ask for more break the heap up, which grows then


def resident() -> float:
    """MiB of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def echo(sock: socket.socket) -> None:
    """Answers what comes, and ends when it ends."""
    while part := sock.recv(READ):
        sock.sendall(part)


def exchange(streams: list[Opened], data: bytes) -> None:
    """`data` there and back on each."""
    for opened in streams:
        opened.near.sendall(data)
    for opened in streams:
        got = bytearray()
        while len(got) < len(data):
            part = opened.near.recv(READ)
            if not part:
                raise ConnectionError("the stream ended early")
            got += part
        if got != data:
            raise ConnectionError("what came back is not what was sent")


def reconnect(world: World, streams: list[Opened], number: int) -> float:
    """Cuts the connection and has data go there and back; seconds from the cut to the first byte's echo."""
    began = now()
    if world.proxy.cut() != 1:
        raise ConnectionError("there was not one connection to cut")
    exchange([streams[number % len(streams)]], os.urandom(1))
    took = now() - began
    exchange(streams, os.urandom(max(1, BLOCK // len(streams))))
    return took


def run(count: int, streams: int, seconds: float) -> list[str]:
    """One session through `count` reconnections; prints the figures, returns what went wrong."""
    times: list[float] = []
    trouble = ""
    with World(proxy=True) as world:
        world.proxy.keep = 0  # what it would record of each connection is not to be taken for a leak
        pool, port = world.pool(), world.target(echo)
        opened = [Opened(pool, port) for _ in range(streams)]
        exchange(opened, os.urandom(max(1, BLOCK // streams)))
        sessions = world.registry.all()
        threads, memory, until = threading.active_count(), resident(), now() + seconds
        try:
            while len(times) < count and now() < until:
                times.append(reconnect(world, opened, len(times)))
        except OSError as error:
            trouble = str(error) or type(error).__name__
        threads_after, memory_after = threading.active_count(), resident()
        same = world.registry.all() == sessions and len(sessions) == 1
        connections = world.proxy.connections
    times_sorted = sorted(times) or [0.0]
    said = f"{len(times)} reconnections of one session with {streams} stream(s)"
    print(f"{said}, {connections} connections, {sum(times):.1f} s of recovery")
    print(f"threads: {threads} before, {threads_after} after")
    print(f"memory: {memory:.1f} MiB before, {memory_after:.1f} MiB after")
    print(
        f"recovery, from the cut to the echoed byte: median {statistics.median(times_sorted):.3f} s,"
        f" p95 {times_sorted[int(len(times_sorted) * 0.95)]:.3f} s, longest {times_sorted[-1]:.3f} s"
    )
    faults = {
        f"{trouble}, after {len(times)} reconnections": trouble,
        f"fewer than {count} reconnections": len(times) < count,
        "the session was replaced": not same,
        f"threads differ by more than {THREADS}": abs(threads_after - threads) > THREADS,
        f"memory grew by {GROWTH:.0f} MiB or more": memory_after - memory >= GROWTH,
    }
    return [fault for fault, found in faults.items() if found]


def main() -> int:
    """Runs it, says what failed, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1, help="streams that are open at once in the session")
    parser.add_argument("--count", type=int, default=1_000, help="reconnections")
    parser.add_argument("--seconds", type=float, default=600.0, help="give up after this long")
    options = parser.parse_args()
    logging.getLogger("nitrosocks_lib.client.outage").setLevel(logging.ERROR)  # not two lines for each
    all_descriptors()
    faults = run(options.count, options.streams, options.seconds)
    for fault in faults:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
