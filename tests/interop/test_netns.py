"""The networks of the tests do what they say: swallow a flow, move an address, be slow, be long.

Only lower bounds of time are held: a line is never faster than it may be.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import netns
import pytest
from loopback import read_exactly
from netns import SERVER, Impossible, Namespace, Net
from targets import Target, dial, echo

RTT = 0.05  # seconds
BITS = 160_000  # a second
FULL = 32 << 10  # bytes; more than a slow line takes at once

pytestmark = pytest.mark.netns
net = netns.net


@pytest.fixture
def target(net: Net) -> Iterator[Target]:
    with netns.target_in(net.server, echo, SERVER) as made:
        yield made


def connect(net: Net, target: Target) -> socket.socket:
    with net.client.entered():
        return dial(target.port, SERVER)


def exchange(sock: socket.socket, sent: bytes = b"x") -> float:
    """Seconds until they are back."""
    began = time.monotonic()
    sock.sendall(sent)
    assert read_exactly(sock, len(sent)) == sent
    return time.monotonic() - began


def test_a_thread_is_inside_for_a_while(net: Net) -> None:
    here = socket.if_nameindex()
    with net.client.entered():
        assert [name for _, name in socket.if_nameindex() if name != "lo"] == ["wire"]
    assert socket.if_nameindex() == here


def test_what_is_swallowed_is_one_flow(net: Net, target: Target) -> None:
    with connect(net, target) as old, connect(net, target) as other:
        exchange(old)
        exchange(other)
        flow = old.getsockname()[1]
        assert {flow, other.getsockname()[1]} == set(net.flows(target.port))
        net.swallow([flow])
        old.sendall(b"lost")
        exchange(other)
        with connect(net, target) as new:
            exchange(new)
        old.setblocking(False)
        with pytest.raises(BlockingIOError):  # no byte, no end, no error
            old.recv(1)
        assert flow in net.flows(target.port)


def test_a_client_that_moved_has_another_address(net: Net, target: Target) -> None:
    with connect(net, target) as old:
        exchange(old)
        before = net.address
        net.move_client()
        with connect(net, target) as new:
            exchange(new)
            assert new.getsockname()[0] == net.address != before == old.getsockname()[0]


def shaped(shape: Callable[..., object], net: Net, **line: float) -> None:
    """Skips the test where there is neither what `tc` needs nor what `line` needs."""
    try:
        shape(net, **line)
    except Impossible as why:
        pytest.skip(f"network namespaces {why}")


@pytest.mark.parametrize("shape", [Net.shape, Net.lengthen])
def test_a_long_line(net: Net, target: Target, shape: Callable[..., object]) -> None:
    shaped(shape, net, rtt=RTT)
    with connect(net, target) as sock:
        assert exchange(sock) >= RTT
        sock.settimeout(netns.BOUND)
        exchange(sock, bytes(1 << 16))
        net.swallow([sock.getsockname()[1]])
        sock.sendall(b"lost")
        with connect(net, target) as new:
            exchange(new)


@pytest.mark.parametrize("shape", [Net.shape, Net.lengthen])
def test_a_slow_line(net: Net, target: Target, shape: Callable[..., object]) -> None:
    shaped(shape, net, bits=BITS)
    with connect(net, target) as sock:
        assert exchange(sock, bytes(FULL)) >= 8 * (FULL - netns.QUEUE) / BITS


def test_a_line_that_is_slow_and_long(net: Net, target: Target) -> None:
    shaped(Net.lengthen, net, bits=5 * BITS, rtt=RTT)
    with connect(net, target) as sock:
        assert exchange(sock) >= RTT


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(Impossible, match="cannot be had: ip -n nowhere"):
        netns.ip("-n", "nowhere", "link")


def test_nothing_is_left(net: Net) -> None:
    names = [namespace.name for namespace in (net.client, net.middle, net.server)]
    assert all(isinstance(name, str) and name in netns.ip("netns") for name in names)
    shaped(Net.shape, net, rtt=RTT)
    net.close()
    assert not any(name in netns.ip("netns") for name in names)
    again = Namespace("client")
    again.remove()
    assert again.name not in netns.ip("netns")
