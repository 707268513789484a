"""Strangers send TLS records without data (KeyUpdate) as fast as they can: does the server still take connections?

    python tests/attack/keyupdates.py [--seconds 6] [--connections 1] [--most 1.0]

The server is the real program. Each connection floods until it is ended, and the next one takes its place. Meanwhile a
TLS client connects, ten times a second at most. Must hold: each time TLS is done within `--most` seconds. Exits 1 where
it is not.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from keyupdate import Flood, library  # noqa: E402
from program import Site  # noqa: E402

from nitrosocks_lib.facts.errors import NetworkError  # noqa: E402
from nitrosocks_lib.net.connect import client_context, dial  # noqa: E402

PAUSE = 0.1


def attack(port: int, seconds: float, connections: int) -> tuple[list[float], int]:
    """How long each TLS handshake beside the floods took, and how many floods there were."""
    until, floods = time.monotonic() + seconds, []

    def flood() -> None:
        while time.monotonic() < until:
            with suppress(OSError), Flood(port) as each:
                floods.append(each)
                while time.monotonic() < until and each.send():
                    pass

    threads = [threading.Thread(target=flood) for _ in range(connections)]
    for thread in threads:
        thread.start()
    took = []
    while (begin := time.monotonic()) < until:
        with suppress(NetworkError):
            dial(("127.0.0.1", port), client_context(False), socket.AF_INET, 2 * seconds).close()
        took.append(time.monotonic() - begin)
        time.sleep(PAUSE)
    for thread in threads:
        thread.join()
    return took, len(floods)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--most", type=float, default=1.0)
    options = parser.parse_args()
    if library() is None:
        print("this Python's OpenSSL cannot be called")
        return 0
    with ExitStack() as stack:
        site = stack.enter_context(Site(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        took, floods = attack(site.serve().port, options.seconds, options.connections)
    print(f"{floods} floods, TLS {len(took)} times: median {statistics.median(took):.3f} s, longest {max(took):.3f} s")
    return int(max(took) > options.most)


if __name__ == "__main__":
    sys.exit(main())
