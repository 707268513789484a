#!/usr/bin/env python3
"""Datagrams through `forward -L udp:`, through UDP ASSOCIATE of `-D`, and direct, in one run; prints two tables.

    bench/datagrams.py [--queries 5000] [--window 50] [--rounds 3] [--seconds 2] [--rates 1000,2000,...] [WHAT...]

WHAT, all without it:

    queries   to BIND's named, a window at once: all from one port, and each from a port of its own. Answers a second
              while none was lost for more than two seconds, and how many were never answered
    rates     datagrams of 1,200 and 9,000 bytes, one way, at a rate that grows: the highest one at which at least
              99.9% arrive, with the CPU of client and server; then how many arrive of those sent without a pause

The ways take turns; figures are medians of the rounds. A rate is kept by sending what is due each millisecond.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import naming  # noqa: E402
from figures import figure, head, median, row  # noqa: E402
from loopback import read_exactly  # noqa: E402
from naming import is_answer, question  # noqa: E402
from program import Process, Site  # noqa: E402

LOOPBACK = "127.0.0.1"
LATE = 2.0  # seconds behind which an answer is lost
SETTLE = 0.3  # seconds behind the last datagram
ROOM = 4 << 20  # bytes that ends ask the kernel for; it gives less
RATES = (1_000, 2_000, 4_000, 6_000, 8_000, 11_000, 15_000, 20_000, 30_000, 45_000)
KEPT = 0.999  # of what was sent: that much arrives at a rate which counts
Run = Callable[["Way", int, int, float], tuple[int, int]]  # size, rate, seconds: how many were sent, and came
HEAD = b"\0\0\0\1\x7f\0\0\1"  # in front of a datagram to loopback at UDP ASSOCIATE; the port follows


class Near(socket.socket):
    """Who sends: to a port, or by an association of a proxy's."""

    def __init__(self, port: int, proxy: int = 0) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        roomy(self)
        self._control: socket.socket | None = None
        if proxy:
            self._control = socket.create_connection((LOOPBACK, proxy))
            self._control.sendall(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
            port = int.from_bytes(read_exactly(self._control, 12)[10:])
        self.connect((LOOPBACK, port))
        self.settimeout(LATE)

    def close(self) -> None:
        super().close()
        if self._control is not None:
            self._control.close()


def roomy(sock: socket.socket) -> None:
    """Asks for large buffers."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, ROOM)


@dataclass(frozen=True)
class Way:
    """Where datagrams go: to a port, or by a proxy with a head in front of each."""

    name: str
    port: int
    proxy: int = 0
    head: bytes = b""
    processes: tuple[Process, ...] = ()

    def socket(self) -> socket.socket:
        return Near(self.port, self.proxy)

    def cpu(self) -> float:
        """Seconds that its processes took so far."""
        ticks = 0
        for process in self.processes:
            words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")


# -- queries ----------------------------------------------------------------------------------------------------------


def asked(way: Way, count: int, window: int, own_ports: bool) -> tuple[float, int]:
    """Answers a second, and how many never came."""
    done, lost, spent, first = 0, 0, 0.0, way.socket()
    for begin in range(0, count, window):
        numbers = range(begin, min(begin + window, count))
        socks = {n: way.socket() if own_ports else first for n in numbers}
        began = time.monotonic()
        for n, sock in socks.items():
            sock.send(way.head + question(n))
        answers = _answers(socks, own_ports, len(way.head))
        missing = sum(n not in answers for n in numbers)
        done, lost, spent = done + len(numbers) - missing, lost + missing, spent + time.monotonic() - began
        for sock in socks.values() if own_ports else ():
            sock.close()
    first.close()
    return done / spent, lost


def _answers(socks: dict[int, socket.socket], own_ports: bool, skip: int) -> set[int]:
    got: set[int] = set()
    for n, sock in socks.items():
        with suppress(TimeoutError):
            datagram = sock.recv(4096)[skip:]
            which = n if own_ports else int.from_bytes(datagram[:2], "big")
            if is_answer(datagram, which):
                got.add(which)
    return got


# -- rates ------------------------------------------------------------------------------------------------------------


def blast(send: Callable[[bytes], object], datagram: bytes, rate: int, seconds: float) -> int:
    """Sends at a rate, or without a pause where it is 0; how many."""
    sent, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        due = int(rate * passed) - sent if rate else 100
        for _ in range(due):
            with suppress(OSError):  # a full buffer is a loss, too
                send(datagram)
        sent += due
        if rate:
            time.sleep(0.001)
    return sent


def far(port: int) -> None:
    """The target, a process: counts what comes, or sends when it is told to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        roomy(sock)
        sock.bind((LOOPBACK, port))
        print(f"far:{sock.getsockname()[1]}", file=sys.stderr, flush=True)
        count = 0
        while True:
            datagram, sender = sock.recvfrom(1 << 16)
            if datagram[:1] == b"0":
                count = 0
                sock.sendto(b"0", sender)
            elif datagram[:1] == b"?":
                sock.sendto(b"%d" % count, sender)
            elif datagram[:1] == b"g":
                size, rate, seconds = datagram[1:].split()
                data = bytes(int(size))
                sent = blast(lambda each, to=sender: sock.sendto(each, to), data, int(rate), float(seconds))  # type: ignore[misc]
                time.sleep(SETTLE)
                sock.sendto(b"%d" % sent, sender)
            else:
                count += 1


def told(way: Way, sock: socket.socket, datagram: bytes) -> bytes:
    """The far end's answer, asked for until it comes."""
    while True:
        sock.send(way.head + datagram)
        with suppress(TimeoutError):
            return sock.recv(1 << 16)[len(way.head) :]


def up(way: Way, size: int, rate: int, seconds: float) -> tuple[int, int]:
    """How many were sent, and how many came."""
    with way.socket() as sock:
        told(way, sock, b"0")
        sent = blast(sock.send, way.head + b"x" * size, rate, seconds)
        time.sleep(SETTLE)
        return sent, int(told(way, sock, b"?"))


def down(way: Way, size: int, rate: int, seconds: float) -> tuple[int, int]:
    """The same from the far end."""
    with way.socket() as sock:
        told(way, sock, b"0")
        sock.send(way.head + b"g%d %d %f" % (size, rate, seconds))
        sock.settimeout(seconds + 5.0)
        came = 0
        while len(data := sock.recv(1 << 16)) >= size:
            came += 1
        return int(data[len(way.head) :]), came


@dataclass
class Best:
    """What was found of one way."""

    rate: float = 0.0  # datagrams a second that arrived
    cpu: float = 0.0  # seconds a GB
    flooded: float = 0.0  # that arrived a second, of what was sent without a pause
    lost: float = 0.0  # share of these


def best(run: Run, way: Way, size: int, words: argparse.Namespace) -> Best:
    """Goes up through the rates, past one that fails."""
    found, failed = Best(), 0
    for rate in words.rates:
        cpu = way.cpu()
        sent, came = run(way, size, rate, words.seconds)
        if sent >= 0.97 * rate * words.seconds and came >= KEPT * sent:
            found.rate, found.cpu = came / words.seconds, (way.cpu() - cpu) / (came * size / 1e9)
        elif (failed := failed + 1) == 2:
            break
    sent, came = run(way, size, 0, words.seconds)
    found.flooded, found.lost = came / words.seconds, 1 - came / sent
    return found


# -- the tables -------------------------------------------------------------------------------------------------------


def ways(site: Site, target: int) -> list[Way]:
    """To a target of loopback."""
    server = site.serve()
    profile = site.profile(f"to-{target}", server.port, "udp:127.0.0.1:*")
    forward = site.forward(profile, f"udp:0:{LOOPBACK}:{target}")
    proxy = site.proxy(profile)
    return [
        Way("direct", target),
        Way("-L udp:", forward.port, processes=(forward, server)),
        Way("UDP ASSOCIATE", 0, proxy.port, HEAD + target.to_bytes(2, "big"), (proxy, server)),
    ]


def queries(site: Site, words: argparse.Namespace) -> None:
    """One line for each way and kind of asking."""
    print(head([f"{words.queries:,} queries, {words.window} at once", "a second", "lost"]), flush=True)
    made = ways(site, naming.start(site))
    for own_ports in (False, True):
        for way in made:
            if own_ports and way.head:
                continue  # an association takes datagrams of one port
            found = [asked(way, words.queries, words.window, own_ports) for _ in range(words.rounds)]
            what = "each from a port of its own" if own_ports else "from one port"
            lost = ", ".join(str(lost) for _, lost in found)
            print(row([f"{way.name}, {what}", median([rate for rate, _ in found]), lost]), flush=True)


def rates(site: Site, words: argparse.Namespace) -> None:
    """One line for each way, size and direction."""
    cells = ["", "99.9% arrive, a second", "MB/s", "CPU s/GB", "of a flood arrive, a second", "MB/s", "lost"]
    print(head(cells), flush=True)
    target = site.start(sys.executable, __file__, "--far", 0)
    made = ways(site, int(target.err.wait("far:").rpartition(":")[2]))
    for size in (1_200, 9_000):
        for name, run in (("up", up), ("down", down)):
            for way in made:
                each = best(run, way, size, words)
                cpu = figure(each.cpu) if way.processes else ""
                kept = [figure(each.rate), figure(each.rate * size / 1e6), cpu]
                flood = [figure(each.flooded), figure(each.flooded * size / 1e6), f"{each.lost:.0%}"]
                print(row([f"{size:,} bytes {name}, {way.name}", *kept, *flood]), flush=True)


WHAT = {"queries": queries, "rates": rates}


def main() -> int:
    """Prints a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"some of: {', '.join(WHAT)}")
    parser.add_argument("--queries", type=int, default=5_000, help="5000 by default")
    parser.add_argument("--window", type=int, default=50, help="queries at once; 50 by default")
    parser.add_argument("--rounds", type=int, default=3, help="of the queries; 3 by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each rate; 2 by default")
    parser.add_argument(
        "--rates", type=lambda text: [int(word) for word in text.split(",")], default=RATES, help="datagrams a second"
    )
    parser.add_argument("--far", type=int, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.far is not None:
        far(words.far)
    if unknown := set(words.what) - set(WHAT):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in words.what or WHAT:
        with ExitStack() as stack:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="datagrams-"))
            WHAT[name](stack.enter_context(Site(Path(place))), words)
            print()
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, subprocess.SubprocessError):
        sys.exit(main())
