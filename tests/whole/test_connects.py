"""A real server, of which the system or the interpreter tells all that it connects to: what is permitted, no more."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import peer
import pytest
from program import NITROSOCKS, Process, Site, tool
from rule_oracle import TCP, UDP, Said, permitted
from visits import Served, Visit

from nitrosocks_lib.facts.wire import Kind

# Writes each socket.connect, also those by connect_ex, into a file before it is made.
RUNNER = """
import os, runpy, sys
def tell(event, args):
    if event == "socket.connect":
        os.write(out, f"{args[0].type.name} {args[1]!r}\\n".encode())
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
sys.addaudithook(tell)
sys.argv = sys.argv[2:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
UNIX = "unix"
At = tuple[str, str, int]  # kind, address or path, port
KINDS = {TCP: Kind.TCP, UDP: Kind.UDP}

LOOPBACK = ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.2", "::1", "0:0:0:0:0:0:0:1", "0",
            "0.0.0.0", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "127.0.0.66", "0x7f.66", "::ffff:127.0.0.66",
            "localhost", "LocalHost."]  # fmt: skip
NEVER = ["169.254.169.254", "0xa9fea9fe", "224.0.0.1", "255.255.255.255", "fe80::1", "ff02::1", "::127.0.0.1",
         "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::1",
         "::ffff:0:127.0.0.1", "0.1.2.3"]  # fmt: skip


class Watched(Site):
    """A site whose `serve` is watched. Once it has ended, `connected` tells where it has been."""

    def __init__(self, place: Path, way: str) -> None:
        super().__init__(place)
        self.way, self.trace = way, place / "trace"

    def nitrosocks(self, *words: object, **pipes: Any) -> Process:
        argv = [*NITROSOCKS, *words]
        if self.way == "strace":  # -D: what we started is the server, and not strace
            by = [tool("strace"), "-D", "-f", "-qq", "-yy", "-s", "200", "-e", "trace=connect", "-o", self.trace]
            return self.start(*by, *argv, **pipes)
        return self.start(argv[0], "-c", RUNNER, self.trace, *argv[1:], **pipes)

    def connected(self) -> Iterator[At]:
        read = _of_strace if self.way == "strace" else _of_audit
        for line in self.trace.read_text().splitlines():
            if "resumed>" not in line and "+++" not in line:
                yield read(line)


def _of_strace(line: str) -> At:
    """`7 connect(9<TCP:[5]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0`"""
    if path := re.search(r'sun_path=@?"([^"]*)"', line):
        return UNIX, path[1], 0
    found = re.search(r'<(TCP|UDP).*_port=htons\((\d+)\).*(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"', line)
    assert found is not None, line
    return TCP if found[1] == "TCP" else UDP, str(ip_address(found[3])), int(found[2])


def _of_audit(line: str) -> At:
    kind, _, text = line.partition(" ")
    address = ast.literal_eval(text)
    if not isinstance(address, tuple):
        return UNIX, address if isinstance(address, str) else address.decode(), 0
    return TCP if kind == "SOCK_STREAM" else UDP, str(ip_address(address[0])), address[1]


def leads(host: str) -> list[str]:
    """Where a host leads on this machine, and so at the server."""
    try:
        return [str(ip_address(each[4][0])) for each in socket.getaddrinfo(host, 1, type=socket.SOCK_STREAM)]
    except socket.gaierror:
        return []


def ours() -> set[str]:
    """Addresses of this machine by which others reach it, as far as it has some."""
    found = {*leads(socket.gethostname())}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if not sock.connect_ex(("192.0.2.254", 9)):  # sends nothing
            found.add(sock.getsockname()[0])
    return found


