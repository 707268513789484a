"""How many requests an idle session costs over the carrier `http`.

    bench/idle.py [SECONDS]

A real server, and a `forward` that carries nothing, for 150 seconds by default; counted is what it says at -vvv.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from program import Site  # noqa: E402

SETTLES = 3  # seconds from ready to the last answer of the greeting
REQUEST = re.compile(r"http: (?:up|down) \d+:")


def main() -> int:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", nargs="?", type=int, default=150)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder)) as site:
        server = site.serve()
        words = ("--carrier", "http", "-vvv", "--sessions", "1")
        client = site.forward(site.profile("idle", server.port), "0:127.0.0.1:9", words=words)
        time.sleep(SETTLES)
        before = len(REQUEST.findall(str(client.err)))
        time.sleep(seconds)
        requests = len(REQUEST.findall(str(client.err))) - before
    print(f"{requests} requests in {seconds} s: {10 * requests / seconds:.2f} in 10 s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
