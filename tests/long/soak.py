"""`serve` and `forward` under all that comes in days, for half an hour; prints and draws what they hold.

    python tests/long/soak.py [--minutes N] [--streams N] [--rate MB] [--sessions N] [--seed N] [--plot FILE]

So many streams are open at once, as the local side sees it; when one is over the next begins. Each end sends 1 byte to
4 MiB, most of them little, so one direction ends long before the other. Of the streams, 1 in 16 is reset by the local
side, as many by the target; as many go where nobody listens, and as many where the client may not go. Connections are
cut every 10 s or so with RST or FIN, die in silence, or stand still for some seconds. Keys are refreshed after 4 MiB or
half a minute. A second client is started, used and stopped all the time, by SIGTERM or SIGKILL. SIGUSR1 is sent with
each look.

Exits 1 when one of these does not hold:

* SHA-256 of what each end received is that of what the other sent, of all streams that nothing above was to end;
* no end is told the end of a stream that was reset, refused, or lost with its client, before it has all of it;
* from the second third of the run to the last, no mean of either process rises by more than 10 descriptors, 3 threads
  or 4 MiB: in half an hour a slope of 1 descriptor, 0.3 threads and 0.4 MiB a minute; the first third is to settle;
* when all streams are over, descriptors, threads and sessions come back to what they were with one idle session.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from faultproxy import FaultProxy  # noqa: E402
from flatness import growth  # noqa: E402
from holdings import Held, Still, alike, left, look, settled  # noqa: E402
from loopback import dial  # noqa: E402
from plot import Panel, svg  # noqa: E402
from program import Process, Site  # noqa: E402
from traffic import NUMBER, End, Side, Target, all_descriptors, blocks, broken_off, dialling, numbered, unequal  # noqa: E402

MIB = 1 << 20
MOST = 4 * MIB  # bytes of one direction of a stream
SPAN = 1 << 30  # numbers of near ends begin at 0, those of the two targets' ends at SPAN and 2 * SPAN
NAMES = "server", "client"
LEVELS: dict[str, tuple[Callable[[Held], float], float]] = {  # by how much each may grow
    "descriptors": (lambda held: held.descriptors, 10.0),
    "threads": (lambda held: held.threads, 3.0),
    "memory, MiB": (lambda held: held.memory / MIB, 4.0),
}
LOCAL = "reset here"
KINDS = {"whole": (48, 0), LOCAL: (4, 0), "reset there": (4, 1), "nobody": (4, 2), "forbidden": (4, 3)}  # weight, -L
REFRESH, RESUME = "30s,4M", 20
LOOK, FILL, CUT = 5.0, 0.1, 10.0  # seconds between two of them
ENDING = 600.0  # seconds that all streams may take to end
IDLE = 330.0  # and then sessions that are not needed: a client gives them up after 300 s


def size(source: random.Random) -> int:
    """As often 1 to 2 bytes as 2 to 4 MiB."""
    return int(math.exp(source.uniform(0, math.log(MOST))))


def complete(end: End, other: End) -> bool:
    """Whether an end has all that the other one sent, which has ended that."""
    return not other.sending and end.got.digest() == other.sent.digest()


class Traffic:
    """The streams of all clients: what becomes of each, and what should."""

    def __init__(self, seed: int, rate: float) -> None:
        self._seed, self._random = seed, random.Random(seed)
        self.near, whole, breaking = self.sides = Side(rate), Side(), Side()
        self._targets = [
            Target(whole, lambda count: self._sent(SPAN + count)),
            Target(breaking, lambda count: broken_off(self._sent(2 * SPAN + count))),
        ]
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))  # and does not listen; nobody else can, either
        ports = [*(target.port for target in self._targets), self._nobody.getsockname()[1]]
        self.specs = [f"0:127.0.0.1:{port}" for port in ports] + ["0:127.0.0.2:1"]
        self.begun: list[tuple[str, Process, End]] = []  # by number: the kind, whose it is, and its near end
        self.stopped: set[int] = set()  # those that were open when their client was stopped

    def _sent(self, number: int) -> Iterator[bytes]:
        """What an end sends. Each begins with its number, since one may be told all of the other and be cut itself."""
        source = random.Random(f"{self._seed} {number}")
        return numbered(number, blocks(source.getrandbits(32), size(source)))

    def _sender(self, head: bytes) -> End | None:
        """The end that began with these bytes; None where they are not all there."""
        if len(head) < NUMBER.size:
            return None
        side, count = divmod(int(NUMBER.unpack(head)[0]), SPAN)
        return self.begun[count][2] if side == 0 else self.sides[side].ends[count]

    def begin(self, client: Process, kind: str | None = None) -> None:
        """One more stream through this client."""
        kind = kind or self._random.choices([*KINDS], [weight for weight, _ in KINDS.values()])[0]
        sent = self._sent(len(self.begun))
        near = dialling(client.ports[KINDS[kind][1]])
        end = End(near, broken_off(sent) if kind == LOCAL else sent)
        self.begun.append((kind, client, end))
        self.near.add(end)

    def stop(self, client: Process, number: int) -> None:
        """Sends the signal that ends a client, and its streams with it."""
        for stream, (_, owner, near) in enumerate(self.begun):
            far = self._sender(near.head)
            if owner is client and not (far and far.over and near.over):
                self.stopped.add(stream)
        client.signal(number)

    def wait(self) -> bool:
        """Until all streams are over at both sides."""
        return all(side.wait(lambda side=side: side.open == 0, ENDING) for side in self.sides)

    def faults(self) -> list[str]:
        """What went wrong, now that all is over."""
        near, far = [end for *_, end in self.begun], [end for side in self.sides[1:] for end in side.ends]
        found = [
            f"stream {number}: what came is not what was sent"
            for number in unequal(near, far)
            if self.begun[number][0] == "whole" and number not in self.stopped
        ]
        for name, ends in (("near", near), ("far", far)):
            for count, end in enumerate(ends):
                other = self._sender(end.head)
                if end.ended and not (other and complete(end, other)):
                    found.append(f"{name} end {count} of {end.bytes_got} bytes was told the end of what was cut")
        return found

    def close(self) -> None:
        everything: tuple[Any, ...] = (*self._targets, *self.sides, self._nobody)
        for closable in everything:
            closable.close()


class Soak:
    """The programs, and what is done to them: each chore yields the seconds until it goes on."""

    def __init__(self, site: Site, words: argparse.Namespace) -> None:
        self._site, self._words, self._random = site, words, random.Random(-words.seed)
        self.traffic = Traffic(words.seed, words.rate * 1e6)
        site.callback(self.traffic.close)
        server = site.serve("--refresh", REFRESH, "--resume", RESUME)
        self.proxy = site.enter_context(FaultProxy(("127.0.0.1", server.port), keep=0))
        self._profiles = [site.profile(name, self.proxy.port, "127.0.0.1:*") for name in ("stays", "visits")]
        self.client = self._forward(0)
        self.processes = [server, self.client]
        self.visitor: Process | None = None
        self.whole = True  # nothing is swallowed or stalled now
        self.samples: list[list[Held]] = []
        self.counts: Counter[str] = Counter()

    def _forward(self, which: int) -> Process:
        words = ("--sessions", self._words.sessions, "--retry")
        return self._site.forward(self._profiles[which], *self.traffic.specs, words=words)

    def streams(self) -> Iterator[float]:
        """So many are open."""
        while True:
            while self.traffic.near.open < self._words.streams:
                clients = [self.client, self.client, self.visitor or self.client]
                self.traffic.begin(self._random.choice(clients))
            yield FILL

    def looks(self) -> Iterator[float]:
        """Samples."""
        while True:
            yield LOOK
            self.samples.append([look(process) for process in self.processes])

    def cuts(self) -> Iterator[float]:
        """Whatever networks do to connections."""
        while True:
            yield self._random.expovariate(1 / CUT)
            kind = self._random.choice(("RST", "RST", "FIN", "FIN", "silence", "silence, even for new ones", "stall"))
            self.counts[kind] += 1
            if kind in ("RST", "FIN"):
                self.proxy.cut(rst=kind == "RST")
            else:
                self.whole = False
                self.proxy.stall() if kind == "stall" else self.proxy.blackhole(new=kind != "silence")
                yield self._random.uniform(1, 8)
                self.heal()

    def heal(self) -> None:
        """Nothing is swallowed or stalled any more."""
        self.proxy.unstall()
        self.proxy.restore()
        self.whole = True

    def visits(self) -> Iterator[float]:
        """A second client comes and goes."""
        while True:
            yield self._random.uniform(2, 10)
            while not self.whole:
                yield FILL
            self.visitor = self._forward(1)
            self.counts["visits"] += 1
            yield self._random.uniform(10, 40)
            self.leave(signal.SIGKILL if self._random.random() < 0.25 else signal.SIGTERM)

    def leave(self, number: int) -> None:
        """The second client ends, if there is one."""
        if self.visitor:
            self.traffic.stop(self.visitor, number)
            assert self.visitor.wait() == (0 if number == signal.SIGTERM else -number)
            self.visitor = None


def perform(chores: list[Iterator[float]], seconds: float) -> None:
    """Goes on with each when its time has come, for so long."""
    until = time.monotonic() + seconds
    due = [(time.monotonic(), number) for number, _ in enumerate(chores)]
    while due[0][0] < until:
        at, number = heapq.heappop(due)
        time.sleep(max(0.0, at - time.monotonic()))
        heapq.heappush(due, (time.monotonic() + next(chores[number]), number))


def run(soak: Soak, words: argparse.Namespace) -> list[str]:
    """All of it; what went wrong."""
    with dial(soak.proxy.port):  # a stranger, once: the thread that keeps such connections open stays
        soak.traffic.begin(soak.client, "whole")
    faults = [] if soak.traffic.wait() else ["the first stream did not end"]
    before = settled(soak.processes, Still())
    perform([soak.streams(), soak.looks(), soak.cuts(), soak.visits()], words.minutes * 60)
    soak.heal()
    faults += [*([] if soak.traffic.wait() else ["not all streams have ended"]), *soak.traffic.faults()]
    soak.leave(signal.SIGTERM)
    after = settled(soak.processes, lambda held: alike(before, held), IDLE)
    told(soak)
    for name, then, now in zip(NAMES, before, after, strict=True):
        print(f"left behind by the {name}: {left(then, now)}")
    return faults + grown(soak.samples) + ([] if alike(before, after) else ["something is left behind"])


def told(soak: Soak) -> None:
    """Prints what was done."""
    kinds = Counter(kind for kind, *_ in soak.traffic.begun)
    moved = sum(end.bytes_got for side in soak.traffic.sides for end in side.ends)
    open_now = [statistics.mean(sample[number].streams for sample in soak.samples) for number, _ in enumerate(NAMES)]
    print(f"{sum(kinds.values())} streams: {dict(kinds)}; {len(soak.traffic.stopped)} of them ended with their client")
    print(f"{moved / MIB:.0f} MiB received; {dict(soak.counts)}; {soak.proxy.connections} connections")
    print("streams at each look: server {:.0f}, client {:.0f}, as means".format(*open_now), flush=True)


def lines(samples: list[list[Held]]) -> dict[str, dict[str, list[float]]]:
    """What is judged and drawn, of each process."""
    return {
        what: {name: [of(sample[number]) for sample in samples] for number, name in enumerate(NAMES)}
        for what, (of, _) in LEVELS.items()
    }


def grown(samples: list[list[Held]]) -> list[str]:
    """Prints how much each went up, and returns what went up too much."""
    found = []
    for what, values in lines(samples).items():
        for name, line in values.items():
            more = growth(line)
            print(f"{what} of the {name}: mean {statistics.mean(line):.1f}, most {max(line):.1f}, growth {more:+.2f}")
            found += [f"the {name}'s {what} grow"] if more > LEVELS[what][1] else []
    return found


def main() -> int:
    """Runs it, draws what was held, says what failed, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--streams", type=int, default=100, help="that are open at once")
    parser.add_argument("--rate", type=float, default=4.0, help="MB a second of the local side, both ways together")
    parser.add_argument("--sessions", type=int, default=4, help="of each client, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "soak.svg", help="where the plot is written")
    words = parser.parse_args()
    all_descriptors()
    with tempfile.TemporaryDirectory(prefix="soak-") as place, Site(Path(place)) as site:
        soak = Soak(site, words)
        faults = run(soak, words)
    panels = [Panel(what, values) for what, values in lines(soak.samples).items()]
    words.plot.write_text(svg(panels, words.minutes), encoding="utf-8")
    for fault in faults[:20]:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
