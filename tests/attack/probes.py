"""Strangers probe a server of ours with an nginx behind it as decoy, and an nginx with TLS of its own: what differs?

    python tests/attack/probes.py [--kind KIND ...] [--few N] [--against nginx|none] [--times] [--pairs 200] [--show 3]

Each of some 1,700 probes is made at both, which have one site, one certificate and the same settings. Compared are the
bytes of the answer, TLS messages and alerts, and how it ends: close_notify, FIN or RST, and whether the server still
reads behind it. Prints a table of kinds and differences; exits 1 when there is one that is not known (KNOWN).
--against nginx makes both the same nginx: what is told then is the test's own noise. --against none: our server without
a decoy answers nothing at all. --times: pairs of the same probe in turn, and whether a rank test tells them apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "support"), str(HERE)]

import nginx  # noqa: E402
import probelist  # noqa: E402
import ranks  # noqa: E402
from probelist_tls import GET, TLS  # noqa: E402
from program import Site  # noqa: E402
from prober import Probe, Seen, prober  # noqa: E402

from nitrosocks_lib.facts import limits  # noqa: E402
from nitrosocks_lib.files.profiles import load_profile  # noqa: E402
from nitrosocks_lib.protocol import greet  # noqa: E402

AT_ONCE = 24
TRIES = 2
SEEN, UNSEEN = 8, 120
TOLD = ("end", "said", "handshake", "reused")


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one probe: what it is in, what nginx showed, and what ours did."""

    probe: Probe
    what: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.probe.kind}: {self.probe.name}: {self.what}: nginx {self.theirs} | ours {self.ours}"


class Stage(ExitStack):
    """`theirs` and `ours` are ports; `greetings` and `tokens` are for `probelist.every`."""

    def __init__(self, place: Path, against: str = "decoy", settings: tuple[int, ...] = ()) -> None:
        super().__init__()
        site = self.enter_context(Site(place))
        assert site.run("keygen", "--home", site.home).returncode == 0
        web = nginx.start(site, site.home / "tls.crt", site.home / "tls.key", times=settings)
        words = ["--decoy", f"127.0.0.1:{web.plain}"] if against == "decoy" else []
        server = site.serve(*words)
        credentials = load_profile(site.profile("alice", server.port)).credentials
        self.theirs, self.ours = web.secure, web.secure if against == "nginx" else server.port
        first = [_greeting(credentials) for _ in range(SEEN + UNSEEN)]
        self.greetings = first[:SEEN], first[SEEN:]
        self.tokens: dict[str, str] = {}
        for each in self.greetings[0]:
            said = prober(server.port, Probe("", "", (TLS, ("say", each), ("pause", 0.3))), 0.0)
            assert said.said, "it is one of ours, and is answered"

    def probes(self, seed: int = 1) -> list[Probe]:
        return probelist.every(seed, self.greetings, self.tokens)


def _greeting(credentials: greet.Credentials) -> bytes:
    said = next(greet.greet(credentials, int(time.time()) // 3600, limits.WINDOW, os.urandom))
    assert isinstance(said, bytes)
    return said


def compare(stage: Stage, probes: list[Probe]) -> Iterator[list[Difference]]:
    """Makes each at both, many side by side, and tells in what they differ; in order.

    Where they do it is made again, and what differed counts if it does each time: who is first is chance in some.
    """

    def both(probe: Probe) -> list[Difference]:
        for _ in range(TRIES):
            found = differences(probe, prober(stage.theirs, probe), prober(stage.ours, probe))
            if not found:
                break
        return found

    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(both, probes)


def differences(probe: Probe, theirs: Seen, ours: Seen) -> list[Difference]:
    """In what the two differ."""
    pairs = [(what, getattr(theirs, what), getattr(ours, what)) for what in TOLD]
    return [Difference(probe, what, _short(one), _short(other)) for what, one, other in pairs if one != other]


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)})"


