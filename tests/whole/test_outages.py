"""Outages as people meet them: real programs, and a network, a server or an address that goes away in the middle."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faultproxy import FaultProxy
from loopback import read_exactly
from openssh import Ssh
from program import BOUND, NITROSOCKS, Process, Site, port_of, tool
from targets import Target, dial, echo, exchange

CUTS = 5
SIZE = 200_000_000
AT_ONCE = 2.0  # seconds; a pause between two attempts, an attempt or a release would be longer sooner or later
BACK = 10.0  # seconds until a server that is back is used again
MOVED = 90.0  # seconds until a wait for a transfer whose address went away is given up
SERVER, OLD, NEW = "10.203.17.1", "10.203.17.2", "10.203.17.3"


class Proxied(Site):
    """A site whose server stands behind a proxy that fails as it is told: `port` of the server is the proxy's."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.faults = self.enter_context(FaultProxy(("127.0.0.1", 0)))

    def serve(self, *words: object, listen: str = "127.0.0.1:0") -> Process:
        server = super().serve(*words, listen=listen)
        self.faults.upstream = ("127.0.0.1", server.port)
        server.port = self.faults.port
        return server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Proxied]:
    with Proxied(tmp_path) as made:
        yield made


# -- cuts under ssh and scp --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rst", [True, False], ids=["RST", "FIN"])
def test_an_ssh_session_types_on_across_cuts(site: Proxied, rst: bool) -> None:
    """Lines are typed before a cut, whose echo may be lost with it, and behind it."""
    ssh = Ssh(site, more=["-v"])
    way = [*ssh.options, f"-p{ssh.port}", "127.0.0.1"]
    session = site.start(tool("ssh"), *way, "cat", stdin=subprocess.PIPE)
    assert session.popen.stdin is not None and session.out is not None
    typed = []

    def enter(count: int) -> str:
        for _ in range(count):
            typed.append(f"line {len(typed):04d}\n")
            session.popen.stdin.write(typed[-1].encode())
        return typed[-1]

    session.out.wait(enter(1))
    for _ in range(CUTS):
        enter(20)
        assert site.faults.cut(rst) == 1
        session.out.wait(enter(20))
    session.popen.stdin.close()
    assert session.wait() == 0
    assert str(session.out) == "".join(typed)
    told = re.findall(r"connection (lost|restored) (?:\(|after)", str(session.err))
    assert told == ["lost", "restored"] * CUTS


