#!/usr/bin/env python3
"""Many streams of a real server and a real client on loopback: whether one stalls, is left behind, or slows another.

    bench/streams.py [WHAT...] [--runs 50] [--streams 10000] [--at-once 50] [--rounds 5] [--seconds 3] [--sessions N]

WHAT, all without it; each ends with a line that says what should be, and the exit code is 1 where it is not:

    iperf     `iperf3 --bidir`, `-P 8` and both, so many runs of a second each. One that fails, or ends more than 10 s
              after it was due, is a stall
    short     short streams one after another, and then at once. What server and client hold is afterwards as before:
              descriptors, threads, sessions and streams (SIGUSR1), and bytes in the kernel's queues of their sockets;
              how much their resident memory grew is told, too
    stuck     a stream whose reader does not read, beside a fast one in the same session: the fast one's MB/s alone and
              beside it, in turns, down and up; the medians' ratio is 0.9 or more

`short` and `stuck` use one session, unless --sessions says otherwise: each further one holds threads and descriptors
until it was idle for 5 minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import ends  # noqa: E402
from ends import Carried, Far, Iperf, Stuck  # noqa: E402
from figures import figure, head, median, row  # noqa: E402
from holdings import alike, left, queues, settled  # noqa: E402
from program import Site  # noqa: E402

KEPT = 0.9  # of its speed, for a fast stream beside a stuck one
WARM_UP = 100  # streams before the first look
LONG = 1e6  # seconds: for a stream that is to be stuck
QUESTION = b"how much is left behind?"
RUNS = {"--bidir": ["--bidir"], "-P 8": ["-P", "8"], "-P 8 --bidir": ["-P", "8", "--bidir"]}

Way = Callable[[int, float], Carried]


class Pair:
    """A server, and a client that forwards to some ports, in a folder of their own."""

    def __init__(self, site: Site, targets: list[int], sessions: int) -> None:
        self.server = site.serve()
        specs = [f"0:{ends.LOOPBACK}:{port}" for port in targets]
        words = ("--sessions", sessions) if sessions else ()
        self.client = site.forward(site.profile("streams", self.server.port), *specs, words=words)
        self.port = self.client.port


@contextmanager
def pair(targets: list[int], sessions: int) -> Iterator[Pair]:
    """One that runs meanwhile."""
    with tempfile.TemporaryDirectory(prefix="streams-") as place, Site(Path(place)) as site:
        yield Pair(site, targets, sessions)


# -- iperf ------------------------------------------------------------------------------------------------------------


def iperf(words: argparse.Namespace) -> bool:
    """Whether none of the runs stalls."""
    if not Iperf.here:
        print("iperf: skipped, iperf3 is not installed", flush=True)
        return True
    print(head(["iperf3", "runs", "stalls", "MB/s, median", "least"]), flush=True)
    stalls = 0
    with Iperf() as far, pair([far.port], words.sessions) as tunnel:
        for name, more in RUNS.items():
            runs = [_one_run(far, tunnel.port, name, number, more) for number in range(words.runs)]
            speeds = [speed for speed in runs if speed]
            stalls += (lost := len(runs) - len(speeds))
            least = figure(min(speeds)) if speeds else "–"
            print(row([name, str(len(runs)), str(lost), median(speeds), least]), flush=True)
    return verdict(not stalls, "no run stalled")


def _one_run(far: Iperf, port: int, name: str, number: int, more: list[str]) -> float:
    """MB/s in all directions together; 0 when it stalled."""
    try:
        return far.run(port, 1, *more).speed
    except Stuck as why:
        print(f"streams.py: {name}, run {number + 1}: {why}", file=sys.stderr)
        far.again()
        return 0.0


# -- short ------------------------------------------------------------------------------------------------------------


def short(words: argparse.Namespace) -> bool:
    """Whether both processes hold as much afterwards as before."""
    good = True
    print(head(["short streams", "seconds each", "left behind by the server", "by the client"]), flush=True)
    with Far() as far, pair([far.port], words.sessions or 1) as tunnel:
        both = [tunnel.server, tunnel.client]
        for how, at_once in (("one after another", 1), (f"{words.at_once} at once", words.at_once)):
            _ask_all(tunnel.port, WARM_UP, at_once)
            before = settled(both, lambda held: all(each.streams == each.queued == 0 for each in held))
            began = time.monotonic()
            failed = _ask_all(tunnel.port, words.streams, at_once)
            each = (time.monotonic() - began) / words.streams
            after = settled(both, partial(alike, before))
            good &= not failed and alike(before, after)
            print(row([f"{words.streams:,} {how}", f"{each:.6f}", *map(left, before, after)]), flush=True)
            if failed:
                print(f"streams.py: {len(failed)} failed, the first with: {failed[0]}", file=sys.stderr)
    return verdict(good, "nothing was left behind")


def _ask_all(port: int, count: int, at_once: int) -> list[str]:
    """Why some of them failed."""

    def ask(_: int) -> str:
        try:
            ends.ask(port, QUESTION)
            return ""
        except (OSError, Stuck) as why:
            return str(why) or type(why).__name__

    with ThreadPoolExecutor(at_once) as threads:
        return [why for why in threads.map(ask, range(count)) if why]


# -- stuck ------------------------------------------------------------------------------------------------------------


def stuck(words: argparse.Namespace) -> bool:
    """Whether a fast stream keeps its speed."""
    good = True
    print(head(["a fast stream", "alone, MB/s", "beside a stuck one, MB/s", "ratio"]), flush=True)
    ways: dict[str, tuple[Way, Callable[[int], Stall]]] = {"down": (ends.down, Unread), "up": (ends.up, Untaken)}
    with Far() as far, pair([far.port], words.sessions or 1) as tunnel:
        for name, (carry, stall) in ways.items():
            speeds: dict[str, list[float]] = {"alone": [], "beside": []}
            for number in range(words.rounds):
                for how in sorted(speeds, reverse=number % 2 == 1):
                    with stall(tunnel.port) if how == "beside" else nullcontext():
                        speeds[how].append(carry(tunnel.port, words.seconds).speed)
            alone, beside = (statistics.median(each) for each in speeds.values())
            good &= beside >= KEPT * alone
            print(row([name, figure(alone), figure(beside), f"{beside / alone:.2f}"]), flush=True)
    return verdict(good, f"the ratio is {KEPT} or more")


class Stall:
    """A stream that is stuck, from `with` until its end."""

    FIRST = b""

    def __init__(self, port: int) -> None:
        self._sock = ends.dial(port, self.FIRST)

    def _full(self) -> None:
        """Returns when nothing more fits."""

    def __enter__(self) -> Stall:
        self._full()
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()


class Unread(Stall):
    """The target gives without end, and we do not read: its bytes fill our socket, and then wait in the client."""

    FIRST = b"g" + ends.SECONDS.pack(LONG)

    def _full(self) -> None:
        inode = f"socket:[{os.stat(self._sock.fileno()).st_ino}]"
        sizes = [-1, -2]
        while sizes[-1] != sizes[-2] or not sizes[-1]:
            time.sleep(0.3)
            sizes.append(queues(os.getpid()).get(inode, 0))


class Untaken(Stall):
    """We give without end, and the target does not read: our bytes fill its socket, and then wait in the server."""

    FIRST = b"i"

    def _full(self) -> None:
        self._sock.settimeout(0.5)
        with suppress(TimeoutError):
            while True:
                self._sock.send(ends.BLOCK)


# -- all --------------------------------------------------------------------------------------------------------------


def verdict(good: bool, what: str) -> bool:
    """Tells what should be, and whether it is."""
    print(f"\n{what}: {'yes' if good else 'NO'}\n", flush=True)
    return good


ALL: dict[str, Callable[[argparse.Namespace], bool]] = {"iperf": iperf, "short": short, "stuck": stuck}


def main() -> int:
    """Exit code 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"some of: {', '.join(ALL)}")
    parser.add_argument("--runs", type=int, default=50, help="of iperf3, of each kind; 50 by default")
    parser.add_argument("--streams", type=int, default=10_000, help="short ones; 10,000 by default")
    parser.add_argument("--at-once", type=int, default=50, help="50 by default")
    parser.add_argument("--rounds", type=int, default=5, help="beside a stuck stream; 5 by default")
    parser.add_argument("--seconds", type=int, default=3, help="that a fast stream runs; 3 by default")
    parser.add_argument("--sessions", type=int, default=0, help="--sessions of forward")
    words = parser.parse_args()
    if unknown := set(words.what) - set(ALL):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    verdicts = [ALL[name](words) for name in words.what or ALL]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
