"""Three network namespaces in a row: a client's machine, the net in the middle, which routes, and a server's machine.

What happens to networks is done in the middle, so that neither end is told of it. Only iproute2 is needed: a flow is
swallowed by a rule of routing, a slow line is tbf. Where the kernel lacks tbf or netem, `line` does their work.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from targets import Target

BOUND = 30.0  # seconds until a wait is given up; no test comes near
LINE = Path(__file__).with_name("line.py")
SERVER = "10.203.19.2"
_GATEWAY, _SERVER_GATEWAY = "10.203.18.1", "10.203.19.1"
_NEAR, _FAR = "toclient", "toserver"  # the devices in the middle
_OUT, _BACK = "outward", "inward"  # the devices of `line`
_WIRE = "wire"  # the device at each end
_BURST = 1600  # bytes that leave at once; a packet must fit
QUEUE = 16 << 10  # bytes that wait before a slow line: two seconds at 64 kbit/s, as in a cheap modem
_PACKETS = 100_000  # that netem may delay at a time
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)


class Impossible(Exception):
    """Network namespaces, or something in them, cannot be had here; the text says why."""


class Namespace:
    """One network namespace, with its loopback up."""

    def __init__(self, side: str) -> None:
        self.name = f"nitrosocks-{os.getpid()}-{next(_numbers)}-{side}"
        ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def remove(self) -> None:
        """The sockets and processes in it keep it alive as long as they live."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True, timeout=BOUND)

    def ip(self, *words: object) -> str:
        """`ip` in there; returns what it prints."""
        return ip("-n", self.name, *words)

    def exec(self, *argv: object) -> tuple[object, ...]:
        """The words that run a program in there."""
        return ("ip", "netns", "exec", self.name, *argv)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in there meanwhile, and what it makes stays there: sockets, threads, processes."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.name}", "rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def set(self, name: str, value: object) -> None:
        """A setting below /proc/sys/net/ipv4."""
        with self.entered():
            Path("/proc/sys/net/ipv4", name).write_text(f"{value}\n", encoding="ascii")


