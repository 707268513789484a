"""Forwarder: -L listens, hands each connection to the pool, and says what went wrong."""

from __future__ import annotations

import logging
import socket
import threading

import pytest
from logged import here
from loopback import dial_tcp, read_exactly, twofold, unused_port
from pools import WatchedPool
from world import BOUND, World, echo, read_all

from nitrosocks_lib.client import forward as module
from nitrosocks_lib.client.forward import LOOPBACK, Forward, Forwarder
from nitrosocks_lib.client.session import OWN_END
from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.facts.wire import Reset
from nitrosocks_lib.net import listener
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.streams import LOCAL_BROKE, RESET_TEXTS, Ending, Stream


@pytest.fixture
def world():
    with World() as made:
        yield made


def forwarder(world: World, *ports: int) -> tuple[Forwarder, list[int]]:
    """Listens for each of these target ports; where."""
    made = Forwarder(world.pool())
    world.callback(made.stop)
    bound = [made.bind(Forward(Target(1, LOOPBACK, 0), Target(1, "127.0.0.1", port))).port for port in ports]
    made.start()
    return made, bound


def test_each_listener_leads_to_its_target(world: World) -> None:
    ports = [world.target(lambda sock, n=n: sock.sendall(b"%d" % n)) for n in range(3)]
    _, bound = forwarder(world, *ports)
    for n, port in enumerate(bound * 2):
        with dial_tcp(port) as sock:
            assert read_all(sock) == b"%d" % (n % 3)


def test_many_connections(world: World) -> None:
    _, (port,) = forwarder(world, world.target(echo))
    socks = [dial_tcp(port) for _ in range(30)]
    for n, sock in enumerate(socks):
        sock.sendall(b"%03d" % n)
    for n, sock in enumerate(socks):
        with sock:
            assert read_exactly(sock, 3) == b"%03d" % n


