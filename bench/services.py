#!/usr/bin/env python3
"""HTTP, Redis and PostgreSQL through `nitrosocks forward`, through `ssh -L` and direct, in one run; prints a table.

    bench/services.py [--rounds 3] [--seconds 3] [--requests 20000] [--cipher NAME] [--words "--sessions 1"] [WHAT...]

Needs what it measures with: ab, curl, redis-server and redis-benchmark, PostgreSQL with pgbench, ssh and sshd; a row
or a column that lacks something says what. HTTP is served by nginx, or by a server of our own where there is none.
WHAT, all without it:

    http      `ab` with 200 connections, new ones for each request and kept ones; `curl --parallel` with 200
    redis     `redis-benchmark`: 50 clients, one client, 50 clients that send 16 commands at once
    postgres  `pgbench` reads: 8 clients, and 8 that connect anew for each transaction

All three ways stand at once and take turns for each row; the order changes from round to round. Figures are medians of
what was done in a second; so a ratio above 1 means faster. sshd and all servers run in a folder that is removed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import servers  # noqa: E402
from figures import head, median, ratio, row  # noqa: E402
from program import Site, environment  # noqa: E402
from servers import LOOPBACK, Missing  # noqa: E402

CONNECTIONS = 200
PATIENCE = 60.0  # seconds beyond what was asked for
WAYS = ("direct", "ssh -L", "nitrosocks")


class Failed(Exception):
    """A measurement did not come to an end, or not to a good one."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is done, and how to find how often it was done in a second."""

    what: str
    tool: str
    argv: Callable[[int, argparse.Namespace], list[object]]  # behind the tool, for a port
    rate: Callable[[str, float, argparse.Namespace], float]  # of what it printed and the seconds that it took

    def measure(self, port: int, words: argparse.Namespace) -> float:
        """One run. Raises Failed."""
        argv = [servers.program(self.tool), *map(str, self.argv(port, words))]
        began, limit = time.monotonic(), words.seconds + PATIENCE
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, timeout=limit, env=environment(Path.cwd())
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {limit:.0f} s") from None
        if done.returncode:
            raise Failed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        return self.rate(done.stdout, time.monotonic() - began, words)


# -- what the tools are told, and what they tell ----------------------------------------------------------------------


def found(pattern: str, text: str) -> float:
    """The number that a pattern finds. Raises Failed."""
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise Failed(f"what it printed has no {pattern!r}")
    return float(match[1])


def _ab(*more: str) -> Callable[[int, argparse.Namespace], list[object]]:
    return lambda port, words: [
        "-q", "-t", words.seconds, "-n", 1_000_000, "-c", CONNECTIONS, *more, f"http://{LOOPBACK}:{port}/",
    ]  # fmt: skip


def _ab_rate(text: str, _: float, __: argparse.Namespace) -> float:
    if failed := found(r"^Failed requests: +(\d+)", text):
        raise Failed(f"{failed:.0f} requests failed")
    return found(r"^Requests per second: +([\d.]+)", text)


def _curl(port: int, words: argparse.Namespace) -> list[object]:
    many = ["--parallel", "--parallel-immediate", "--parallel-max", CONNECTIONS]
    url = f"http://{LOOPBACK}:{port}/?[1-{words.requests // 10}]"
    return [*many, "--silent", "--show-error", "--fail", "--noproxy", "*", "--output", "/dev/null", url]


def _curl_rate(_: str, seconds: float, words: argparse.Namespace) -> float:
    return words.requests // 10 / seconds


def _redis(clients: int, share: int, *more: str) -> Callable[[int, argparse.Namespace], list[object]]:
    return lambda port, words: [
        "-h", LOOPBACK, "-p", port, "-t", "get", "--csv", "-c", clients, "-n", words.requests // share, *more,
    ]  # fmt: skip


def _redis_rate(text: str, _: float, __: argparse.Namespace) -> float:
    return found(r'^"GET","([\d.]+)"', text)


def _pgbench(*more: str) -> Callable[[int, argparse.Namespace], list[object]]:
    return lambda port, words: [
        "-n", "-S", "-c", 8, "-j", 2, "-T", words.seconds, "-h", LOOPBACK, "-p", port, "-U", "postgres", *more,
        "postgres",
    ]  # fmt: skip


def _pgbench_rate(text: str, _: float, __: argparse.Namespace) -> float:
    if failed := found(r"^number of failed transactions: (\d+)", text):
        raise Failed(f"{failed:.0f} transactions failed")
    return found(r"^tps = ([\d.]+)", text)