class Asked(ExitStack):
    """Ports, the rules about them, and what is asked for."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        bound = [self.enter_context(socket.socket(socket.AF_INET6)) for _ in range(3)]
        for sock in bound:
            sock.bind(("::1", 0))  # so that nobody else has it; nobody listens there
        self.refused, self.starred, self.unnamed = (sock.getsockname()[1] for sock in bound)
        everywhere = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        self.open = self.enter_context(everywhere).getsockname()[1]
        datagrams = [self.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
        for sock in datagrams:
            sock.bind(("127.0.0.1", 0))
        self.datagrams, self.others = (sock.getsockname()[1] for sock in datagrams)
        (place / "app").mkdir()
        (place / "secret").mkdir()
        (place / "app" / "out.sock").symlink_to(place / "secret" / "s.sock")
        for path in "app/a.sock", "secret/s.sock":
            unix = self.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(str(place / path))
            unix.listen()
        self.place, self.own = place, ours()
        self.rules = [
            Said(True, TCP, "127.0.0.66", 0, 65_535), Said(False, TCP, "127.0.0.0/8", self.open, self.open),
            Said(False, TCP, "::1", self.open, self.open), Said(False, TCP, "127.0.0.1", self.refused, self.refused),
            Said(False, UDP, "127.0.0.1", self.datagrams, self.datagrams),
            Said(False, TCP, "*", self.starred, self.starred),
        ]  # fmt: skip

    def targets(self) -> Iterator[At]:
        """TCP and datagrams."""
        name = socket.gethostname()
        yield from ((TCP, host, self.open) for host in [*LOOPBACK, name])
        yield from ((TCP, host, self.starred) for host in [*LOOPBACK, *NEVER, name, *self.own])
        yield from ((TCP, host, self.refused) for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost", "127.0.0.66"))
        yield from ((TCP, host, self.unnamed) for host in ("127.0.0.1", "name.invalid", "8.8.8.8", "10.0.0.1", "::1"))
        yield from ((UDP, host, self.datagrams) for host in ("127.0.0.1", "127.1", "0", "127.0.0.2", "::1", "8.8.8.8"))
        yield from ((UDP, host, self.others) for host in ("127.0.0.1", "127.1", "224.0.0.251", "255.255.255.255"))
        yield UDP, "127.0.0.1", self.starred

    def permitted(self, kind: str, host: str, port: int) -> set[At]:
        """What may be connected to for one of these."""
        where = (each for each in leads(host) if permitted(self.rules, kind, host, each, port, self.own))
        return {(kind, each, port) for each in where}

    def paths(self) -> dict[str, str]:
        """Unix sockets: as they are asked for, and what may be connected to, if anything may."""
        top, app = str(self.place), f"{self.place}/app"
        asked = {
            f"{app}/a.sock": f"{app}/a.sock",
            f"{top}//app/../app/a.sock": f"{app}/a.sock",
            f"{app}/n.sock": f"{app}/n.sock",
        }
        return asked | dict.fromkeys([f"{app}/out.sock", f"{top}/secret/s.sock", f"{app}/a.sock\0", "app/a.sock"], "")

    def listens(self, at: At) -> bool:
        """Whether somebody is there."""
        return at[2] in (self.open, self.datagrams) or at == (UNIX, f"{self.place}/app/a.sock", 0)

    def may_be_of_a_look_up(self, at: At) -> bool:
        """Whether the system may do it for itself: it asks name servers, and how packets to addresses would go."""
        kind, where, port = at
        if kind == UNIX:
            return not where.startswith(str(self.place)) and where.startswith("/")
        return kind == UDP and port not in (self.datagrams, self.others)


def can_trace() -> bool:
    """Some sandboxes refuse ptrace."""
    done = subprocess.run([tool("strace"), "-qq", "-o", "/dev/null", "true"], check=False, capture_output=True)
    return done.returncode == 0


@pytest.mark.parametrize("way", ["strace", "audit"])
def test_a_server_connects_to_what_is_permitted_and_to_nothing_else(way: str, tmp_path: Path) -> None:
    if way == "strace" and not can_trace():
        return  # the other way tells nearly the same
    with Watched(tmp_path, way) as site, Asked(tmp_path) as asked:
        served = Served(site, permit=f"{tmp_path}/app/*.sock")
        assert site.run("permit", "peer", *map(str, asked.rules), "--home", site.home).returncode == 0
        expected, numbers = set[At](), dict[int, set[At]]()
        with Visit(served) as visit:
            visitor = visit.visitor()
            for kind, host, port in asked.targets():
                numbers[visitor.open(port, host, KINDS[kind])] = asked.permitted(kind, host, port)
            for path, leads_to in asked.paths().items():
                numbers[visitor.open(0, path, Kind.UNIX)] = {(UNIX, leads_to, 0)} if leads_to else set()
            assert len(numbers) >= 60
            visitor.answered(*numbers)
            for number, allowed in numbers.items():
                opened = visitor.streams[number].answer[0] == peer.OPENED
                assert opened is any(map(asked.listens, allowed)), (number, allowed, visitor.streams[number].answer)
                expected |= allowed
        served.process.popen.kill()
        served.process.wait()  # and for strace, which has its stderr
        connected = {at for at in site.connected() if at in expected or not asked.may_be_of_a_look_up(at)}
        assert connected == expected
