#!/usr/bin/env python3
"""Measures what WebSocket adds to TLS: links alone, without a session, in one process and in turns.

    bench/links.py [--rounds 5] [--mib 512] [--piece 262144]

Prints CPU seconds per GiB of both ends together, one line for each kind of link, with the ratio to TLS alone. "up" is
what a client sends, which is masked.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from links import Pairs  # noqa: E402

from nitrosocks_lib.facts import limits  # noqa: E402
from nitrosocks_lib.net.link import Link  # noqa: E402
from nitrosocks_lib.net.timers import now  # noqa: E402
from nitrosocks_lib.net.wake import wait  # noqa: E402
from nitrosocks_lib.net.websocket import WebSocketLink  # noqa: E402

BOUND = 60.0  # seconds until a wait is given up
Ends = tuple[Link, Link]  # who writes, and who reads


def websocket(pairs: Pairs, up: bool) -> Ends:
    client, server = pairs.make()
    ends = WebSocketLink(client, serving=False), WebSocketLink(server, serving=True)
    return ends if up else (ends[1], ends[0])


KINDS: dict[str, Callable[[Pairs], Ends]] = {
    "TLS": lambda pairs: pairs.make(),
    "WebSocket, up": lambda pairs: websocket(pairs, True),
    "WebSocket, down": lambda pairs: websocket(pairs, False),
}


def carried(ends: Ends, size: int, piece: int) -> float:
    """CPU seconds of this process while so many bytes go through."""
    (near, far), data = ends, os.urandom(piece)

    def write() -> None:
        for _ in range(size // piece):
            near.write_all(data, now() + BOUND)

    writer, began = threading.Thread(target=write, daemon=True), time.process_time()
    writer.start()
    room, left = memoryview(bytearray(limits.BATCH * limits.FRAME_FULL + limits.CONTROL_ROOM)), size // piece * piece
    while left:
        left -= (n := far.read_some(room, len(room)))
        if left and (not n or far.dry):
            assert wait({far.fd: far.read_wants}, BOUND), "nothing comes"
    writer.join(BOUND)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512, help="in each slice")
    parser.add_argument("--piece", type=int, default=262_144, help="bytes of each write")
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(asked.rounds):
        for kind, make in KINDS.items():
            with Pairs() as pairs:
                seconds[kind].append(carried(make(pairs), asked.mib << 20, asked.piece) * 1024 / asked.mib)
    base = statistics.median(seconds["TLS"])
    for kind, each in seconds.items():
        middle = statistics.median(each)
        spread = ", ".join(f"{value:.2f}" for value in each)
        print(f"{kind:16} {middle:.2f} CPU s/GiB  x{middle / base:.2f}  ({spread})")


if __name__ == "__main__":
    main()
