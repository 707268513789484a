#!/usr/bin/env python3
"""How soon a port of -R answers again when its client is killed and started, and how soon it is free behind a release.

    bench/returns.py [--rounds 10]

Prints a table in ms. The first row runs from the start of the new process until a connection to the port has its bytes
back; the old one was killed (SIGKILL) just before. The second one runs from SIGTERM until somebody else can bind it,
the third one until the file of a unix socket is gone.
"""

from __future__ import annotations

import argparse
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from figures import figure, head, row  # noqa: E402
from loopback import unused_port  # noqa: E402
from program import NITROSOCKS, Process  # noqa: E402
from remote import Remote, echoes  # noqa: E402

STEP = 0.002  # seconds between looks
PATIENCE = 60.0


def until(done: Callable[[], None], began: float) -> float:
    """Milliseconds from `began` until it raises no OSError any more."""
    while time.perf_counter() < began + PATIENCE:
        with suppress(OSError, AssertionError):  # AssertionError: the connection ended without its bytes
            done()
            return 1000 * (time.perf_counter() - began)
        time.sleep(STEP)
    raise SystemExit(f"not within {PATIENCE:.0f} s")


def bind(port: int) -> None:
    """Somebody else listens there, for a moment."""
    socket.create_server(("127.0.0.1", port)).close()


def gone(path: Path) -> None:
    """Raises OSError while it is there."""
    if path.is_socket():
        raise OSError


def started(site: Remote, *specs: str) -> Process:
    """A new client, which is not waited for."""
    given = [word for spec in specs for word in ("-R", spec)]
    return site.start(*NITROSOCKS, "forward", "-i", site.alice, *given)


def measured(site: Remote) -> tuple[float, float, float]:
    """One round: milliseconds of each row."""
    port, path = unused_port(), site.place / "x.sock"
    specs = [f"{place}:127.0.0.1:{site.echo.port}" for place in (port, path)]
    site.remote(*specs).signal(signal.SIGKILL).wait()
    began = time.perf_counter()
    client = started(site, *specs)
    back = until(lambda: echoes(port), began)
    client.err.wait("nitrosocks: ready")
    began = time.perf_counter()
    client.signal()
    free = until(lambda: bind(port), began)
    client.wait()
    client = site.remote(specs[1])
    began = time.perf_counter()
    client.signal()
    removed = until(lambda: gone(path), began)
    client.wait()
    return back, free, removed


def main() -> int:
    """Prints one table at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="10 by default")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="returns-") as place, Remote(Path(place)) as site:
        times = list(zip(*(measured(site) for _ in range(rounds)), strict=True))
    print(head(["ms", "median", "longest"]))
    names = "killed and started again: the port answers", "released: the port is free", "released: the socket is gone"
    for name, each in zip(names, times, strict=True):
        print(row([name, figure(statistics.median(each)), figure(max(each))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
