"""Strangers who cost the web thread most, and how long a session over `http` waits for one byte meanwhile.

    python tests/attack/floods.py

Needs nginx, for the decoy. Exits 1 where a byte took longer than 2 s.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import nginx  # noqa: E402
from carried import context, pool  # noqa: E402
from decoyed import before  # noqa: E402
from seeing import REQUEST  # noqa: E402
from world import Opened, echo  # noqa: E402

SECONDS, BOUND = 6.0, 2.0
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS = {"chunks of one byte": (CHUNKED, b"1\r\nx\r\n" * 11_000), "requests in a pipeline": (b"", REQUEST * 600)}


def flood(port: int, begins: bytes, goes_on: bytes, count: int) -> None:
    """So many connections say this as fast as it is taken, until the process is killed."""
    open_: list[tuple[socket.socket, memoryview]] = []
    while True:
        while len(open_) < count:
            sock = context().wrap_socket(socket.create_connection(("127.0.0.1", port)))
            sock.sendall(begins)
            sock.settimeout(0)
            open_.append((sock, memoryview(goes_on)))
        sock, rest = open_.pop(0)
        with contextlib.suppress(BlockingIOError, socket.timeout, OSError):
            rest = rest[sock.send(rest) :] or memoryview(goes_on)
        with contextlib.suppress(OSError):
            while sock.recv(1 << 16):
                pass
        open_.append((sock, rest))


def waits(opened: Opened) -> list[float]:
    """Seconds that each byte took, there and back."""
    took, until = [], time.monotonic() + SECONDS
    while (began := time.monotonic()) < until:
        opened.near.sendall(b"x")
        assert opened.near.recv(1) == b"x"
        took.append(time.monotonic() - began)
        time.sleep(0.05)
    return took


def main() -> int:
    """Says it in lines; 1 where somebody waited for too long."""
    longest = 0.0
    with nginx.running(head=20, keep=20) as decoy, before(decoy) as world:
        opened = Opened(pool(world, "http"), world.target(echo))
        for name, said in FLOODS.items():
            for count in (1, 20):
                work = multiprocessing.get_context("fork").Process(target=flood, args=(world.port, *said, count))
                work.start()
                took = waits(opened)
                work.kill()
                work.join()
                longest = max(longest, *took)
                print(f"{name}, {count}: median {statistics.median(took):.3f} s, max {max(took):.3f} s", flush=True)
    return 0 if longest < BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
