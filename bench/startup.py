#!/usr/bin/env python3
"""How long the program takes until it says something: alone, and `connect` beside `ssh -W`; prints a table.

    bench/startup.py [--rounds 20]

All take turns, round by round; figures are medians in ms, from the start of the process to its first byte or its end.
`connect` and `ssh -W` lead to the same sshd, whose banner is the first byte; the one goes through a `serve` that runs,
the other through this sshd, and both begin a new session. What is compiled is compiled before the first round. The last
column is the processor time of the process alone, user and system.
"""

from __future__ import annotations

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from figures import figure, head, ratio, row  # noqa: E402
from openssh import Ssh  # noqa: E402
from program import NITROSOCKS, Site, environment, tool  # noqa: E402

ALONE = "the interpreter alone"
RATIO_TO_SSH = "connect, to the first byte"
SSH = "ssh -W, to the first byte"


def commands(ssh: Ssh, profile: Path) -> dict[str, list[str]]:
    """What is measured, by its name."""
    target = f"127.0.0.1:{ssh.port}"
    direct = [word for word in ssh.options if not word.startswith("-oProxyCommand")]
    return {
        ALONE: [sys.executable, "-c", "pass"],
        "--version": [*NITROSOCKS, "--version"],
        "--help": [*NITROSOCKS, "--help"],
        RATIO_TO_SSH: [*NITROSOCKS, "connect", "-i", str(profile), target],
        SSH: [tool("ssh"), *direct, "-p", str(ssh.port), "-W", target, "127.0.0.1"],
    }


def measure(argv: list[str], env: dict[str, str], ends: bool) -> tuple[float, float]:
    """Seconds until its first byte, or until its end where `ends`; and those of the processor until its end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, bufsize=0
    )
    assert process.stdin is not None and process.stdout is not None
    if not ends and not process.stdout.read(1):
        raise SystemExit(f"no byte came: {' '.join(argv)}")
    first = time.perf_counter() - began
    process.stdin.close()
    process.terminate() if not ends else None
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it is waited for already
    process.stdout.close()
    return time.perf_counter() - began if ends else first, used.ru_utime + used.ru_stime


def main() -> int:
    """Prints one table at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="20 by default")
    rounds = parser.parse_args().rounds
    compileall.compile_dir(ROOT / "nitrosocks_lib", quiet=2)
    wall: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="startup-") as place, Site(Path(place)) as site:
        ssh = Ssh(site)
        env = environment(site.place)
        measured = list(commands(ssh, site.place / "alice.profile").items())
        for number in range(-1, rounds):  # the first one fills caches
            first = number % len(measured)
            for name, argv in measured[first:] + measured[:first]:
                took, used = measure(argv, env, "first byte" not in name)
                if number >= 0:
                    wall[name].append(1000 * took)
                    cpu[name].append(1000 * used)
    print(head(["", "ms", "beyond the interpreter", "to ssh -W", "CPU ms"]))
    for name, times in wall.items():
        beyond = statistics.median(times) - statistics.median(wall[ALONE])
        to_ssh = ratio(times, wall[SSH]) if "first byte" in name else ""
        cells = [figure(statistics.median(times)), figure(beyond) if name != ALONE else "", to_ssh]
        print(row([name, *cells, figure(statistics.median(cpu[name]))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