class Net(ExitStack):
    """The three of them, cabled; leaving it ends what was started in the middle and removes all. May raise Impossible.

    The client reaches SERVER; its own address is `address`.
    """

    def __init__(self) -> None:
        super().__init__()
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise Impossible("need root and iproute2")
        with ExitStack() as made:
            self.client, self.middle, self.server = (
                self._namespace(made, side) for side in ("client", "net", "server")
            )
            self._hosts = itertools.count(2)
            self._cable()
            self.push(made.pop_all())

    def _namespace(self, made: ExitStack, side: str) -> Namespace:
        namespace = Namespace(side)
        made.callback(namespace.remove)
        return namespace

    def _cable(self) -> None:
        self.middle.set("ip_forward", 1)
        for end, device, gateway in ((self.client, _NEAR, _GATEWAY), (self.server, _FAR, _SERVER_GATEWAY)):
            peer = ("peer", "name", device, "netns", self.middle.name)
            ip("link", "add", _WIRE, "netns", end.name, "type", "veth", *peer)
            self.middle.set(f"conf/{device}/rp_filter", 0)
            self.middle.ip("address", "add", f"{gateway}/24", "dev", device)
            self.middle.ip("link", "set", device, "up")
            end.ip("link", "set", _WIRE, "up")
        self.server.ip("address", "add", f"{SERVER}/24", "dev", _WIRE)
        self.server.ip("route", "add", "default", "via", _SERVER_GATEWAY)
        self._address_client()

    def _address_client(self) -> None:
        self.address = f"10.203.18.{next(self._hosts)}"
        self.client.ip("address", "add", f"{self.address}/24", "dev", _WIRE)
        self.client.ip("route", "add", "default", "via", _GATEWAY)

    def move_client(self) -> None:
        """The client's address is gone, and it has another: what is under way to the old one arrives nowhere."""
        self.client.ip("address", "delete", f"{self.address}/24", "dev", _WIRE)
        self._address_client()

    def flows(self, port: int) -> list[int]:
        """The client's ports of the connections that it has to this port of SERVER."""
        listed = _run(*self.client.exec("ss", "-tnH", "state", "established", "dst", f"{SERVER}:{port}"))
        return [int(line.split()[2].rpartition(":")[2]) for line in listed.splitlines()]

    def swallow(self, flows: list[int]) -> None:
        """From now on nothing of these flows passes, either way, and nobody is told. Other connections pass."""
        for flow in flows:
            for device, side in ((_NEAR, "sport"), (_FAR, "dport")):
                self.middle.ip(
                    "rule", "add", "priority", 50, "iif", device, "ipproto", "tcp", side, flow, "blackhole"
                )  # fmt: skip

    def shape(self, bits: int = 0, rtt: float = 0.0) -> str:
        """Makes the line slow (`bits` a second, each way), long (`rtt` seconds there and back) or both; once.

        Returns what does it: tbf, netem or line.
        """
        delay = f"{rtt / 2 * 1e6:.0f}us"
        if bits and not rtt:
            name, words = "tbf", ["tbf", "rate", f"{bits}bit", "burst", _BURST, "limit", QUEUE]
        else:
            rate = ["rate", f"{bits}bit"] if bits else []
            name, words = "netem", ["netem", "delay", delay, *rate, "limit", QUEUE // _BURST if bits else _PACKETS]
        try:
            for device in (_NEAR, _FAR):
                _run("tc", "-n", self.middle.name, "qdisc", "add", "dev", device, "root", *words)
        except Impossible:
            self.lengthen(bits, rtt)
            return "line"
        return name

    def lengthen(self, bits: int = 0, rtt: float = 0.0) -> None:
        """The same by `line`: the middle hands each packet to it, and routes what it gives back."""
        argv = self.middle.exec(sys.executable, LINE, "--delay", rtt / 2, "--bits", bits, "--queue", QUEUE, _OUT, _BACK)
        process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.callback(process.communicate, timeout=BOUND)  # the end of its stdin ends it
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise Impossible("need /dev/net/tun for a line of another length or speed")
        for table, device, tun in ((101, _NEAR, _OUT), (102, _FAR, _BACK)):
            self.middle.set(f"conf/{tun}/rp_filter", 0)
            self.middle.ip("link", "set", "dev", tun, "txqueuelen", 10_000, "up")
            self.middle.ip("route", "add", "default", "dev", tun, "table", table)
            self.middle.ip("rule", "add", "priority", 100, "iif", device, "lookup", table)


def ip(*words: object) -> str:
    """Runs `ip`; returns what it prints, or raises Impossible with what it complains of."""
    return _run("ip", *words)


def _run(*argv: object) -> str:
    words = [str(word) for word in argv]
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=BOUND).stdout
    except FileNotFoundError:
        raise Impossible(f"need {words[0]}, of iproute2") from None
    except subprocess.CalledProcessError as error:
        raise Impossible(f"cannot be had: {' '.join(words)}: {error.stderr.strip()}") from None


def _enter(namespace: int) -> None:
    """setns(2), which Python has since 3.12 only."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def target_in(
    namespace: Namespace, serve: Callable[[socket.socket], None], host: str = "127.0.0.1"
) -> Iterator[Target]:
    """A Target in there. At the end its connections are cut: of those that were swallowed it would never hear."""
    socks: list[socket.socket] = []

    def talk(sock: socket.socket) -> None:
        socks.append(sock)
        serve(sock)

    with namespace.entered():
        target = Target(talk, host)
    with target:
        try:
            yield target
        finally:
            for sock in socks:
                with suppress(OSError):  # closed, or the other end is gone
                    sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def net() -> Iterator[Net]:
    """A Net for one test, which is skipped where there can be none."""
    try:
        made = Net()
    except Impossible as why:
        pytest.skip(f"network namespaces {why}")
    with made:
        yield made
