"""How long probes take at both servers of `probes.Stage`: pairs in turn, and whether a rank test tells the two apart.

On the way to both is one line (`jitter.line`), the same program with the same settings, whose jitter varies.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import jitter
import ranks
from prober import HOLD, Probe, Seen, prober

P = 0.01
SOON = 0.5  # seconds: an end that comes later is one of a time-out
AT_ONCE, APART = 48, 0.08  # of those, so many side by side, which begin so many seconds apart
KINDS = {
    ("random bytes", "300"), ("requests", "GET /"), ("requests", "GET /nothing"), ("replays", "0 whole"),
    ("other protocols", "HTTP/2 preface"), ("tokens", "nobody's 0 down"), ("mutations", "0"),
    ("half-close", "nothing, FIN"), ("handshakes", "common, and FIN"), ("without TLS", "GET"),
    ("tokens", "websocket websocket"), ("silence", "TLS"), ("silence", "behind 15 of a GET"),
    ("spoilt TLS", "bad MAC behind 1.3"),
}  # fmt: skip


@dataclass(slots=True)
class Row:
    """One probe, and what of it is timed: the first byte, else the end; of each jitter what was seen, in ms."""

    probe: Probe
    first: bool
    late: bool
    shifts: list[float] = field(default_factory=list)  # of the medians
    spreads: list[float] = field(default_factory=list)  # between the quartiles of nginx's
    chances: list[float] = field(default_factory=list)  # p

    def add(self, theirs: list[float], ours: list[float]) -> None:
        """What was seen with one jitter more."""
        quartiles = statistics.quantiles(theirs, n=4)
        self.shifts.append(statistics.median(ours) - statistics.median(theirs))
        self.spreads.append(quartiles[2] - quartiles[0])
        self.chances.append(ranks.p_value(theirs, ours))

    def alike_from(self, jitters: list[float]) -> str:
        """The jitter from which on none tells them apart."""
        told = [at for at, p in enumerate(self.chances) if p < P]
        first = told[-1] + 1 if told else 0
        return f"{jitters[first]:g}" if first < len(jitters) else "more"

    def line(self, jitters: list[float]) -> str:
        """Of the table."""
        cells = [f"{self.probe.kind}: {self.probe.name}", "first byte" if self.first else "end"]
        cells += [f"{self.shifts[0]:.2f}", *(f"{p:.2g}" for p in self.chances), self.alike_from(jitters)]
        return f"| {' | '.join(cells)} |"


def wanted(probes: list[Probe]) -> list[Probe]:
    """Those that are timed."""
    return [each for each in probes if (each.kind, each.name.split(" at ")[0]) in KINDS]


def pairs_of(ports: list[int], row: Row, pairs: int) -> tuple[list[float], list[float]]:
    """The same probe at both, in turn; who is first changes. What waits for long is made side by side. In ms."""

    def pair(number: int) -> list[Seen]:
        if row.late and number < AT_ONCE:
            time.sleep(number * APART)
        order = ports if number % 2 else ports[::-1]
        seen = {port: prober(port, row.probe, HOLD, row.first, False) for port in order}
        return [seen[port] for port in ports]

    with ThreadPoolExecutor(AT_ONCE if row.late else 1) as threads:
        both = list(threads.map(pair, range(pairs)))
    took = [[1000 * (each.first if row.first else each.ended) for each in one] for one in both]
    return [one for one, _ in took], [other for _, other in took]


def rows_of(port: int, probes: list[Probe]) -> Iterator[Row]:
    """What is timed of each."""
    for probe in wanted(probes):
        sample = prober(port, probe)
        late = sample.ended > SOON and not sample.said
        yield Row(probe, bool(sample.said), late)


def timed(ports: list[int], probes: list[Probe], pairs: int, delay: float, jitters: list[float]) -> bool:
    """Prints what was seen with each jitter, and the table; whether none could be told apart with the last one."""
    rows = list(rows_of(ports[0], probes))
    for each in jitters:
        with jitter.line(delay, each, *ports) as ends:
            for row in rows:
                theirs, ours = pairs_of(ends, row, pairs)
                row.add(theirs, ours)
                told = f"{statistics.median(theirs):.2f} ms and {row.shifts[-1]:+.2f}, spread {row.spreads[-1]:.2f}"
                print(f"{each:g}: {row.probe.kind}: {row.probe.name}: {told}, p = {row.chances[-1]:.2g}", flush=True)
    heads = " | ".join(f"p, {each:g} ms" for each in jitters)
    print(f"| probe | what | later by, ms | {heads} | alike from, ms |\n|---|---|---|{'---|' * len(jitters)}---|")
    print(*(row.line(jitters) for row in rows), sep="\n", flush=True)
    return all(row.chances[-1] >= P for row in rows)
