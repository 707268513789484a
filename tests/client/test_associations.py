"""UDP ASSOCIATE: an application's datagrams reach the targets that they name, and come back with a header."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import datagramming
import pytest
from datagramming import BOUND, Echo
from logged import by, messages
from loopback import dial_tcp, read_exactly
from world import World

from nitrosocks_lib.client import associations as module
from nitrosocks_lib.client.forward import Forward, Forwarder
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.proxy_auth import Login

ASSOCIATE = b"\5\1\0" + b"\5\3\0\1" + bytes(6)
LOOPBACK = Target(Kind.TCP, "127.0.0.1", 0)
LOCALHOST = b"\1\x7f\0\0\1"


echo = datagramming.echo


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.key = made.directory.add(bytes(32), made.token, permit=("udp:127.0.0.1:*", "udp:localhost:*"))
        yield made


def proxy(world: World, where: Target = LOOPBACK, login: Login | None = None) -> int:
    made = Forwarder(world.pool(), login)
    world.callback(made.stop)
    port = made.bind(Forward(where, None)).port
    made.start()
    return port


def associated(control: socket.socket, world: World) -> tuple[socket.socket, tuple[str, int]]:
    """The socket of an application, and where the proxy takes its datagrams."""
    control.sendall(ASSOCIATE)
    assert read_exactly(control, 6) == b"\5\0\5\0\0\1"
    at = read_exactly(control, 6)
    near = world.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    near.settimeout(BOUND)
    return near, (socket.inet_ntoa(at[:4]), int.from_bytes(at[4:], "big"))


def to(port: int, where: bytes = LOCALHOST) -> bytes:
    return b"\0\0\0" + where + port.to_bytes(2, "big")


@pytest.fixture
def control(world: World) -> Iterator[socket.socket]:
    with dial_tcp(proxy(world)) as sock:
        yield sock


def test_each_target_has_a_stream_and_answers_name_it(world: World, control: socket.socket, echo: Echo) -> None:
    near, at = associated(control, world)
    with Echo() as other:
        for n in range(3):
            for each in (echo, other):
                near.sendto(to(each.port) + b"abc %d" % n, at)
                assert near.recvfrom(100) == (to(each.port) + b"ABC %d" % n, at)
        assert len(echo.senders) == len(other.senders) == 1
    near.sendto(to(echo.port) + b"x" * 60_000, at)
    assert near.recv(1 << 16) == to(echo.port) + b"X" * 60_000


def test_a_name_is_looked_up_at_the_server(world: World, control: socket.socket, echo: Echo) -> None:
    near, at = associated(control, world)
    near.sendto(to(echo.port, b"\3\x09localhost") + b"abc", at)
    assert near.recv(100) == to(echo.port) + b"ABC"  # the answer says where it led


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\0\0\0",
        b"\0\0\1" + LOCALHOST + b"\0\7x",
        b"\0\0\0\5x",
        b"\0\0\0" + LOCALHOST + b"\0",
        to(0) + b"x",
        to(7),
    ],
    ids=["empty", "short", "fragment", "kind", "cut", "port 0", "no data"],
)
def test_what_is_no_datagram_is_dropped(world: World, control: socket.socket, echo: Echo, packet: bytes) -> None:
    near, at = associated(control, world)
    near.sendto(packet, at)
    near.sendto(to(echo.port) + b"abc", at)
    assert near.recv(100) == to(echo.port) + b"ABC" and world.entry.tunnel.opened == 1


def test_nobody_else_may_use_it(world: World, control: socket.socket, echo: Echo) -> None:
    near, at = associated(control, world)
    near.sendto(to(echo.port) + b"abc", at)
    assert near.recv(100) == to(echo.port) + b"ABC"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host,
    ):
        host.bind(("127.0.0.2", 0))
        for other in port, host:
            other.sendto(to(echo.port) + b"stranger", at)
    near.sendto(to(echo.port) + b"def", at)
    assert near.recv(100) == to(echo.port) + b"DEF"


def test_an_application_may_say_where_it_sends_from(world: World, echo: Echo) -> None:
    near = world.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    near.settimeout(BOUND)
    near.bind(("127.0.0.1", 0))
    with dial_tcp(proxy(world)) as control:
        control.sendall(b"\5\1\0\5\3\0\1" + bytes(4) + near.getsockname()[1].to_bytes(2, "big"))
        at = ("127.0.0.1", int.from_bytes(read_exactly(control, 12)[10:], "big"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.sendto(to(echo.port) + b"first", at)
        near.sendto(to(echo.port) + b"abc", at)
        assert near.recv(100) == to(echo.port) + b"ABC"


def test_it_ends_with_the_connection_that_asked(world: World, control: socket.socket, echo: Echo) -> None:
    near, at = associated(control, world)
    near.sendto(to(echo.port) + b"abc", at)
    near.recv(100)
    near.connect(at)
    control.close()
    near.settimeout(0.01)
    for _ in range(3_000):
        try:
            near.send(to(echo.port) + b"abc")
            near.recv(100)
        except ConnectionRefusedError:
            break
        except TimeoutError:
            continue
    else:
        pytest.fail("its socket is still there")
    while world.entry.tunnel.load:
        world.entry.tunnel.outbox.waiter.set()


def test_what_is_not_permitted_is_logged_once(
    world: World, control: socket.socket, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    near, at = associated(control, world)
    for _ in range(3_000):  # each has an answer, and the refusals before it are told by then, or soon
        near.sendto(to(7, b"\1\x7f\0\0\2") + b"no", at)
        near.sendto(to(echo.port) + b"abc", at)
        assert near.recv(100) == to(echo.port) + b"ABC"
        if world.entry.tunnel.opened > 3 and messages(by(caplog, "client.datagrams")):
            break
    (line,) = messages(by(caplog, "client.datagrams"))
    assert line.startswith("udp:127.0.0.2:7 is not permitted for this client")


def test_there_are_so_many_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, echo: Echo
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(limits, "ASSOCIATIONS", 2)
    port = proxy(world)
    controls = [world.enter_context(dial_tcp(port)) for _ in range(3)]
    (first, at), _ = [associated(control, world) for control in controls[:2]]
    controls[2].sendall(ASSOCIATE)
    assert read_exactly(controls[2], 4) == b"\5\0\5\1"
    assert "an application cannot send datagrams: 2 do so already" in caplog.text
    first.sendto(to(echo.port) + b"abc", at)
    assert first.recv(100) == to(echo.port) + b"ABC"


def test_a_login_is_asked_for_here_too(world: World, echo: Echo) -> None:
    with dial_tcp(proxy(world, login=Login("ann", "secret"))) as control:
        control.sendall(b"\5\1\2" + b"\1\3ann\6secret" + ASSOCIATE[3:])
        assert read_exactly(control, 6) == b"\5\2\1\0\5\0"


def test_over_a_unix_socket(world: World, tmp_path: Path, echo: Echo) -> None:
    path = tmp_path / "s"
    proxy(world, Target(Kind.UNIX, str(path), 0))
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(BOUND)
        control.connect(str(path))
        near, at = associated(control, world)
        near.sendto(to(echo.port) + b"abc", at)
        assert near.recv(100) == to(echo.port) + b"ABC"


def test_over_ipv6(world: World, echo: Echo) -> None:
    with socket.create_connection(("::1", proxy(world, Target(Kind.TCP, "::1", 0))), BOUND) as control:
        control.sendall(ASSOCIATE)
        at = read_exactly(control, 24)
        assert at[:6] == b"\5\0\5\0\0\4"
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as near:
            near.settimeout(BOUND)
            near.sendto(to(echo.port) + b"abc", ("::1", int.from_bytes(at[22:], "big")))
            assert near.recv(100) == to(echo.port) + b"ABC"


def test_at_all_interfaces_over_ipv4(world: World, echo: Echo) -> None:
    """The kernel has both ends of such a connection in the form of IPv6."""
    with dial_tcp(proxy(world, Target(Kind.TCP, "", 0))) as control:
        near, at = associated(control, world)
        near.sendto(to(echo.port) + b"abc", at)
        assert near.recv(100) == to(echo.port) + b"ABC"


def test_addresses_are_compared_in_one_form() -> None:
    assert module._plain("::ffff:10.0.0.1") == "10.0.0.1" and module._plain("fe80::1%eth0") == "fe80::1"