@dataclass(frozen=True, slots=True)
class Service:
    """A server, and what is done with it."""

    start: Callable[[Site], int]
    rows: tuple[Row, ...]


SERVICES = {
    "http": Service(servers.http, (
        Row(f"ab, {CONNECTIONS} at once, each a new connection", "ab", _ab(), _ab_rate),
        Row(f"ab -k, {CONNECTIONS} kept connections", "ab", _ab("-k"), _ab_rate),
        Row(f"curl --parallel, {CONNECTIONS} connections", "curl", _curl, _curl_rate),
    )),
    "redis": Service(servers.redis, (
        Row("redis GET, 50 clients", "redis-benchmark", _redis(50, 1), _redis_rate),
        Row("redis GET, 1 client", "redis-benchmark", _redis(1, 10), _redis_rate),
        Row("redis GET, 50 clients, 16 at once", "redis-benchmark", _redis(50, 1, "-P", "16"), _redis_rate),
    )),
    "postgres": Service(servers.postgres, (
        Row("pgbench -S, 8 clients", "pgbench", _pgbench(), _pgbench_rate),
        Row("pgbench -S -C, 8 clients, each time a new connection", "pgbench", _pgbench("-C"), _pgbench_rate),
    )),
}  # fmt: skip


# -- the ways, and the table ------------------------------------------------------------------------------------------


class Ways:
    """Ports of each service by way; what is missing, by service or way."""

    def __init__(self, site: Site, names: list[str], words: argparse.Namespace) -> None:
        self.missing: dict[str, str] = {}
        direct: dict[str, int] = {}
        for name in names:
            try:
                direct[name] = SERVICES[name].start(site)
            except Missing as why:
                self.missing[name] = str(why)
        ports = list(direct.values())
        self._ports = {"direct": ports}
        try:
            self._ports["ssh -L"] = servers.ssh(site, ports, words.cipher)
        except Missing as why:
            self.missing["ssh -L"] = str(why)
        profile = site.profile("services", site.serve().port)
        specs = [f"0:{LOOPBACK}:{port}" for port in ports]
        if specs:
            self._ports["nitrosocks"] = site.forward(profile, *specs, words=tuple(shlex.split(words.words))).ports
        self._names = list(direct)

    def ports(self, name: str, number: int) -> list[tuple[str, int]]:
        """How a service is reached, in the order of that round."""
        ways = [(way, ports[self._names.index(name)]) for way, ports in self._ports.items()]
        first = number % len(ways)
        return ways[first:] + ways[:first]


def measured(each: Row, ways: Ways, name: str, words: argparse.Namespace) -> list[str]:
    """The cells of a row. What fails is told on stderr, and a dash if it never succeeds."""
    rates: dict[str, list[float]] = defaultdict(list)
    try:
        for number in range(words.rounds):
            for way, port in ways.ports(name, number):
                try:
                    rates[way].append(each.measure(port, words))
                except Failed as why:
                    print(f"services.py: {each.what}, {way}, round {number + 1}: {why}", file=sys.stderr)
    except Missing as why:
        return [f"skipped: {why}", "", "", "", ""]
    ours = rates["nitrosocks"]
    return [*(median(rates[way]) for way in WAYS), ratio(ours, rates["ssh -L"]), ratio(ours, rates["direct"])]


def main() -> int:
    """Prints a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"some of: {', '.join(SERVICES)}")
    parser.add_argument("--rounds", type=int, default=3, help="3 by default")
    parser.add_argument("--seconds", type=int, default=3, help="that ab and pgbench take each time; 3 by default")
    parser.add_argument("--requests", type=int, default=20_000, help="of redis-benchmark; curl makes a tenth")
    parser.add_argument("--cipher", default="aes128-gcm@openssh.com", help="of ssh; aes128-gcm@openssh.com by default")
    parser.add_argument("--words", default="", help="more options of forward, in one word")
    words = parser.parse_args()
    if unknown := set(words.what) - set(SERVICES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    names = words.what or list(SERVICES)
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="services-"))
        ways = Ways(stack.enter_context(Site(Path(place))), names, words)
        print(head(["a second", *WAYS, "to ssh", "to direct"]), flush=True)
        for name in names:
            for each in SERVICES[name].rows:
                lacks = ways.missing.get(name)
                cells = [f"skipped: {lacks}", "", "", "", ""] if lacks else measured(each, ways, name, words)
                print(row([each.what, *cells]), flush=True)
        if "http" in names:
            print(f"\nHTTP is served by {'nginx' if servers.has_nginx() else 'small_http.py'}.")
        if lacks := ways.missing.get("ssh -L"):
            print(f"\nssh -L: skipped, {lacks}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
