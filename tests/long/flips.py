"""Flips each bit of each message of a new session and of a reconnection, over memory, and prints what came of it.

    python tests/long/flips.py [--pad BYTES] [--every N] [--first BIT] [--workers N]

Exits 1 where a side had a session then, answered, raised an error that is not ours, or where the honest attempt behind
it failed. The messages are those of two sides that know each other; each case is a fresh side that hears all that came
before, and then the message with one bit changed.
"""

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import monotonic

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from replay import HONEST_EVERY, NAMES, Scene, flipped, repeatable  # noqa: E402

CHUNK = 1024  # bits of one piece of work


def tried(name: str, pad: int, bits: range) -> tuple[Counter, list[str], float]:
    """These bits of one message: how often each error came, what was wrong, and the seconds that it took."""
    errors, faults, began = Counter(), [], monotonic()
    with repeatable():
        scene = Scene(name, pad)
        for count, bit in enumerate(bits):
            found = scene.faults(flipped(scene.message, bit), honest=count % HONEST_EVERY == 0)
            faults += [f"{name}, bit {bit}: {fault}" for fault in found]
            errors[scene.error if not found else "fault"] += 1
    return errors, faults, monotonic() - began


def pieces(name: str, pad: int, first: int, every: int) -> list[range]:
    """The bits of one message, in pieces of work."""
    with repeatable():
        bits = range(first, len(Scene(name, pad).message) * 8, every)
    return [bits[at : at + CHUNK] for at in range(0, len(bits), CHUNK)]


def main() -> int:
    """Tries them all, says what came of it, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pad", type=int, default=0, help="bytes of padding of each message, 0 to 1024")
    parser.add_argument("--every", type=int, default=1, help="only each N-th bit")
    parser.add_argument("--first", type=int, default=0, help="the first bit")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    began, total, wrong = monotonic(), 0, []
    with ProcessPoolExecutor(options.workers) as pool:
        for name in NAMES:
            work = pieces(name, options.pad, options.first, options.every)
            done = [pool.submit(tried, name, options.pad, bits) for bits in work]
            errors, faults, seconds = Counter(), [], 0.0
            for each in done:
                some, more, took = each.result()
                errors, faults, seconds = errors + some, faults + more, seconds + took
            count = sum(errors.values())
            told = ", ".join(f"{kind} {times:,}" for kind, times in sorted(errors.items()))
            print(f"{name}: {count:,} bits, {seconds / max(count, 1) * 1000:.2f} ms each: {told}", flush=True)
            total, wrong = total + count, wrong + faults
    print(f"{total:,} bits in {monotonic() - began:.0f} s: {len(wrong)} faults")
    for fault in wrong[:20]:
        print(f"FAILED: {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
