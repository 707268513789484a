#!/usr/bin/env python3
"""Carries much data through a real server and a real client, up and down; fails when one of them grows by 32 MiB.

    bench/big_transfer.py [--mib 1024]

Prints the speed of each direction, and how much memory each process took for it: the highest resident size since it
was ready. On loopback, so the speed is that of the processors alone: four of its ends share them.
"""

from __future__ import annotations

import argparse
import hashlib
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from program import Process, Site
from targets import CHUNK, Target, dial, drain

MIB = 1 << 20
GROWTH_MAX = 32 * MIB
BLOCK = bytes(range(256)) * (MIB // 256)


def resident(process: Process, field: str) -> int:
    """VmRSS (now) or VmHWM (the highest so far) of a process, in bytes."""
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"this kernel does not tell {field}")


def give(sock: socket.socket, mib: int) -> None:
    """Sends that much, and an end."""
    for _ in range(mib):
        sock.sendall(BLOCK)
    sock.shutdown(socket.SHUT_WR)


def expected(mib: int) -> tuple[int, str]:
    """What `drain` returns of it."""
    digest = hashlib.sha256()
    for _ in range(mib):
        digest.update(BLOCK)
    return mib * MIB, digest.hexdigest()


def count(sock: socket.socket) -> int:
    """How many bytes come until the end; the hash of `drain` would take longer than the tunnel."""
    buffer, size = bytearray(4 * CHUNK), 0
    while n := sock.recv_into(buffer):
        size += n
    return size


def up(sock: socket.socket, mib: int) -> None:
    """The target says what came."""
    give(sock, mib)
    assert sock.recv(CHUNK) == str(mib * MIB).encode()


def down(sock: socket.socket, mib: int) -> None:
    """The target gives what we ask for."""
    sock.sendall(f"{mib}\n".encode())
    assert count(sock) == mib * MIB


def answer_count(sock: socket.socket) -> None:
    """The target of `up`."""
    sock.sendall(str(count(sock)).encode())


def answer_bytes(sock: socket.socket) -> None:
    """The target of `down`."""
    give(sock, int(sock.recv(64)))


def unchanged(port: int, mib: int) -> bool:
    """Whether that much comes down bit by bit as it was given."""
    with dial(port) as sock:
        sock.sendall(f"{mib}\n".encode())
        return drain(sock) == expected(mib)


def timed(carry: Callable[[socket.socket, int], None], port: int, mib: int) -> float:
    """Seconds for one direction."""
    with dial(port) as sock:
        began = time.monotonic()
        carry(sock, mib)
        return time.monotonic() - began


def main() -> int:
    """Runs both directions; exit code 1 when a process took too much memory or changed a byte."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--mib", type=int, default=1024, help="how much in each direction; 1024 MiB by default")
    mib = parser.parse_args().mib
    with (
        tempfile.TemporaryDirectory() as place, Site(Path(place)) as site,
        Target(answer_count) as counting, Target(answer_bytes) as giving,
    ):  # fmt: skip
        server = site.serve()
        specs = (f"0:127.0.0.1:{target.port}" for target in (counting, giving))
        client = site.forward(site.profile("bench", server.port), *specs)
        both = {"server": server, "client": client}
        before = {name: resident(process, "VmRSS") for name, process in both.items()}
        for name, carry, port in (("up", up, client.ports[0]), ("down", down, client.ports[1])):
            seconds = timed(carry, port, mib)
            print(f"{name:6} {mib} MiB in {seconds:.2f} s: {mib / seconds:.0f} MiB/s")
        grown = {name: resident(process, "VmHWM") - before[name] for name, process in both.items()}
        for name, growth in grown.items():
            print(f"{name:6} {before[name] / MIB:.1f} MiB when ready, {growth / MIB:+.1f} MiB at most since")
        good = unchanged(client.ports[1], min(mib, 64))
    return 0 if good and max(grown.values()) < GROWTH_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
