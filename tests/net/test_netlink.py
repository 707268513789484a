"""What counts as a change, and what is noise: messages made by hand as the kernel sends them, and real ones."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
from collections.abc import Iterator

import netns
import pytest
from netns import Net
from ready import readable

from nitrosocks_lib.net import netlink
from nitrosocks_lib.net.netlink import ADDRESS, LINK, LOST, ROUTE, Netlink

net = netns.net

V4, V6 = socket.AF_INET, socket.AF_INET6
UP, RUNNING, LOOPBACK = 0x1, 0x40, 0x8
TENTATIVE, OPTIMISTIC = 0x40, 0x04
GLOBAL, SCOPE_LINK = 0, 253
MAIN, LOCAL = 254, 255
UNICAST, BLACKHOLE, KIND_LOCAL, MULTICAST = 1, 6, 2, 5
SERVER, SERVER6 = "198.51.100.7", "2001:db8::7"


def message(kind: int, body: bytes, sequence: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def number(value: int) -> bytes:
    return struct.pack("=I", value)


def address(kind: int, text: str, flags: int = 0, scope: int = GLOBAL, link: int = 2) -> bytes:
    family = V6 if ":" in text else V4
    lifetime = attribute(6, struct.pack("=IIII", 3600, 7200, 1, 2))
    told = attribute(1, socket.inet_pton(family, text)) + lifetime + attribute(8, number(flags))
    return message(kind, struct.pack("=BBBBI", family, 24, flags, scope, link) + told)


def link(kind: int, flags: int, index: int = 2, family: int = 0, more: bytes = b"") -> bytes:
    return message(kind, struct.pack("=BxHiII", family, 1, index, flags, 0) + attribute(3, b"eth0\0") + more)


def route(
    kind: int,
    prefix: str,
    via: str = "192.0.2.1",
    table: int = MAIN,
    *,
    leads: int = UNICAST,
    flags: int = 0,
    age: int = 0,
) -> bytes:
    destination, _, length = prefix.partition("/")
    family = V6 if ":" in destination else V4
    told = attribute(15, number(table)) + attribute(5, socket.inet_pton(family, via)) + attribute(4, number(2))
    if int(length):
        told += attribute(1, socket.inet_pton(family, destination))
    told += attribute(12, struct.pack("=8I", *[age] * 8)) + attribute(23, number(age))
    return message(kind, struct.pack("=BBBBBBBBI", family, int(length), 0, 0, table, 3, 0, leads, flags) + told)


def rule(kind: int) -> bytes:
    return message(kind, struct.pack("=BBBBBBBBI", V4, 0, 0, 0, MAIN, 0, 0, 1, 0))


NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, NEWRULE, DELRULE = 16, 17, 20, 21, 24, 25, 32, 33


class Told(Netlink):
    """One that hears what the test says, on an address and a link that it knows."""

    def __init__(self, *servers: str) -> None:
        super().__init__(lambda: servers)
        self._sock.close()
        self._sock, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self.hear(link(NEWLINK, UP | RUNNING), address(NEWADDR, "192.0.2.5"), address(NEWADDR, "2001:db8::5"))

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        return netlink.messages(self._sock.recv(1 << 16))

    def hear(self, *said: bytes) -> set[str]:
        self.kernel.send(b"".join(said))
        return self.read()

    def close(self) -> None:
        super().close()
        self.kernel.close()


@pytest.fixture
def told() -> Iterator[Told]:
    if not hasattr(socket, "AF_NETLINK"):
        pytest.skip("network namespaces and netlink are Linux's")
    made = Told(SERVER, SERVER6)
    yield made
    made.close()


CHANGES = {
    "a new address": (address(NEWADDR, "192.0.2.6"), ADDRESS),
    "a new address of IPv6": (address(NEWADDR, "2001:db8::6"), ADDRESS),
    "the same address on another link": (address(NEWADDR, "192.0.2.5", link=3), ADDRESS),
    "an optimistic address": (address(NEWADDR, "2001:db8::6", TENTATIVE | OPTIMISTIC), ADDRESS),
    "an address is gone": (address(DELADDR, "192.0.2.5"), ADDRESS),
    "somebody else has the address": (address(NEWADDR, "2001:db8::5", TENTATIVE), ADDRESS),
    "a cable is pulled": (link(NEWLINK, UP), LINK),
    "a link is switched off": (link(NEWLINK, 0), LINK),
    "a link is gone": (link(DELLINK, 0), LINK),
    "a default route": (route(NEWROUTE, "0.0.0.0/0"), ROUTE),
    "a default route of IPv6": (route(NEWROUTE, "::/0", "fe80::1"), ROUTE),
    "a route to the server": (route(NEWROUTE, "198.51.100.0/29"), ROUTE),
    "a route to that server alone": (route(NEWROUTE, f"{SERVER6}/128", "fe80::1"), ROUTE),
    "a route in a table of its own": (route(NEWROUTE, "0.0.0.0/0", table=51820 & 0xFF), ROUTE),
    "a route that leads to nowhere": (route(NEWROUTE, "0.0.0.0/0", leads=BLACKHOLE), ROUTE),
    "a route is gone": (route(DELROUTE, "0.0.0.0/0"), ROUTE),
    "a rule": (rule(NEWRULE), ROUTE),
    "a rule is gone": (rule(DELRULE), ROUTE),
}

NOISE = {
    "an address's lifetime": address(NEWADDR, "2001:db8::5"),
    "an address that is still checked": address(NEWADDR, "2001:db8::6", TENTATIVE),
    "an unknown address is gone": address(DELADDR, "2001:db8::6"),
    "an address of one link": address(NEWADDR, "fe80::5", scope=SCOPE_LINK),
    "statistics": link(NEWLINK, UP | RUNNING, more=attribute(7, bytes(96))),
    "a wireless event": link(NEWLINK, UP | RUNNING, more=attribute(11, b"scan done")),
    "another flag": link(NEWLINK, UP | RUNNING | 0x100),
    "a new link": link(NEWLINK, UP | RUNNING, index=7),
    "loopback": link(NEWLINK, UP | LOOPBACK, index=1),
    "a port leaves its bridge": link(DELLINK, UP, family=7),
    "a link without address goes": link(NEWLINK, UP | RUNNING, index=7) + link(NEWLINK, 0, index=7),
    "a route elsewhere": route(NEWROUTE, "203.0.113.0/24"),
    "a route elsewhere of IPv6": route(NEWROUTE, "2001:db8:1::/48", "fe80::1"),
    "the other half": route(NEWROUTE, "0.0.0.0/1"),
    "a route of the table local": route(NEWROUTE, "0.0.0.0/0", table=LOCAL, leads=KIND_LOCAL),
    "a cached route": route(NEWROUTE, f"{SERVER}/32", flags=0x200),
    "multicast": route(NEWROUTE, "::/0", "fe80::1", leads=MULTICAST),
    "another message": message(28, bytes(12)),
    "what is cut short": route(NEWROUTE, "0.0.0.0/0")[:-4],
}


@pytest.mark.parametrize(("said", "reason"), CHANGES.values(), ids=CHANGES)
def test_a_change(told: Told, said: bytes, reason: str) -> None:
    assert told.hear(said) == {reason}


@pytest.mark.parametrize("said", NOISE.values(), ids=NOISE)
def test_noise(told: Told, said: bytes) -> None:
    assert told.hear(said) == set()


def test_a_checked_address_is_one_change(told: Told) -> None:
    said = [address(NEWADDR, "2001:db8::6", flags) for flags in (TENTATIVE, 0, 0)]
    assert [told.hear(each) for each in said] == [set(), {ADDRESS}, set()]


def test_a_route_that_is_told_again_is_noise(told: Told) -> None:
    """A router announces itself all the time, and its route grows older."""
    said = [route(NEWROUTE, "::/0", gateway, age=age) for age, gateway in enumerate(["fe80::1", "fe80::1", "fe80::2"])]
    assert [told.hear(each) for each in said] == [{ROUTE}, set(), {ROUTE}]


@pytest.mark.parametrize(
    "between", [route(DELROUTE, "::/0", "fe80::1"), link(NEWLINK, UP), address(DELADDR, "192.0.2.5")]
)
def test_a_route_that_is_back_is_none(told: Told, between: bytes) -> None:
    """With a link or an address routes may go of which nothing is told."""
    assert told.hear(route(NEWROUTE, "::/0", "fe80::1")) == {ROUTE}
    assert told.hear(between)
    assert told.hear(route(NEWROUTE, "::/0", "fe80::1")) == {ROUTE}


def test_what_is_remembered_of_routes_is_bounded(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "_ROUTES_MAX", 4)
    for table in range(10):
        assert told.hear(route(NEWROUTE, "::/0", "fe80::1", table)) == {ROUTE}
        assert told.hear(route(NEWROUTE, "::/0", "fe80::1", table)) == set()
        assert len(told._routes) <= 4


def test_several_changes_at_once(told: Told) -> None:
    said = link(NEWLINK, UP), address(DELADDR, "192.0.2.5"), route(DELROUTE, "0.0.0.0/0")
    assert told.hear(*said) == {LINK, ADDRESS, ROUTE}
    assert told.read() == set()


def test_without_known_servers_any_route_counts_that_is_more_than_one_link(told: Told) -> None:
    told._towards = netlink.none
    assert told.hear(route(NEWROUTE, "203.0.113.0/24")) == {ROUTE}
    assert told.hear(route(NEWROUTE, "fe80::/64", "fe80::1"), route(NEWROUTE, "ff00::/8", "fe80::1")) == set()


def test_a_dead_netlink_is_told_by_an_error(told: Told) -> None:
    told.kernel.close()
    told._sock.shutdown(socket.SHUT_RDWR)
    told._sock.close()
    with pytest.raises(OSError):
        told.read()


def test_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK", raising=False)
    with pytest.raises(OSError) as caught:
        Netlink()
    assert caught.value.errno == errno.EAFNOSUPPORT


@pytest.mark.parametrize(
    ("prefix", "inside"),
    [
        ("0.0.0.0/0", True), ("198.51.100.0/24", True), ("198.51.100.8/29", False), (f"{SERVER}/32", True),
        ("::/0", False), ("2001:db8::/32", False),
    ],
)  # fmt: skip
def test_covers(prefix: str, inside: bool) -> None:
    address, _, length = prefix.partition("/")
    family = V6 if ":" in address else V4
    assert netlink.covers(family, socket.inet_pton(family, address), int(length), SERVER) is inside
    assert netlink.covers(V6, socket.inet_pton(V6, "fe80::"), 10, "fe80::7%eth0") is True
    assert netlink.covers(V4, b"", 0, "no address") is False


def held(net: Net) -> Netlink:
    """One that watches the client's machine."""
    with net.client.entered():
        return Netlink()


