"""Refreshes that follow one another in one session, under random traffic both ways at once; prints what came of it.

    python tests/long/refreshes.py [--count N] [--volume BYTES] [--seconds MOST]

Exits 1 when a byte was lost or doubled, the session had to be resumed, or the refreshes were not done in time.
"""

import argparse
import contextlib
import hashlib
import os
import socket
import sys
import threading
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from world import BOUND, Opened, World  # noqa: E402

from nitrosocks_lib.facts import limits  # noqa: E402
from nitrosocks_lib.net.timers import now  # noqa: E402
from nitrosocks_lib.server.tunnel import RefreshPolicy  # noqa: E402

BLOCK = 1 << 16
LOOK = 0.02  # seconds between two looks at the count


class Half:
    """One end of the stream: sends random bytes until `stop`, receives to the end, and keeps both digests."""

    def __init__(self, sock: socket.socket, stop: threading.Event) -> None:
        self._sock, self._stop = sock, stop
        self.sent, self.got = hashlib.sha256(), hashlib.sha256()
        self.bytes_sent = self.bytes_got = 0
        self.ended = False  # the other end has said so, after its last byte
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def join(self, seconds: float) -> None:
        """Until both directions are over, or `seconds` for each."""
        for thread in self.threads:
            thread.join(seconds)

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # a session that ended: the digests will say so
            while not self._stop.is_set():
                block = os.urandom(BLOCK)
                self._sock.sendall(block)
                self.sent.update(block)
                self.bytes_sent += len(block)
            self._sock.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while part := self._sock.recv(BLOCK):
                self.got.update(part)
                self.bytes_got += len(part)
            self.ended = True


def equal(sender: Half, receiver: Half) -> bool:
    """Whether one end has all that the other sent, and nothing else."""
    same = sender.sent.digest() == receiver.got.digest() and sender.bytes_sent == receiver.bytes_got
    return receiver.ended and same


def run(count: int, volume: int, seconds: float) -> list[str]:
    """One session until `count` refreshes are completed; prints the figures, returns what went wrong."""
    stop, far = threading.Event(), []
    there, over = threading.Event(), threading.Event()

    def serve(sock: socket.socket) -> None:
        far.append(Half(sock, stop))
        there.set()
        over.wait()  # the socket is closed when this returns

    with World(proxy=True, refresh=RefreshPolicy(every=limits.REFRESH, volume=volume)) as world:
        opened = Opened(world.pool(), world.target(serve))
        near = Half(opened.near, stop)
        assert there.wait(BOUND), "the target was not reached"
        (hosted,) = world.registry.all()
        began = now()
        while hosted.tunnel.refreshes < count and now() - began < seconds and not opened.over.is_set():
            stop.wait(LOOK)
        took, refreshes = now() - began, hosted.tunnel.refreshes
        stop.set()
        near.join(BOUND)
        far[0].join(BOUND)
        over.set()
        whole = equal(near, far[0]) and equal(far[0], near) and opened.end().ended_well
        connections = world.proxy.connections
    print(
        f"{refreshes} refreshes, {near.bytes_sent} bytes up, {far[0].bytes_sent} bytes down, {took:.1f} s,"
        f" {connections} connection(s): {'equal' if whole else 'DIFFERENT'}"
    )
    faults = {
        "what came is not what was sent": not whole,
        f"fewer than {count} refreshes": refreshes < count,
        "the connection was replaced": connections != 1,
    }
    return [fault for fault, found in faults.items() if found]


def main() -> int:
    """Runs it, says what failed, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="refreshes to complete")
    parser.add_argument("--volume", type=int, default=1 << 16, help="bytes of one key after which the next is due")
    parser.add_argument("--seconds", type=float, default=600.0, help="give up after this long")
    options = parser.parse_args()
    faults = run(options.count, options.volume, options.seconds)
    for fault in faults:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