@pytest.mark.parametrize(("direction", "rst"), [("up", True), ("down", False)], ids=["up-RST", "down-FIN"])
def test_scp_across_cuts(site: Proxied, direction: str, rst: bool) -> None:
    """Every connection is cut after an eighth of the file."""
    ssh, original, copy = Ssh(site, more=["-v"]), site.place / "original", site.place / "copy"
    data = os.urandom(SIZE)
    original.write_bytes(data)
    site.faults.cut_after(SIZE // 8, direction, rst, "each")
    there = f"127.0.0.1:{copy if direction == 'up' else original}"
    done = ssh.copy(*((str(original), there) if direction == "up" else (there, str(copy))))
    assert done.returncode == 0, done.stderr
    with copy.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(data).digest()
    told = done.stderr.decode()
    assert CUTS < told.count("connection lost (") == told.count("connection restored") < site.faults.connections


# -- a server that goes away -------------------------------------------------------------------------------------------


class Echoes:
    """A server, an echo behind it, and a `forward` that leads there."""

    def __init__(self, site: Proxied) -> None:
        self.target = site.enter_context(Target(echo))
        self.server = site.serve("--drain", "0")  # at the end it need not wait for a client that is gone
        self.port = site.faults.upstream[1]  # where the server itself is
        profile = site.profile("alice", self.server.port)
        self.client = site.forward(profile, f"0:127.0.0.1:{self.target.port}", words=("-v",))

    def stream(self) -> socket.socket:
        """One that is known to be open."""
        sock = dial(self.client.port)
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        return sock


def test_a_killed_server_that_is_back_is_used_again(site: Proxied) -> None:
    echoes = Echoes(site)
    with echoes.stream() as sock:
        assert echoes.server.signal(signal.SIGKILL).wait() == -signal.SIGKILL
        echoes.client.err.wait("connection lost")
        site.serve(listen=f"127.0.0.1:{echoes.port}")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    told = echoes.client.err.wait("connection reset")
    assert f"127.0.0.1:{echoes.target.port}: " in told and "the server no longer knows the session" in told
    with dial(echoes.client.port) as sock:
        sock.settimeout(BACK)
        assert exchange(sock, b"y" * 1_000_000) == b"y" * 1_000_000
    assert echoes.client.popen.poll() is None


OUTAGES: dict[str, Callable[[FaultProxy], Any]] = {
    "closed at once": lambda proxy: (proxy.refuse(True), proxy.cut()),
    "refused": lambda proxy: (proxy.refuse(True, listening=False), proxy.cut()),
    "swallowed": lambda proxy: (proxy.blackhole(), proxy.cut()),  # an attempt hangs
}


EACH = [pytest.param(begin, id=name) for name, begin in OUTAGES.items()]


@pytest.mark.parametrize("begin", EACH)
def test_an_interrupt_during_an_outage_ends_forward_at_once(site: Proxied, begin: Callable[[FaultProxy], Any]) -> None:
    echoes = Echoes(site)
    with echoes.stream() as sock:
        before = site.faults.connections
        begin(site.faults)
        echoes.client.err.wait("connection lost")
        if begin is not OUTAGES["refused"]:
            site.faults.wait_connections(before + 1)  # an attempt is under way, or was
        assert echoes.client.signal(signal.SIGINT).popen.wait(AT_ONCE) == 0
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    echoes.client.wait()


# -- an address that goes away -----------------------------------------------------------------------------------------

# Reads half of what will come, says so, reads on when it is told to, and answers with the digest of all.
DIGESTS = """
import hashlib, socket, sys
half, digest = int(sys.argv[1]), hashlib.sha256()
listener = socket.create_server(("127.0.0.1", 0))
print("listening on port:", listener.getsockname()[1], sep="", flush=True)
sock, _ = listener.accept()
while half > 0:
    piece = sock.recv(min(half, 65536))
    half -= len(piece)
    digest.update(piece)
print("half", flush=True)
sys.stdin.readline()
while piece := sock.recv(65536):
    digest.update(piece)
sock.sendall(digest.hexdigest().encode() + b"\\n")
sock.close()
"""


class Namespaces:
    """Two network namespaces, the server's and the client's, with a cable between them."""

    def __init__(self) -> None:
        self.server, self.client = (f"nitrosocks-{os.getpid()}-{side}" for side in ("server", "client"))

    def make(self) -> None:
        """Skips the test where they cannot be made."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("network namespaces need root and iproute2")
        ends = ["cable", "netns", self.server, "type", "veth", "peer", "name", "cable", "netns", self.client]
        try:
            for name in (self.server, self.client):
                self.ip("netns", "add", name)
            self.ip("link", "add", *ends)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made: {error.stderr.strip()}")
        for name, address in ((self.server, SERVER), (self.client, OLD)):
            self.address(name, "add", address)
            for device in ("lo", "cable"):
                self.ip("-n", name, "link", "set", device, "up")

    def ip(self, *words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True, text=True, timeout=BOUND)

    def address(self, name: str, do: str, address: str) -> None:
        self.ip("-n", name, "address", do, f"{address}/24", "dev", "cable")

    def inside(self, name: str, *argv: object) -> tuple[object, ...]:
        return ("ip", "netns", "exec", name, *argv)

    def remove(self) -> None:
        """What is not there is no matter."""
        if shutil.which("ip") is not None:
            for name in (self.server, self.client):
                self.ip("netns", "delete", name, check=False)


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    made = Namespaces()
    try:
        made.make()
        yield made
    finally:
        made.remove()


@pytest.mark.netns
def test_a_transfer_survives_a_change_of_the_address(namespaces: Namespaces, tmp_path: Path) -> None:
    """Windows and buffers are full when the address goes: the target does not read, the client still writes.

    The session moves to the new address before it is lost, so nobody is told.
    """
    data = os.urandom(1 << 26)
    with Site(tmp_path) as site:
        serve = [*NITROSOCKS, "serve", "--listen", f"{SERVER}:0", "--heartbeat", "5", "--home", site.home]
        server = site.start(*namespaces.inside(namespaces.server, *serve))
        where = f"{SERVER}:{port_of(server.err.wait('listening on'))}"
        digests = [NITROSOCKS[0], "-c", DIGESTS, len(data) // 2]
        target = site.start(*namespaces.inside(namespaces.server, *digests), stdin=subprocess.PIPE)
        assert target.out is not None and target.popen.stdin is not None
        port = port_of(target.out.wait("listening on"))
        profile = site.place / "alice.profile"
        words = ["--server", where, "--permit", "127.0.0.1:*", "-o", profile, "--home", site.home]
        assert site.run("keygen", "alice", *words).returncode == 0
        connect = [*NITROSOCKS, "connect", "-i", profile, "127.0.0.1", port]
        client = site.start(*namespaces.inside(namespaces.client, *connect), stdin=subprocess.PIPE)
        assert client.out is not None and client.popen.stdin is not None
        sender = threading.Thread(target=send, args=(client, data), daemon=True)
        sender.start()
        target.out.wait("half")
        namespaces.address(namespaces.client, "delete", OLD)
        namespaces.address(namespaces.client, "add", NEW)
        target.popen.stdin.write(b"go on\n")
        assert client.popen.wait(MOVED) == 0, str(client.err)
        sender.join(BOUND)
        client.wait()
        assert str(client.out) == hashlib.sha256(data).hexdigest() + "\n"
        assert str(client.err) == ""


def send(process: Process, data: bytes) -> None:
    """All of it, and the end."""
    assert process.popen.stdin is not None
    with process.popen.stdin as pipe:
        pipe.write(data)
