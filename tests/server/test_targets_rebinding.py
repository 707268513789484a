"""No address that is forbidden is ever connected to: random rules, targets, machines, and names that change.

Whatever connects is recorded, and judged by an oracle of its own. Nothing leaves this machine.
"""

from __future__ import annotations

import errno
import gc
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from typing import Any

import pytest
from dialling import Session
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_oracle import TCP, UDP, Said, is_loopback, permitted

from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server import targets
from nitrosocks_lib.session.dialling import Reached, Unreached
from nitrosocks_lib.session.dials import Reach
from nitrosocks_lib.session.resolvers import Resolvers

NAMES = ["a.example", "b.a.example", "A.Example.", "xa.example", "example", "a.example.evil.example"]
NUMERIC = {  # as it is asked for, and where that leads
    "127.1": "127.0.0.1", "0x7f.2": "127.0.0.2", "2130706433": "127.0.0.1", "0177.0.0.3": "127.0.0.3", "0": "0.0.0.0",
    "0.0.0.0": "0.0.0.0", "::": "::", "::1": "::1", "::ffff:127.0.0.2": "::ffff:127.0.0.2", "8.8.8.8": "8.8.8.8",
    "::FFFF:0.0.0.0": "::ffff:0.0.0.0", "64:ff9b::7f00:1": "64:ff9b::7f00:1", "10.0.0.1": "10.0.0.1",
    "2002:808:808::1": "2002:808:808::1", "169.254.1": "169.254.0.1", "192.0.2.7": "192.0.2.7",
}  # fmt: skip
ADDRESSES = [
    "127.0.0.1", "127.0.0.2", "127.0.0.3", "0.0.0.0", "255.255.255.255", "224.0.0.1", "169.254.169.254", "10.0.0.1",
    "10.0.0.2", "8.8.8.8", "192.0.2.7", "192.0.2.8", "::1", "::", "fe80::1", "ff02::1", "fd00::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:127.0.0.2", "::ffff:0.0.0.0", "::ffff:10.0.0.1", "::ffff:192.0.2.7", "::127.0.0.1",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1:7f00:0:100::", "64:ff9b:1::808:808",
    "64:ff9b:1:a00:0:100:808:808", "2002:7f00:1::1", "2002:a00:1::1", "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:0:a00:1:8000:63bf:f5ff:fffe",
]  # fmt: skip
BLOCKS = [
    "127.0.0.0/8", "127.0.0.1", "127.0.0.2/32", "0.0.0.0/0", "0.0.0.0/8", "10.0.0.0/8", "10.0.0.1", "8.8.8.8",
    "192.0.2.0/24", "169.254.0.0/16", "::/0", "::1", "fe80::/10", "fd00::/8", "2001:db8::/32", "2002::/15",
    "64:ff9b::/32",
]  # fmt: skip
HOSTS = ["*", "*.example", "*.a.example", "a.example", "b.a.example", "example", *BLOCKS]
KINDS = {TCP: (Kind.TCP, socket.SOCK_STREAM), UDP: (Kind.UDP, socket.SOCK_DGRAM)}
Wanted = tuple[str, str, int]  # kind, host, number of a port

connected: list[tuple[int, int, str]] = []  # type of socket, port, address


class Recorded(socket.socket):
    """Keeps where it is to be connected to, and leads only to loopback."""

    def connect(self, address: Any) -> None:
        if code := self._kept(address):
            raise OSError(code, "not from here")
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        return self._kept(address) or super().connect_ex(address)

    def _kept(self, address: Any) -> int:
        if self.family not in (socket.AF_INET, socket.AF_INET6):
            return 0
        connected.append((int(self.type), address[1], address[0]))
        return 0 if is_loopback(address[0]) else errno.ENETUNREACH


class Names:
    """A resolver that answers each question with what comes next, and keeps what it said."""

    def __init__(self) -> None:
        self.answers = cycle([[""]])
        self.said: dict[tuple[str, int], list[str]] = {}

    def resolve(self, host: str, port: int) -> list[Place]:
        self.said[host, port] = answer = next(self.answers)
        if not answer:
            raise socket.gaierror(-2, "Name or service not known")
        return [place(each, port) for each in answer]


def place(address: str, port: int) -> Place:
    """Of a numeric address."""
    return (socket.AF_INET6, (address, port, 0, 0)) if ":" in address else (socket.AF_INET, (address, port))


