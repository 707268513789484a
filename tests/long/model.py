"""The model of streams, limits and reconnections (tests/model/streams.pml), every run of it, by spin.

    python tests/long/model.py [--memory MIB]

First the rules of docs/protocol.md: in no state may anything be lost, doubled, reordered or stuck. Then the same with
one rule broken at a time: spin must find each. Needs spin and a C compiler (Debian: spin, gcc). Exits 1 when a rule
does not hold, or when a broken one is not found.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).resolve().parents[1] / "model" / "streams.pml"
DEEPEST = 100_000  # steps of one run that pan can go into; the deepest seen is below 100

ONE = "-DONE -DC0=2 -DS0=2 -DTRIES=2"
TWO = "-DPROMPT -DC0=2 -DS0=0 -DC1=0 -DS1=1"
QUIET = "-DRESETS=0 -DREFUSALS=0"

RUNS = {
    "one stream, 2 bytes each way; 2 reconnections, a reset, a refusal": ONE,
    "one stream, 3 bytes up, 1 down, 3 frames under way; the same": "-DONE -DC0=3 -DS0=1 -DTRIES=2 -DROOM=3",
    "two streams, 2 bytes up, 1 down; 1 reconnection, a reset": f"{TWO} -DTRIES=1 -DREFUSALS=0",
    "two streams, 2 bytes up, 1 down; 1 reconnection, a refusal": f"{TWO} -DTRIES=1 -DRESETS=0",
    "two streams, 2 bytes up, 1 down; 2 reconnections": f"{TWO} -DTRIES=2 {QUIET}",
    "two streams, 1 byte each way on both; 1 reconnection": f"-DPROMPT -DC0=1 -DS0=1 -DC1=1 -DS1=1 -DTRIES=1 {QUIET}",
    "two streams, one with a local socket that takes nothing; 1 reconnection":
        f"-DSTUCK -DC0=2 -DS0=0 -DC1=0 -DS1=2 -DTRIES=1 {QUIET}",
}  # fmt: skip

BROKEN = {
    "LIMITS_NOT_RESTATED": ("FC8: the first ACK of a connection states only limits that were not sent before", ONE),
    "RESENT_FROM_ACKED": ("J10: what is sent again begins with what was not acknowledged", ONE),
    "OVER_NOT_COUNTED": ("ST7: what comes of a stream that is over is not counted as received", f"{TWO} -DTRIES=1"),
    "OVER_NOT_IGNORED": ("ST7: what comes of a stream that is over is a violation", ONE),
    "OVER_NOT_RESENT": ("ST8: frames of a stream that is over are not sent again", f"{TWO} -DTRIES=1"),
    "LIMITS_OF_ALL": ("FC7: limits of streams whose opening the other side has not shown are stated, too", ONE),
    "OLD_CONNECTION_READ_ON": ("J8: the server reads the old connection until the move", ONE),
    "OLDER_TRY_ACCEPTED": ("U1: the server accepts any j but the last one", ONE),
    "RELEASED_UNACKNOWLEDGED": ("10.33: DISCONNECT goes out before all is acknowledged", ONE),
}


@dataclass(frozen=True)
class Search:
    """What pan said of one run."""

    states: int
    depth: int
    memory: float  # MiB
    seconds: float
    fault: str  # the assertion that failed, or nothing

    @classmethod
    def of(cls, text: str, seconds: float) -> "Search":
        """Reads pan's report; a search that was cut short is a fault."""
        failed = re.search(r"pan:1: (.*)", text)
        cut = re.search(r"max search depth too small|out of memory|reached -DMEMLIM|Search not completed", text)
        return cls(
            states=int(found(r"(\d+) states, stored", text)),
            depth=int(found(r"depth reached (\d+)", text)),
            memory=float(found(r"([\d.]+)\s+total actual memory", text)),
            seconds=seconds,
            fault=failed[1] if failed else cut[0] if cut else "",
        )

    def __str__(self) -> str:
        return f"{self.states:>11,} states, depth {self.depth:>3}, {self.memory:>6,.0f} MiB, {self.seconds:>4.0f} s"


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"pan did not say {pattern!r}:\n{text}")
    return match[1]


def search(flags: list[str], memory: int) -> Search:
    """Makes pan for one set of macros, lets it search all states, and returns what it said."""
    with tempfile.TemporaryDirectory() as directory:

        def run(*command: str) -> str:
            return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout

        shutil.copy(MODEL, directory)
        run("spin", "-a", *flags, MODEL.name)
        run("gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={memory}", "-o", "pan", "pan.c")
        began = time.monotonic()
        return Search.of(run("./pan", f"-m{DEEPEST}"), time.monotonic() - began)


def main() -> int:
    """Runs all, says what failed, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, default=8_000, help="MiB that one search may take")
    options = parser.parse_args()
    if not shutil.which("spin") or not shutil.which("gcc"):
        raise SystemExit("spin and gcc are needed")
    failed = 0
    print("The rules:")
    for name, flags in RUNS.items():
        result = search(flags.split(), options.memory)
        failed += bool(result.fault)
        print(f"{result}  {name}{': FAILED: ' + result.fault if result.fault else ''}", flush=True)
    print("One rule broken:")
    for macro, (name, flags) in BROKEN.items():
        result = search([f"-D{macro}", *flags.split()], options.memory)
        failed += not result.fault
        print(f"{result}  {name}: {result.fault or 'FAILED: not found'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