def test_what_is_refused_is_reset_and_told(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, told, report = unused_port(), threading.Event(), module._report
    monkeypatch.setattr(module, "_report", lambda stream: (report(stream), told.set()))
    _, (port,) = forwarder(world, target)
    with caplog.at_level(logging.WARNING), dial_tcp(port) as sock:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert told.wait(BOUND)
    assert f"127.0.0.1:{target}: the target refused the connection; the server did reach it" in caplog.text


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_failure_leaves_nothing_bound(before: int, world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made = Forwarder(world.pool())
        bound = [made.bind(Forward(Target(1, "127.0.0.1", 0), Target(1, "h", 1))).port for _ in range(before)]
        with pytest.raises(CannotCreate):
            made.bind(Forward(Target(1, "127.0.0.1", taken.getsockname()[1]), Target(1, "h", 1)))
    for port in bound:
        socket.create_server(("127.0.0.1", port)).close()


def test_connections_are_refused_until_the_start(world: World) -> None:
    """Or they would wait for the first session, however long that takes."""
    made = Forwarder(world.pool())
    world.callback(made.stop)
    port = made.bind(Forward(Target(1, LOOPBACK, 0), Target(1, "127.0.0.1", world.target(echo)))).port
    for host in ("127.0.0.1", "::1"):
        with pytest.raises(OSError):
            socket.create_connection((host, port), BOUND)
    made.start()
    with dial_tcp(port) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


def test_a_port_that_was_taken_before_the_start(world: World) -> None:
    """As by another program that bound it at the same time: told, and nothing is left bound."""
    made = Forwarder(world.pool())
    free, taken = [made.bind(Forward(Target(1, "127.0.0.1", 0), Target(1, "h", 1))).port for _ in range(2)]
    told = f"cannot listen on 127.0.0.1:{taken}: Address already in use"
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(CannotCreate, match=told):
        made.start()
    for port in (free, taken):
        socket.create_server(("127.0.0.1", port)).close()


def test_the_other_loopback_address_was_taken_before_the_start(world: World, caplog) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("network namespaces: no IPv6 here")
    made = Forwarder(world.pool())
    world.callback(made.stop)
    port = made.bind(Forward(Target(1, LOOPBACK, 0), Target(1, "127.0.0.1", world.target(echo)))).port
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        made.start()
        with dial_tcp(port) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
    assert f"something else listens on [::1]:{port}" in caplog.text


def test_stop_accepts_no_more_and_leaves_streams_alone(world: World) -> None:
    made, (port,) = forwarder(world, world.target(echo))
    with dial_tcp(port) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        made.stop()
        with pytest.raises(ConnectionRefusedError):
            dial_tcp(port)
        sock.sendall(b"y")
        assert sock.recv(1) == b"y"


def test_no_descriptor_is_left_just_now(world: World, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """It says so, does not spin, and goes on."""
    fails = [OSError(24, "Too many open files")] * 3

    class Listener:
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock

        def __getattr__(self, name: str):
            return getattr(self.sock, name)

        def accept(self):
            if fails:
                raise fails.pop()
            return self.sock.accept()

    real = module.bind_at
    monkeypatch.setattr(module, "bind_at", lambda *at, **how: [Listener(each) for each in real(*at, **how)])
    monkeypatch.setattr(module, "PAUSE", 0.01)
    with caplog.at_level(logging.WARNING):
        _, (port,) = forwarder(world, world.target(echo))
        with dial_tcp(port) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
    assert caplog.text.count("Too many open files") == 3 and fails == []


RESET = "INFO host:1: connection reset: "
REPORTS = {
    "well ended": (Ending.CLEAN, "", ""),
    "lost": (Ending.LOST, "no way", "WARNING host:1: connection reset: no way"),
    "our own end": (Ending.LOST, OWN_END, ""),
    "refused": (Ending.REFUSED, "go away", "WARNING host:1: the server cannot open it: go away"),
    "reset by the target": (Ending.RESET_THERE, RESET_TEXTS[Reset.LOCAL], RESET + RESET_TEXTS[Reset.LOCAL]),
    "reset by the local side": (Ending.RESET_HERE, LOCAL_BROKE, RESET + LOCAL_BROKE),
}


@pytest.mark.parametrize(("ending", "reason", "told"), REPORTS.values(), ids=REPORTS)
def test_what_people_are_told(ending: Ending, reason: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream(Target(1, "host", 1), None)
    stream.end(ending, reason)
    with caplog.at_level(logging.INFO):
        module._report(stream)
    assert [f"{each.levelname} {each.getMessage()}" for each in here(caplog)] == ([told] if told else [])


def test_the_pool_is_shared(world: World) -> None:
    pool = WatchedPool(world)
    made = Forwarder(pool)
    world.callback(made.stop)
    port = made.bind(Forward(Target(1, "127.0.0.1", 0), Target(1, "127.0.0.1", world.target(echo)))).port
    made.start()
    for _ in range(5):
        with dial_tcp(port) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        pool.wait(lambda: pool.made == 1 and pool.free == 1)


def test_a_name_is_bound_at_all_its_addresses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    twofold(monkeypatch)
    made = Forwarder(world.pool())
    world.callback(made.stop)
    address = made.bind(
        Forward(Target(1, "twofold", 0), Target(1, "127.0.0.1", world.target(lambda sock: sock.sendall(b"x"))))
    )
    made.start()
    assert address.host == "127.0.0.1"
    for host in ("127.0.0.1", "127.0.0.2"):
        with socket.create_connection((host, address.port), BOUND) as sock:
            assert sock.recv(1) == b"x"


def test_a_port_that_is_free_at_one_loopback_address_only_is_not_picked(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("network namespaces: no IPv6 here")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        ports, real = [other.getsockname()[1]], listener.bind

        def picks(host: str, port: int, **how) -> socket.socket:
            return real(host, port or (ports.pop() if ports else 0), **how)

        monkeypatch.setattr(listener, "bind", picks)  # as if the kernel picked that one first
        made = Forwarder(world.pool())
        world.callback(made.stop)
        port = made.bind(Forward(Target(1, LOOPBACK, 0), Target(1, "h", 1))).port
        assert not ports and port != other.getsockname()[1]
    made.start()
    assert made.besides == {port} and not here(caplog)


def test_the_other_loopback_address_is_taken(world: World, caplog: pytest.LogCaptureFixture) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("network namespaces: no IPv6 here")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        made = Forwarder(world.pool())
        world.callback(made.stop)
        assert made.bind(Forward(Target(1, LOOPBACK, port), Target(1, "h", 1))) == Target(1, "127.0.0.1", port)
    assert [each.getMessage() for each in here(caplog)].count(
        f"something else listens on [::1]:{port}; connections to that address do not come here"
    ) == 1


def test_one_loopback_address_that_is_named_is_bound_alone(world: World) -> None:
    """So that the same port of both may lead to different places."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("network namespaces: no IPv6 here")
    made, port = Forwarder(world.pool()), 0
    world.callback(made.stop)
    for host, what in (("127.0.0.1", b"4"), ("::1", b"6")):
        target = world.target(lambda sock, what=what: sock.sendall(what))
        port = made.bind(Forward(Target(1, host, port), Target(1, "127.0.0.1", target))).port
    made.start()
    for host, what in (("127.0.0.1", b"4"), ("::1", b"6")):
        with socket.create_connection((host, port), BOUND) as sock:
            assert read_all(sock) == what
    assert not made.besides
