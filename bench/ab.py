#!/usr/bin/env python3
"""Measures checkouts of this program beside each other, and prints each one's figures with the ratio to the first.

    bench/ab.py [--rounds 5] [--seconds 2] [--words "--sessions 1"] NAME=DIR[,ENV=VALUE...] NAME=DIR...

DIR is a checkout (nitrosocks.py is in it); the interpreter is the one that runs this script. All variants run at once,
a server and a client each, and take turns: a slice of one figure for each of them, then the next figure. So a machine
that drifts hits all alike, and what differs is the variant. The order changes from round to round; figures are medians.

CPU time is that of server and client together, and comes first: on a machine that others use, too, it is steadier than
what is carried in a second. Each slice is one stream: iperf3 if it is installed, a sender of our own if it is not.
An "open" is a new connection and one byte echoed, through a session that stands.

    bench/ab.py before=../before after=. glibc=.,MALLOC_ARENA_MAX=4
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import ends  # noqa: E402
from ends import Carried, Far, Iperf, Stuck, cpu_seconds  # noqa: E402
from figures import head, median, ratio, row  # noqa: E402
from program import Process, Site  # noqa: E402

OPENS = 60  # connections one after another make one figure
FIGURES = (
    "up, CPU s/GB", "down, CPU s/GB", "ping, CPU µs", "open, CPU ms",
    "up, MB/s", "down, MB/s", "pings/s", "open, ms",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One NAME=DIR[,ENV=VALUE...]."""

    name: str
    tree: Path
    env: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()  # more options of its `forward`

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Raises ArgumentTypeError."""
        first, *more = text.split(",")
        name, separator, tree = first.partition("=")
        if not (name and separator and all("=" in each for each in more)):
            raise argparse.ArgumentTypeError(f"{text}: it is written NAME=DIR[,ENV=VALUE...]")
        if not (Path(tree) / "nitrosocks.py").is_file():
            raise argparse.ArgumentTypeError(f"{tree}: there is no nitrosocks.py in it")
        return cls(name, Path(tree).resolve(), dict(each.split("=", 1) for each in more))


class VariantSite(Site):
    """A server and a client of one variant, and what was measured of them."""

    def __init__(self, variant: Variant, place: Path, targets: tuple[int, ...], words: list[str]) -> None:
        """`targets` are ports that the client forwards to; `words` are more options of `forward`."""
        place.mkdir()
        super().__init__(place)
        self.variant = variant
        self._program = [sys.executable, str(variant.tree / "nitrosocks.py")]
        self.measured: dict[str, list[float]] = defaultdict(list)
        self.server = self.serve()
        specs = [f"0:{ends.LOOPBACK}:{port}" for port in targets]
        self.client = self.forward(self.profile("ab", self.server.port), *specs, words=(*words, *variant.words))

    def nitrosocks(self, *words: object, **pipes: Any) -> Process:
        """The variant's program."""
        return self.start(*self._program, *words, env=self.variant.env, **pipes)

    def run(self, *words: object, give: bytes | None = None) -> CompletedProcess[bytes]:
        """The variant's program to its end."""
        return self.call(*self._program, *words, give=give)

    @property
    def cpu(self) -> float:
        """Seconds that both processes have used."""
        return cpu_seconds(self.server.pid, self.client.pid)

    def bulk(self, name: str, carry: Callable[[], Carried]) -> None:
        """One slice of one direction."""
        before = self.cpu
        carried = carry()
        self.measured[f"{name}, CPU s/GB"].append((self.cpu - before) / (carried.size / 1e9))
        self.measured[f"{name}, MB/s"].append(carried.speed)

    def pings(self, port: int, seconds: float) -> None:
        """One slice of single bytes to and fro."""
        with ends.dial(port, b"e") as sock:
            ends.ping(sock, 0.05)
            before = self.cpu
            count = ends.ping(sock, seconds)
            self.measured["ping, CPU µs"].append(1e6 * (self.cpu - before) / count)
        self.measured["pings/s"].append(count / seconds)

    def opens(self, port: int) -> None:
        """One slice of connections."""
        taken, before = [], self.cpu
        for _ in range(OPENS):
            began = time.perf_counter()
            ends.ask(port)
            taken.append(time.perf_counter() - began)
        self.measured["open, CPU ms"].append(1e3 * (self.cpu - before) / OPENS)
        self.measured["open, ms"].append(1e3 * statistics.median(taken))


class Bench(ExitStack):
    """All variants, running, and what they lead to."""

    def __init__(self, variants: list[Variant], words: argparse.Namespace) -> None:
        super().__init__()
        self._seconds: int = words.seconds
        far = self.enter_context(Far())
        self._iperf = self.enter_context(Iperf()) if Iperf.here and not words.own else None
        targets = (far.port, self._iperf.port) if self._iperf else (far.port,)
        place = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="ab-")))
        more = shlex.split(words.words)
        self.sites = [
            self.enter_context(VariantSite(each, place / str(number), targets, more))
            for number, each in enumerate(variants)
        ]
        self._slices: dict[str, Callable[[VariantSite], None]] = {
            "up": partial(self._bulk, "up"), "down": partial(self._bulk, "down"),
            "pings": self._pings, "opens": self._opens,
        }  # fmt: skip

    def _bulk(self, name: str, site: VariantSite) -> None:
        far, *iperf = site.client.ports
        if self._iperf:
            carry = partial(self._iperf.run, iperf[0], self._seconds, *({"up": (), "down": ("-R",)}[name]))
        else:
            carry = partial({"up": ends.up, "down": ends.down}[name], far, self._seconds)
        site.bulk(name, carry)

    def _pings(self, site: VariantSite) -> None:
        site.pings(site.client.port, min(1.5, self._seconds))

    def _opens(self, site: VariantSite) -> None:
        site.opens(site.client.port)

    def round(self, number: int) -> None:
        """A slice of each figure of each variant; tells those that are stuck, and goes on."""
        first = number % len(self.sites)
        for name, measure in self._slices.items():
            for site in self.sites[first:] + self.sites[:first]:
                try:
                    measure(site)
                except (Stuck, OSError) as why:
                    print(f"ab.py: {site.variant.name}, {name}, round {number + 1}: {why}", file=sys.stderr)
                    if self._iperf and isinstance(why, Stuck):
                        self._iperf.again()


def table(sites: list[VariantSite]) -> str:
    """Figures by variants; behind those of the second and later ones the ratio to the first."""
    names = [site.variant.name for site in sites]
    return "\n".join([head(["", *names]), *(_row(name, [site.measured[name] for site in sites]) for name in FIGURES)])


def _row(name: str, measured: list[list[float]]) -> str:
    first, *others = measured
    return row([name, median(first), *(f"{median(each)} ({ratio(each, first)})" for each in others)])


def main() -> int:
    """Prints one table at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("variants", nargs="+", type=Variant.parse, metavar="NAME=DIR[,ENV=VALUE...]")
    parser.add_argument("--rounds", type=int, default=5, help="5 by default")
    parser.add_argument("--seconds", type=int, default=2, help="how long a slice of bulk is; 2 by default")
    parser.add_argument("--words", default="", help="more options of forward, in one word")
    parser.add_argument("--own", action="store_true", help="our own sender, even where iperf3 is installed")
    words = parser.parse_args()
    with Bench(words.variants, words) as bench:
        for number in range(words.rounds):
            bench.round(number)
        print(table(bench.sites))
    return 0


if __name__ == "__main__":
    sys.exit(main())
