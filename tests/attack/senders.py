#!/usr/bin/env python3
"""Floods `forward -L udp:` with datagrams, each 500 from new ports, and looks at what client and server hold.

    tests/attack/senders.py [--senders 20000] [--pause 0.1] [--denied] [--cut]

`--denied`: the target is one that is not permitted. `--cut`: the session's connection is cut ten times meanwhile. Fails
where a program holds more than 1,500 descriptors or 16 MiB more than before, or an old sender gets no answer behind it.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from datagramming import Echo, ask, sender  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402
from program import Process, Site  # noqa: E402

BLOCK = 500
DESCRIPTORS, MEMORY = 1_500, 16  # MiB


def held(process: Process) -> tuple[int, int]:
    """Descriptors, and MiB."""
    place = Path(f"/proc/{process.pid}")
    pages = int((place / "statm").read_text().split()[1])
    return len(os.listdir(place / "fd")), pages * os.sysconf("SC_PAGE_SIZE") >> 20


def answers(near: socket.socket) -> bool:
    """Whether an answer comes within half a second; the one datagram may have been dropped, as others were."""
    near.settimeout(0.5)
    try:
        return ask(near, b"behind") == b"BEHIND"
    except TimeoutError:
        return False


def block(port: int, pause: float) -> int:
    """One block: how many were answered within the pause."""
    with ExitStack() as stack:
        socks = [stack.enter_context(sender(port)) for _ in range(BLOCK)]
        for sock in socks:
            sock.send(b"x")
            sock.setblocking(False)
        time.sleep(pause)
        answered = 0
        for sock in socks:
            with suppress(OSError):
                answered += len(sock.recv(10))
        return answered


def main() -> int:
    """Prints what was held at most; 0 where it is well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--senders", type=int, default=20_000, help="20,000 by default")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds from one block to the next; 0.1 by default")
    parser.add_argument("--denied", action="store_true", help="to a target that is not permitted")
    parser.add_argument("--cut", action="store_true", help="cut the session's connection meanwhile")
    words = parser.parse_args()
    with ExitStack() as stack:
        site = stack.enter_context(Site(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="senders-")))))
        echo, server = stack.enter_context(Echo()), site.serve()
        faults = stack.enter_context(FaultProxy(("127.0.0.1", server.port)))
        profile = site.profile("senders", faults.port, "udp:127.0.0.1:*")
        spec = f"udp:0:127.0.0.{2 if words.denied else 1}:{echo.port}"
        client = site.forward(profile, spec, f"udp:0:127.0.0.1:{echo.port}")
        near = stack.enter_context(sender(client.ports[1]))
        ask(near, b"before")
        programs = {"client": client, "server": server}
        before, most = {n: held(p) for n, p in programs.items()}, dict.fromkeys(programs, (0, 0))
        answered, blocks = 0, words.senders // BLOCK
        for number in range(blocks):
            if words.cut and number % max(1, blocks // 10) == 0:
                faults.cut()
            answered += block(client.port, words.pause)
            for name, process in programs.items():
                most[name] = tuple(map(max, most[name], held(process)))  # type: ignore[assignment]
        print(f"{answered:,} of {blocks * BLOCK:,} were answered in time")
        good = any(answers(near) for _ in range(20))
        for name in programs:
            more = [after - first for after, first in zip(most[name], before[name], strict=True)]
            print(f"{name}: {before[name][0]} descriptors and {before[name][1]} MiB before; at most {more} more")
            good &= more[0] <= DESCRIPTORS and more[1] <= MEMORY
    print("ok" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