class World:
    """Listeners at all addresses, each at a port of its own; and threads that look names up."""

    def __init__(self, stack: ExitStack) -> None:
        made = [
            stack.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
            for _ in range(4)
        ]
        for each in made:
            each.setblocking(False)
        self._listeners = made
        self.ports = sorted(each.getsockname()[1] for each in made)
        self.names = Names()
        self.resolvers = Resolvers(self.names.resolve)

    def empty(self) -> None:
        """Nobody waits to be accepted."""
        for listener in self._listeners:
            try:
                while True:
                    listener.accept()[0].close()
            except BlockingIOError:
                continue


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        gc.freeze()  # each session collects what is left: not all that the tests have imported as well
        stack.callback(gc.unfreeze)
        yield World(stack)


ports = st.sampled_from([(0, 3), (0, 0), (1, 2), (2, 2), (3, 3), (-1, -1)])  # numbers of ports; -1 is for all
said = st.tuples(st.booleans(), st.sampled_from([TCP, TCP, UDP]), st.sampled_from(HOSTS), ports)
asked = st.tuples(st.sampled_from([TCP, TCP, UDP]), st.sampled_from([*NAMES, *NUMERIC]), st.integers(0, 3))
answers = st.lists(st.sampled_from(ADDRESSES), max_size=6)


def rule_of(world: World, forbids: bool, kind: str, host: str, numbers: tuple[int, int]) -> Said:
    if numbers[0] < 0:
        return Said(forbids, kind, host, 0, 65_535)
    return Said(forbids, kind, host, world.ports[numbers[0]], world.ports[numbers[1]])


@settings(max_examples=200, deadline=None)
@given(
    drawn=st.lists(said, max_size=5),
    last=st.sampled_from(["*", "0.0.0.0/0", "::/0", "127.0.0.0/8"]),
    wanted=st.lists(asked, min_size=1, max_size=4, unique_by=lambda each: (each[0], each[2])),
    told=st.lists(answers, min_size=1, max_size=5),
    own=st.sets(st.sampled_from(["192.0.2.7", "10.0.0.1", "8.8.8.8", "2002:808:808::1", "2001:db8::1"])),
)
def test_only_what_is_permitted_is_connected_to(
    world: World, drawn: list[Any], last: str, wanted: list[Wanted], told: list[list[str]], own: set[str]
) -> None:
    dialled(world, [rule_of(world, *each) for each in [*drawn, (False, TCP, last, (-1, -1))]], wanted, told, own)


def test_what_is_not_permitted_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server connects to all addresses of a name, or judges another answer than it uses."""
    rules = [rule_of(world, False, TCP, "127.0.0.1", (-1, -1))]
    wanted, told = [(TCP, "a.example", 0)], [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]]
    dialled(world, rules, wanted, told, set())
    monkeypatch.setattr(targets.Ruled, "permitted", lambda _, found: found)
    with pytest.raises(AssertionError, match="127.0.0.2"):
        dialled(world, rules, wanted, told, set())


def dialled(world: World, rules: list[Said], wanted: list[Wanted], told: list[list[str]], own: set[str]) -> None:
    """By the dials of one session, twice: the second time names lead elsewhere."""
    world.names.answers = cycle(told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", Recorded)
        patch.setattr(targets, "own", lambda address: str(address) in own)
        with Session(*map(str, rules), reach=Reach(world.resolvers)) as session:
            for first in (0, 10):
                connected.clear()
                for number, (kind, host, port) in enumerate(wanted, first):
                    session.begin(number, Target(KINDS[kind][0], host, world.ports[port]))
                session.wait(*range(first, first + len(wanted)))
                ways = {(KINDS[kind][1], world.ports[port]) for kind, _, port in wanted}
                assert {(kind, port) for kind, port, _ in connected} <= ways
                for number, target in enumerate(wanted, first):
                    expect_only_permitted(world, rules, target, own, session.decided[number])
    world.empty()


def expect_only_permitted(
    world: World, rules: list[Said], target: Wanted, own: set[str], decided: Reached | Unreached
) -> None:
    """Of this target: it is reached if one of its addresses is permitted, and here; else all of them were tried."""
    kind, host, port = target[0], target[1], world.ports[target[2]]
    leads = [NUMERIC[host]] if host in NUMERIC else world.names.said.get((host, port), [])
    allowed = {each for each in leads if permitted(rules, kind, host, each, port, own)}
    tried = {address for type_, at, address in connected if (type_, at) == (KINDS[kind][1], port)}
    assert tried <= allowed, (target, tried - allowed)
    assert isinstance(decided, Reached) is any(map(is_loopback, allowed))
    assert tried == allowed or isinstance(decided, Reached)
    assert isinstance(decided, Reached) or bool(allowed) is (decided.reply == Reply.NETWORK_UNREACHABLE)