def table(probes: list[Probe], found: list[Difference]) -> str:
    """Kinds of probes, and how many of them differed in what."""
    made = Counter(probe.kind for probe in probes)
    differ: dict[str, Counter[str]] = defaultdict(Counter)
    for each in found:
        differ[each.probe.kind][each.what] += 1
    lines = [f"| probes | made | {' | '.join(TOLD)} |", f"|---|---|{'---|' * len(TOLD)}"]
    lines += [f"| {kind} | {made[kind]} | {' | '.join(str(differ[kind][what]) for what in TOLD)} |" for kind in made]
    total = Counter(each.what for each in found)
    return "\n".join([*lines, f"| all | {len(probes)} | {' | '.join(str(total[what]) for what in TOLD)} |"])


# -- times --------------------------------------------------------------------------------------------------------------


def times(stage: Stage, probe: Probe, pairs: int) -> tuple[list[Seen], list[Seen]]:
    """The same probe at both in turn, one at a time; who is first changes."""
    theirs: list[Seen] = []
    ours: list[Seen] = []
    for number in range(pairs):
        sides = [(theirs, stage.theirs), (ours, stage.ours)]
        for into, port in sides if number % 2 else reversed(sides):
            into.append(prober(port, probe))
    return theirs, ours


def timed(stage: Stage, probe: Probe, pairs: int) -> tuple[str, bool]:
    """A line of the table, and whether they could not be told apart."""
    theirs, ours = times(stage, probe, pairs)
    cells, alike = [f"{probe.kind}: {probe.name}"], True
    for when in ("first", "ended"):
        one, other = ([getattr(each, when) * 1000 for each in side] for side in (theirs, ours))
        p = ranks.p_value(one, other)
        cells += [f"{statistics.median(one):.2f}", f"{statistics.median(other):.2f}", f"{p:.2g}"]
        alike &= p >= 0.01
    return f"| {' | '.join(cells)} |", alike


def _of_times(stage: Stage) -> list[Probe]:
    wanted = {("random bytes", "300"), ("requests", "GET /"), ("requests", "GET /nothing"), ("replays", "0 whole"),
              ("other protocols", "HTTP/2 preface"), ("tokens", "nobody's 0 down"), ("mutations", "0"),
              ("half-close", "nothing, FIN"), ("handshakes", "common, and FIN"), ("without TLS", "GET")}  # fmt: skip
    return [each for each in stage.probes() if (each.kind, each.name.split(" at ")[0]) in wanted]


# -- the script ---------------------------------------------------------------------------------------------------------


def run(stage: Stage, probes: list[Probe], show: int) -> list[Difference]:
    """Prints what differs, some of each kind, and the table."""
    found: list[Difference] = []
    shown: Counter[tuple[str, ...]] = Counter()
    for differ in compare(stage, probes):
        for each in differ:
            found.append(each)
            short = each.probe.kind, each.what, *((each.theirs, each.ours) if each.what == "end" else ())
            shown[short] += 1
            if shown[short] <= show:
                print(each, flush=True)
    print(table(probes, found), flush=True)
    return found


def main() -> int:
    """Prints the tables; 1 when something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="*", default=[])
    parser.add_argument("--few", type=int, default=0)
    parser.add_argument("--against", choices=("decoy", "nginx", "none"), default="decoy")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Stage(Path(place), options.against) as stage:
        if options.times:
            print("| probe | first byte: nginx, ms | ours | p | end: nginx, ms | ours | p |\n|---|---|---|---|---|---|---|")
            told = [timed(stage, each, options.pairs) for each in _of_times(stage)]
            print("\n".join(line for line, _ in told))
            return 0 if all(alike for _, alike in told) else 1
        probes = [each for each in stage.probes(options.seed) if not options.kind or each.kind in options.kind]
        if options.few:
            probes = probes[:: max(1, len(probes) // options.few)]
        began = time.monotonic()
        found = run(stage, probes, options.show)
        print(f"{len(probes)} probes in {time.monotonic() - began:.0f} s; {len(found)} differences")
        return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
