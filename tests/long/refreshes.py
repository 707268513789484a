"""Refreshes that follow one another in one session, under random traffic both ways at once; prints what came of it.

    python tests/long/refreshes.py [--streams N] [--count N] [--volume BYTES] [--seconds MOST]

Exits 1 when a byte was lost or doubled, the session had to be resumed, or the refreshes were not done in time.
"""

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from traffic import BLOCK, End, Side, Target, all_descriptors, numbered, unequal  # noqa: E402
from world import BOUND, Opened, World  # noqa: E402

from nitrosocks_lib.facts import limits  # noqa: E402
from nitrosocks_lib.net.timers import now  # noqa: E402
from nitrosocks_lib.server.tunnel import RefreshPolicy  # noqa: E402

LOOK = 0.02  # seconds between two looks at the count


def random_blocks(stop: threading.Event) -> Iterator[bytes]:
    """Random bytes until then."""
    while not stop.is_set():
        yield os.urandom(BLOCK)


def run(count: int, volume: int, streams: int, seconds: float) -> list[str]:
    """One session until `count` refreshes are completed; prints the figures, returns what went wrong."""
    stop, near, far = threading.Event(), Side(), Side()
    target = Target(far, lambda _: random_blocks(stop))
    with World(proxy=True, refresh=RefreshPolicy(every=limits.REFRESH, volume=volume)) as world:
        pool, opened = world.pool(), []
        for number in range(streams):
            opened.append(Opened(pool, target.port))
            near.add(End(opened[-1].near, numbered(number, random_blocks(stop))))
        assert far.wait(lambda: len(far.ends) == streams, BOUND), "the target was not reached"
        began = now()
        while world.entry.tunnel.refreshes < count and now() - began < seconds and not opened[0].over.is_set():
            stop.wait(LOOK)
        took, refreshes = now() - began, world.entry.tunnel.refreshes
        stop.set()
        for side in (near, far):
            side.wait(lambda side=side: all(end.over for end in side.ends), BOUND)
        whole = unequal(near.ends, far.ends) == [] and all(stream.clean for stream in opened)
        resumed = world.entry.attempt  # a client in doubt may have made a connection that it did not need
        target.close()
        near.close()
        far.close()
    up, down = (sum(end.bytes_sent for end in side.ends) for side in (near, far))
    print(
        f"{refreshes} refreshes, {streams} stream(s), {up} bytes up, {down} bytes down, {took:.1f} s,"
        f" resumed {resumed} times: {'equal' if whole else 'DIFFERENT'}"
    )
    faults = {
        "what came is not what was sent": not whole,
        f"fewer than {count} refreshes": refreshes < count,
        "the session was resumed": resumed > 0,
    }
    return [fault for fault, found in faults.items() if found]


def main() -> int:
    """Runs it, says what failed, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1, help="streams that are open at once in the session")
    parser.add_argument("--count", type=int, default=10_000, help="refreshes to complete")
    parser.add_argument("--volume", type=int, default=1 << 16, help="bytes of one key after which the next is due")
    parser.add_argument("--seconds", type=float, default=600.0, help="give up after this long")
    options = parser.parse_args()
    all_descriptors()
    faults = run(options.count, options.volume, options.streams, options.seconds)
    for fault in faults:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