@pytest.mark.netns
def test_what_the_kernel_says_of_changes(net: Net) -> None:
    """The kernel has queued its messages when `ip` is done, but of IPv6 addresses: those it tells a little later."""
    watch = held(net)
    for words, reason in (
        ("address add 10.204.0.1/24 dev wire", ADDRESS),
        ("route add 10.205.0.0/16 via 10.204.0.7", ROUTE),
        ("route replace 10.205.0.0/16 via 10.204.0.7", None),
        ("route replace 10.205.0.0/16 via 10.204.0.8", ROUTE),
        ("link add one type veth peer name other", None),
        ("link set dev one mtu 1400", None),
        ("link set dev one up", None),
        ("link delete one", None),
        ("neighbour add 10.204.0.7 lladdr 02:00:00:00:00:01 dev wire", None),
        ("rule add from 10.204.0.1 lookup 77", ROUTE),
        ("-6 address add fd00::1/64 dev wire nodad", ADDRESS),
        ("-6 address change fd00::1/64 dev wire valid_lft 900 preferred_lft 600", None),
        ("address delete 10.204.0.1/24 dev wire", ADDRESS),
        ("link set dev wire down", LINK),
    ):
        net.client.ip(*words.split())
        news = watch.read()
        while reason and reason not in news:
            assert readable(watch, netns.BOUND), (words, news)
            news |= watch.read()
        assert reason or not news, (words, news)
    watch.close()


@pytest.mark.netns
def test_a_flood_that_the_kernel_drops_is_a_change(net: Net) -> None:
    """Read by nobody meanwhile; and behind it the addresses are known again."""
    watch = held(net)
    watch._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    many = "".join(f"address add 10.204.0.{n}/32 dev wire\n" for n in range(1, 200))
    batch = [str(word) for word in net.client.exec("ip", "-batch", "-")]
    subprocess.run(batch, input=many, text=True, check=True, timeout=30)
    assert LOST in watch.read()
    assert len(watch._addresses) == 200
    assert watch.read() == set()
    net.client.ip("address", "delete", "10.204.0.7/32", "dev", "wire")
    assert watch.read() == {ADDRESS}
    watch.close()
