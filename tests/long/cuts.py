"""Transfers both ways at once through random cuts, and releases that are cut; prints what was hit and how long it took.

    python tests/long/cuts.py [--streams N] [--bytes N] [--cuts N] [--releases N] [--seed N]

The bytes are shared out among the streams, which are all open at once in one session. Exits 1 when a byte was lost or
doubled. A short run of it is in CI (tests/whole/test_reconnection.py).
"""

import argparse
import logging
import random
import statistics
import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from faultconnection import Cut, Recorded  # noqa: E402
from faultproxy import records  # noqa: E402
from traffic import End, Side, Target, all_descriptors, blocks, numbered, unequal  # noqa: E402
from world import Opened, World  # noqa: E402

from nitrosocks_lib.client import session as client_session  # noqa: E402
from nitrosocks_lib.facts import limits  # noqa: E402
from nitrosocks_lib.net.timers import now  # noqa: E402
from nitrosocks_lib.server.tunnel import RefreshPolicy  # noqa: E402

WAIT = 600.0


class Cutter:
    """Plans each connection's end: within the handshake, or after some of the data; counts where it fell."""

    def __init__(self, seed: int, cuts: int, size: int) -> None:
        self._random = random.Random(seed)
        self._left = cuts
        self._mean = size // cuts  # bytes between two cuts of data, so that all fall within the transfer
        self.planned: list[Cut] = []

    def __call__(self, number: int) -> list[Cut]:
        """The faults of connection `number`; the first is cut in its data, when there is a session."""
        if self._left == 0:
            return []
        self._left -= 1
        self.planned.append(self._plan(number))
        return self.planned[-1:]

    def _plan(self, number: int) -> Cut:
        if number == 0:
            return Cut(after=50_000, direction="up")
        draw, rst = self._random.random(), self._random.random() < 0.5
        if draw < 0.15:
            return Cut(after=self._random.randrange(600, 10_500), direction="up", rst=rst)  # most within RESUME
        if draw < 0.40:
            return Cut(after=self._random.randrange(900, 5_500), direction="down", rst=rst)  # many within RECOVERED
        after = int(self._random.expovariate(1 / self._mean)) + 12_000
        return Cut(after=after, direction=self._random.choice(("up", "down")), rst=rst)


def where(recorded: Recorded, cut: Cut) -> str:
    """In what a connection was cut, by its TLS records: each message is one record, behind those of TLS itself."""
    up, down = [], []
    for direction, data, into in (("up", recorded.up, up), ("down", recorded.down, down)):
        data = data[: cut.after] if direction == cut.direction else data  # what passed, not what came
        at = 0
        for kind, length in records(bytes(data)):
            into.append((kind, length, at + 5 + length <= len(data)))
            at += 5 + length
    resume = [whole for kind, length, whole in up if kind == 23 and length > 4_000]
    if not resume:
        return "TLS"
    if not resume[0]:
        return "RESUME"
    recovered = [whole for kind, length, whole in down if kind == 23 and 2_400 < length < 4_000]
    return "RECOVERED" if not recovered or not recovered[-1] else "data"


class Watch:
    """Counts refreshes that a loss cut short, and times each reconnection from loss to recovery."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.in_refresh = 0
        original = client_session.ClientSession._next_link

        def next_link(session, *details):
            began = now()
            self.in_refresh += session.tunnel.state.refreshing is not None
            link = original(session, *details)
            if link is not None:
                self.seconds.append(now() - began)
            return link

        client_session.ClientSession._next_link = next_link


def both_ways(size: int, streams: int, cuts: int, seed: int, watch: Watch) -> tuple[bool, Counter]:
    """`size` bytes each way at once, in so many streams; whether all ends have what was sent, and what was hit."""
    cutter, each = Cutter(seed, cuts, size), size // streams
    policy = RefreshPolicy(every=limits.REFRESH, volume=1 << 17)
    near, far = Side(), Side()
    target = Target(far, lambda count: blocks(seed - 1 - count, each))
    with World(proxy=True, plan=cutter, refresh=policy, resume=600) as world:
        pool, opened = world.pool(), []
        for number in range(streams):
            opened.append(Opened(pool, target.port))
            near.add(End(opened[-1].near, numbered(number, blocks(seed + number, each))))
        done = all(side.wait(lambda side=side: all_over(side, streams), WAIT) for side in (near, far))
        whole = done and unequal(near.ends, far.ends) == [] and all(stream.clean for stream in opened)
        hit = Counter(map(where, world.proxy.recorded, cutter.planned))
        refreshes = sum(entry.tunnel.refreshes for entry in world.registry.all())
        target.close()
        near.close()
        far.close()
    hit["refresh"] = watch.in_refresh
    hit["refreshes completed"] = refreshes
    hit["cuts"] = len(cutter.planned)
    return whole, hit


def all_over(side: Side, streams: int) -> bool:
    return len(side.ends) == streams and all(end.over for end in side.ends)


def releases(count: int, seed: int) -> tuple[bool, int]:
    """Sessions whose release is cut somewhere; whether each ended on both sides, and how many were."""
    source = random.Random(seed)
    with World(proxy=True, resume=3) as world:  # the server keeps what DISCONNECT never reached
        for _ in range(count):
            pool = world.pool()
            pool.start()
            direction = source.choice(("up", "down"))
            # DISCONNECT takes 20 bytes, its answers 52 each, and TLS 22 more for every record
            world.proxy.cut_after(source.randrange(0, 107), direction, source.random() < 0.5, which="live")
            pool.close(30.0)
            world.proxy.disarm()
        return world.registry.wait_empty(lambda _: True, 30.0), count


def main() -> int:
    """Runs both, prints the figures, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=1 << 30)
    parser.add_argument("--cuts", type=int, default=2_000)
    parser.add_argument("--releases", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    all_descriptors()
    logging.getLogger("nitrosocks_lib.client.outage").setLevel(logging.ERROR)  # not two lines for each
    watch = Watch()
    whole, hit = both_ways(options.bytes, options.streams, options.cuts, options.seed, watch)
    times = sorted(watch.seconds)
    said = f"{options.bytes} bytes each way in {options.streams} stream(s), {dict(hit)}"
    print(f"{said}: {'equal' if whole else 'DIFFERENT'}")
    if times:
        print(f"recovery: median {statistics.median(times):.3f} s, p95 {times[int(len(times) * 0.95)]:.3f} s")
    released, count = releases(options.releases, options.seed)
    print(f"{count} releases cut: {'all sessions over' if released else 'SESSIONS LEFT'}")
    return 0 if whole and released else 1


if __name__ == "__main__":
    raise SystemExit(main())
