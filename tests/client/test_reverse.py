"""-R without a target: who connects at the server asks, and is led to what this side reaches; sessions that are cut,
targets that refuse and applications that leave do no harm."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loopback import dial_tcp, read_exactly, reset, unused_port
from remotely import permit, port_of, remotes, tcp
from world import BOUND, World, echo, read_all

from nitrosocks_lib.client import reverse as module
from nitrosocks_lib.client.listens import Remotes
from nitrosocks_lib.client.reverse import Reverse
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.proxy_auth import Login
from nitrosocks_lib.session.dialling import Reached, Unreached
from nitrosocks_lib.session.dials import Reach


@pytest.fixture
def world() -> Iterator[World]:
    with World(proxy=True) as made:
        permit(made, "127.0.0.1:*")
        yield made


@pytest.fixture
def port(world: World) -> int:
    return port_of(remotes(world, (tcp(0), None))[0])


def socks(port: int, host: str = "127.0.0.1", early: bytes = b"") -> bytes:
    """A request of SOCKS 5, with all that stands before it."""
    return b"\5\1\0" + b"\5\1\0\3" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big") + early


def opened(target: int) -> bytes:
    return b"\5\0\5\0\0\1\x7f\0\0\1" + target.to_bytes(2, "big")


def asked(port: int, target: int, early: bytes = b"") -> socket.socket:
    """A connection to the proxy that is led to this target."""
    sock = dial_tcp(port)
    sock.sendall(socks(target, early=early))
    assert read_exactly(sock, 12) == opened(target)
    return sock


def test_socks_with_early_data_and_each_direction_by_itself(world: World, port: int) -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(read_all(sock)[::-1])

    target = world.target(serve)
    with asked(port, target, b"early") as sock:
        sock.sendall(b" and late")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"etal dna ylrae"


def test_the_target_speaks_first_and_is_read_behind_the_answer(world: World, port: int) -> None:
    target = world.target(lambda sock: sock.sendall(b"x" * 300_000))
    with dial_tcp(port) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        assert read_all(sock) == b"HTTP/1.1 200 Connection established\r\n\r\n" + b"x" * 300_000


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", 5), ("nowhere.invalid", 4), ("255.255.255.255", 1)])
def test_refusals_are_told_and_end_in_order(port: int, host: str, code: int) -> None:
    with dial_tcp(port) as sock:
        sock.sendall(socks(unused_port(), host, early=b"e" * 9_000))
        told = read_all(sock)
        assert told[:3] == b"\5\0\5" and told[4:] == b"\0\1" + bytes(6)
        assert told[3] == code or (host[0] == "2" and told[3])


def test_a_refusal_by_http_has_its_reason(port: int) -> None:
    target = unused_port()
    with dial_tcp(port) as sock:
        sock.sendall(b"GET http://localhost:%d/ HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        answer = read_all(sock).decode()
    assert answer.startswith("HTTP/1.1 502 Bad Gateway\r\n")
    assert answer.endswith(f"\r\n\r\nnitrosocks: localhost:{target}: connection refused\n")


def test_a_target_that_resets_is_a_reset_behind_what_it_said(world: World, port: int) -> None:
    go = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.sendall(b"some")
        assert go.wait(BOUND)
        reset(sock)

    with asked(port, world.target(serve)) as sock:
        assert read_exactly(sock, 4) == b"some"
        go.set()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_an_application_that_resets_is_a_reset_at_the_target(world: World, port: int) -> None:
    ended: list[object] = []
    over = threading.Event()

    def serve(sock: socket.socket) -> None:
        try:
            ended.append(read_all(sock))
        except ConnectionResetError as error:
            ended.append(error)
        over.set()

    sock = asked(port, world.target(serve))
    reset(sock)
    assert over.wait(BOUND) and isinstance(ended[0], ConnectionResetError)


def test_datagrams_are_refused(port: int) -> None:
    with dial_tcp(port) as sock:
        sock.sendall(b"\5\1\0\5\3\0\1" + bytes(6))
        assert read_all(sock)[:4] == b"\5\0\5\7"


def test_only_who_gives_the_login_is_served(world: World) -> None:
    made, _ = remotes(world, (tcp(0), None), login=Login("user", "pass"))
    port, target = port_of(made), world.target(echo)
    with dial_tcp(port) as sock:
        sock.sendall(socks(target))
        assert read_all(sock) == b"\5\xff"
    with dial_tcp(port) as sock:
        sock.sendall(b"\5\1\2\1\4user\4pass" + socks(target)[3:] + b"x")
        assert read_exactly(sock, 15) == b"\5\2\1\0" + opened(target)[2:] + b"x"


def test_a_fixed_target_beside_it(world: World) -> None:
    fixed, target = world.target(lambda sock: sock.sendall(b"fixed")), world.target(echo)
    made, _ = remotes(world, (tcp(0), tcp(fixed)), (tcp(0), None))
    first, other = (each.at for each in made.remotes)
    assert first is not None and other is not None
    with dial_tcp(first.port) as sock, asked(other.port, target, b"x") as proxied:
        assert read_all(sock) == b"fixed" and read_exactly(proxied, 1) == b"x"


def test_100_at_once_and_a_cut_among_them(world: World, port: int) -> None:
    """What a session carries outlives its connection; half of them asked before, half of them ask behind it."""
    target, size, half = world.target(echo), 64 << 10, threading.Barrier(51)
    assert world.proxy is not None

    def one(number: int) -> bool:
        data = bytes([number]) * size
        with asked(port, target, data[:9]) as sock:
            if number % 2:
                half.wait(BOUND)
                half.wait(BOUND)
            sender = threading.Thread(target=lambda: (sock.sendall(data[9:]), sock.shutdown(socket.SHUT_WR)))
            sender.start()
            got = read_all(sock)
            sender.join(BOUND)
        return got == data

    with ThreadPoolExecutor(100) as threads:
        done = [threads.submit(one, number) for number in range(100)]
        half.wait(BOUND)
        world.proxy.cut()
        half.wait(BOUND)
        assert all(each.result(BOUND) for each in done)


def test_the_end_of_the_session_is_no_end_of_what_was_said(world: World) -> None:
    made, pool = remotes(world, (tcp(0), None))
    with asked(port_of(made), world.target(echo), b"x") as sock:
        assert read_exactly(sock, 1) == b"x"
        made.stop()
        pool.close(5.0)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_stopping_resets_all_and_takes_nothing_more(world: World) -> None:
    made, _ = remotes(world, (tcp(0), None))
    with asked(port_of(made), world.target(echo), b"x") as sock, dial_tcp(port_of(made)) as waits:
        assert read_exactly(sock, 1) == b"x"
        waits.sendall(b"\5\1\0")
        assert read_exactly(waits, 2) == b"\5\0"
        made.stop()
        for each in (sock, waits):
            with pytest.raises(ConnectionResetError):
                each.recv(1)
        with dial_tcp(port_of(made)) as late:
            assert late.recv(1) == b""


def test_without_descriptors_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Reverse(Reach(descriptors=3), None)
    refused = made.take()
    assert isinstance(refused, Unreached) and refused.more == ": Too many open files"
    monkeypatch.setattr(module, "tcp_pair", failing)
    refused = made.take()
    assert isinstance(refused, Unreached) and (refused.reply, refused.more) == (Reply.GENERAL, ": no socket")
    made.stop()


def failing() -> None:
    raise OSError("no socket")


def test_what_comes_behind_the_end_is_closed() -> None:
    made = Reverse(Reach(), None)
    made.stop()
    late = made.take()
    assert isinstance(late, Reached)
    with late.sock:
        late.sock.settimeout(BOUND)
        assert late.sock.recv(1) == b""


def test_the_first_that_has_not_asked_gives_way(world: World, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "APPLICATIONS", 2)
    target = world.target(echo)
    waiting = []
    for _ in range(2):
        waiting.append(dial_tcp(port))
        waiting[-1].sendall(b"\5\1\0")
        assert read_exactly(waiting[-1], 2) == b"\5\0"
    with asked(port, target, b"x") as sock:
        assert read_exactly(sock, 1) == b"x"
        with pytest.raises(ConnectionResetError):  # its stream is over, though it does not end
            waiting[0].recv(1)
    for sock in waiting:
        sock.close()


def test_who_never_asks_is_reset_and_who_ends_is_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of either, though the first one stays."""
    made, pool = remotes(world, (tcp(0), None))
    with dial_tcp(port_of(made)) as ends:
        ends.sendall(b"\5")
        ends.shutdown(socket.SHUT_WR)
        assert ends.recv(1) == b""
    monkeypatch.setattr(limits, "ASKING", 0.05)
    with dial_tcp(port_of(made)) as stays, pytest.raises(ConnectionResetError):
        stays.recv(1)
    pool.close(BOUND)  # a release waits for streams
    assert not pool.sessions


def test_at_a_unix_socket(world: World, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    permit(world, f"{tmp_path}/*")
    made, _ = remotes(world, (Target(Kind.UNIX, str(path), 0), None))
    assert isinstance(made, Remotes)
    target = world.target(echo)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(BOUND)
        sock.connect(str(path))
        sock.sendall(socks(target, early=b"x"))
        assert read_exactly(sock, 13) == opened(target) + b"x"
