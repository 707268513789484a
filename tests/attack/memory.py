"""Walks the memory of the real `serve` and `forward` for secrets that are over; prints what is found, and where.

    python tests/attack/memory.py [--refreshes N] [--reconnections N] [--rounds N]

The thief has a memory image, and the recording of everything before it: what he finds must not open what is over.
Both programs tell on a pipe each secret that they make (support/telling.py). Behind the handshake, some refreshes and
some reconnections every page of both that can be written to is searched for all of them, in pieces of 16 bytes, since
a freed block may be partly written over. Only what is in use may be there: RK and the frame keys as they are now, RS,
and the E' that the next refresh needs. Exits 1 when anything else is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from faultproxy import FaultProxy  # noqa: E402
from program import BOUND, NITROSOCKS, Process, Site  # noqa: E402
from targets import Target, dial, echo  # noqa: E402
from telling import KIND, SIZE  # noqa: E402

TELLING = Path(__file__).resolve().parents[1] / "support" / "telling.py"
PIECE = 16  # bytes that are searched for at a time
VOLUME = 64 << 10  # plaintext bytes behind which the server refreshes: the least that --refresh takes
IN_USE = ("RS", "root", "ephemeral", "c2s key", "c2s mask", "s2c key", "s2c mask")  # of each the last one
_MAP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+\s*(.*)")


class Told:
    """The secrets that one process has told so far, in order; a thread reads them."""

    def __init__(self) -> None:
        self.here, self.there = os.pipe()
        self._secrets: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with os.fdopen(self.here, "rb") as pipe:
            while head := pipe.read(KIND + SIZE):
                secret = head[:KIND].decode().strip(), pipe.read(int(head[KIND:]))
                with self._changed:
                    self._secrets.append(secret)
                    self._changed.notify_all()

    def wait(self, kind: str, count: int) -> None:
        """Until so many of this kind were made."""
        with self._changed:
            made = self._changed.wait_for(lambda: self.count(kind) >= count, BOUND)
        assert made, f"{self.count(kind)} of {kind}, not {count}"

    def count(self, kind: str) -> int:
        """How many of this kind were made."""
        return sum(each == kind for each, _ in self._secrets)

    def split(self) -> tuple[dict[bytes, str], dict[bytes, str]]:
        """Those in use and those that are over, as pieces, each with its kind."""
        secrets = list(self._secrets)
        last = dict(secrets)
        used = pieces((kind, last[kind]) for kind in IN_USE if kind in last)
        return used, {piece: kind for piece, kind in pieces(secrets).items() if piece not in used}


def pieces(secrets: Iterable[tuple[str, bytes]]) -> dict[bytes, str]:
    """All of them cut up."""
    return {
        secret[at : at + PIECE]: kind for kind, secret in secrets for at in range(0, len(secret) - PIECE + 1, PIECE)
    }


class Telling(Site):
    """A site whose `serve` and `forward` tell their secrets."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.told: dict[str, Told] = {}

    def nitrosocks(self, *words: object, **pipes: Any) -> Process:
        """As in Site."""
        told = self.told[str(words[0])] = Told()
        process = self.start(sys.executable, TELLING, told.there, *words, pass_fds=[told.there], **pipes)
        os.close(told.there)
        self._logs[-1] = ([NITROSOCKS[1]], process.err)  # what it says is held to what we may say
        return process


def regions(pid: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of all that the process can write to: secrets are nowhere else."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, name in (match.groups() for match in map(_MAP.match, maps) if match):
            memory.seek(int(begin, 16))
            with contextlib.suppress(OSError):  # it is gone since: the stack of a thread that ended
                yield name or "anonymous", memory.read(int(end, 16) - int(begin, 16)).strip(b"\0")


def found(pid: int, wanted: dict[bytes, str]) -> Counter[tuple[str, str]]:
    """How many pieces of each kind are in each kind of region."""
    hits: Counter[tuple[str, str]] = Counter()
    for name, memory in regions(pid):
        hits.update((kind, name) for piece, kind in wanted.items() if piece in memory)
    return hits


def judge(when: str, processes: dict[str, Process], told: dict[str, Told]) -> list[str]:
    """Prints what is found; returns what must not be there."""
    faults = []
    for name, process in processes.items():
        used, over = told[name].split()
        assert {kind for kind, _ in found(process.pid, used)} >= {"c2s key", "s2c key", "root"}, "the search is blind"
        faults += told_of(f"{when}: {name}", over, found(process.pid, over))
    return faults


def told_of(where: str, over: dict[bytes, str], hits: Counter[tuple[str, str]]) -> list[str]:
    """One line, which is a fault where there are hits."""
    left = ", ".join(f"{count} of {kind} in {region}" for (kind, region), count in sorted(hits.items()))
    line = f"{where}: {len(over)} pieces of secrets that are over; left: {left or 'none'}"
    print(line, flush=True)
    return [line] if hits else []


def judge_over(server: Process, told: Told) -> list[str]:
    """Behind the session all is over, RS too; its last thread may still be at it for a moment."""
    used, over = told.split()
    over |= used
    until = time.monotonic() + BOUND
    while (hits := found(server.pid, over)) and time.monotonic() < until:
        pass
    return told_of("behind the session: serve", over, hits)


def echoed(sock: socket.socket, size: int = 100) -> None:
    """Sends so many bytes, and has them back; three times, so that both ends have gone on behind what they received."""
    for _ in range(3):
        sock.sendall(os.urandom(size))
        got = 0
        while got < size:
            piece = sock.recv(size - got)
            assert piece, "the stream ended"
            got += len(piece)


def run(place: Path, refreshes: int = 3, reconnections: int = 1) -> list[str]:
    """One session; returns what must not be."""
    with Telling(place) as site, Target(echo) as target, FaultProxy(("127.0.0.1", 0)) as proxy:
        server = site.serve("--refresh", VOLUME)
        proxy.upstream = ("127.0.0.1", server.port)
        client = site.forward(site.profile("thief", proxy.port), f"0:127.0.0.1:{target.port}")
        ends = {"serve": server, "forward": client}
        told = {name: site.told[name] for name in ends}
        with dial(client.port) as sock:
            echoed(sock)
            faults = judge("behind the handshake", ends, told)
            while told["serve"].count("root") <= refreshes:
                echoed(sock, VOLUME // 8)
            for end in told.values():
                for kind in ("root", "c2s key", "s2c key"):
                    end.wait(kind, refreshes + 1)
            echoed(sock)
            faults += judge(f"behind {refreshes} refreshes", ends, told)
            for _ in range(reconnections):
                proxy.cut()
                echoed(sock)
            faults += judge(f"behind {reconnections} reconnection(s)", ends, told)
        client.signal().wait()
        return faults + judge_over(server, told["serve"])


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refreshes", type=int, default=3)
    parser.add_argument("--reconnections", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    faults = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as place:
            faults += run(Path(place), options.refreshes, options.reconnections)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
