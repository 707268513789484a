#!/usr/bin/env python3
"""Measures the carriers beside each other, and prints each one's figures with the ratio to the first.

    bench/carriers.py [--rounds 5] [--seconds 2] [--idle 0] [CARRIER...]

As bench/ab.py does it: a server and a client each, all at once and in turns, by default raw, websocket and http.
CPU time is that of server and client together. `--idle` watches for so many seconds how many TCP segments each
client sends and gets while nothing is carried; needs `ss`. What that is in requests, bench/idle.py counts.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

import ab
from ab import ROOT, Bench, Variant, VariantSite

CARRIERS = ("raw", "websocket", "http")


def segments(site: VariantSite) -> int:
    """TCP segments with data that a client has sent and got on the connections to its server that stand."""
    told = subprocess.run(
        ["ss", "-tinH", "dst", f"127.0.0.1:{site.server.port}"], capture_output=True, text=True, check=True
    ).stdout
    return sum(map(int, re.findall(r"data_segs_(?:out|in):(\d+)", told)))


def idle(sites: list[VariantSite], seconds: float) -> str:
    """A line for each: segments with data in ten seconds."""
    before = [segments(site) for site in sites]
    time.sleep(seconds)
    after = [segments(site) for site in sites]
    return "\n".join(
        f"{site.variant.name}: {10 * (late - early) / seconds:.1f} segments with data in 10 s"
        for site, early, late in zip(sites, before, after, strict=True)
    )


def main() -> int:
    """Prints one table at the end, and what idleness costs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("carriers", nargs="*", metavar="CARRIER", help=f"some of: {', '.join(CARRIERS)}")
    parser.add_argument("--rounds", type=int, default=5, help="5 by default")
    parser.add_argument("--seconds", type=int, default=2, help="how long a slice of bulk is; 2 by default")
    parser.add_argument("--idle", type=int, default=0, help="seconds; 0 by default")
    words = parser.parse_args()
    if unknown := set(words.carriers) - set(CARRIERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    variants = [Variant(name, ROOT, words=("--carrier", name)) for name in words.carriers or CARRIERS]
    with Bench(variants, argparse.Namespace(seconds=words.seconds, own=False, words="--sessions 1")) as bench:
        for number in range(words.rounds):
            bench.round(number)
        if words.rounds:
            print(ab.table(bench.sites), flush=True)
        if words.idle:
            print(idle(bench.sites, words.idle))
    return 0


if __name__ == "__main__":
    sys.exit(main())
