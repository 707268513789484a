"""Applications: what asks at -D is led to its target, or told why not; what never asks goes."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable

import pytest
from loopback import SILENCE, dial_tcp, read_exactly, unused_port
from world import BOUND, World, echo, read_all

from nitrosocks_lib.client import applications as module
from nitrosocks_lib.client.applications import Applications
from nitrosocks_lib.client.forward import Forward, Forwarder
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.proxy_auth import Login
from nitrosocks_lib.session.streams import Request


@pytest.fixture
def world():
    with World() as made:
        yield made


def proxy(world: World, login: Login | None = None) -> int:
    """A Forwarder with one -D; its port."""
    made = Forwarder(world.pool(), login)
    world.callback(made.stop)
    port = made.bind(Forward(Target(1, "127.0.0.1", 0), None)).port
    made.start()
    return port


def carrying(pool: Pool) -> Callable[[Target, socket.socket, Request], None]:
    """What hands to a pool what was asked for."""
    return lambda target, local, request: pool.open(target, local, lambda stream: None, request)


def socks(port: int, host: str = "127.0.0.1", early: bytes = b"") -> bytes:
    """A request of SOCKS 5, with all that stands before it."""
    return b"\5\1\0" + b"\5\1\0\3" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big") + early


def reply(code: int) -> bytes:
    return b"\5\0\5" + bytes([code]) + b"\0\1" + bytes(6)


def test_socks_with_early_data(world: World) -> None:
    target = world.target(echo)
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(socks(target, early=b"early"))
        opened = b"\5\0\5\0\0\1\x7f\0\0\1" + target.to_bytes(2, "big")
        assert read_exactly(sock, len(opened) + 5) == opened + b"early"
        sock.sendall(b"late")
        assert read_exactly(sock, 4) == b"late"
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""


def test_byte_by_byte(world: World) -> None:
    target = world.target(lambda sock: sock.sendall(b"hello"))
    with dial_tcp(proxy(world)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in socks(target):
            sock.sendall(bytes([byte]))
        assert read_all(sock)[-5:] == b"hello"


def test_the_target_speaks_first_and_is_read_behind_the_answer(world: World) -> None:
    target = world.target(lambda sock: sock.sendall(b"x" * 300_000))
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        assert read_all(sock) == b"HTTP/1.1 200 Connection established\r\n\r\n" + b"x" * 300_000


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", 5), ("192.0.2.1", 2), ("nowhere.invalid", 4)])
def test_refusals_are_told_and_end_in_order(world: World, host: str, code: int) -> None:
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(socks(unused_port(), host, early=b"e" * 9_000))
        assert read_all(sock) == reply(code)
        sock.sendall(b"more")  # behind an end, and not behind a reset


def test_a_refusal_by_http_has_its_reason(world: World) -> None:
    target = unused_port()
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" % target)
        sock.sendall(b"b" * 9_000)
        answer = read_all(sock).decode()
    assert answer.startswith("HTTP/1.1 502 Bad Gateway\r\n")
    assert answer.endswith(f"\r\n\r\nnitrosocks: 127.0.0.1:{target}: connection refused\n")


def test_a_target_that_goes_on_does_not_get_the_request_for_the_next(world: World) -> None:
    """An application that does not heed our word in the answer, and sends it on the same connection."""
    heard: queue.Queue[bytes] = queue.Queue()
    answer = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"

    def serve(sock: socket.socket) -> None:
        got = b""
        while not got.endswith(b"hello"):
            got += sock.recv(4096)
        sock.sendall(answer)
        heard.put(got + read_all(sock))

    target = world.target(serve)
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(f"POST http://127.0.0.1:{target}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel".encode())
        sock.sendall(b"lo")
        ours = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        assert read_exactly(sock, len(ours)) == ours
        for _ in range(2):
            sock.sendall(b"GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\nCookie: of-b\r\n\r\n")
        assert heard.empty()
    assert heard.get(timeout=10).endswith(b"\r\nConnection: close\r\n\r\nhello")


def test_a_request_that_comes_too_soon_does_not_end_the_one_before(world: World) -> None:
    """As of an application that does not wait for answers. Many targets take an end for a cancellation."""
    sent = threading.Event()

    def serve(sock: socket.socket) -> None:
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            got += sock.recv(4096)
        assert sent.wait(BOUND)
        sock.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    with dial_tcp(proxy(world)) as sock:
        request = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: a\r\n\r\n" % world.target(serve)
        sock.sendall(request)
        for _ in range(3):
            sock.sendall(request)
        sent.set()
        assert read_all(sock) == b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"


def test_without_a_session_the_application_is_told(world: World) -> None:
    world.server.stop()
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(socks(1))
        assert read_all(sock) == reply(1)


def test_only_who_gives_the_login_is_served(world: World) -> None:
    port, target = proxy(world, Login("user", "pass")), world.target(echo)
    for words, answer in ((b"\1\4user\4pass", b"\1\0"), (b"\1\4user\4pasz", b"\1\1")):
        with dial_tcp(port) as sock:
            sock.sendall(b"\5\1\2")
            assert read_exactly(sock, 2) == b"\5\2"
            sock.sendall(words)
            assert read_exactly(sock, 2) == answer
            if answer[1]:
                assert read_all(sock) == b""
            else:
                sock.sendall(socks(target)[3:] + b"x")
                assert read_exactly(sock, 11) == b"\5\0\0\1\x7f\0\0\1" + target.to_bytes(2, "big") + b"x"


def test_what_asks_for_nothing_that_is_known_is_closed(world: World) -> None:
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(b"\x16\3\1")
        assert read_all(sock) == b""


def test_who_never_asks_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ASKING", 0.05)
    with dial_tcp(proxy(world)) as sock:
        sock.sendall(b"\5")
        assert read_all(sock) == b""


def test_the_first_that_has_not_asked_gives_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "APPLICATIONS", 2)
    port, target = proxy(world), world.target(echo)
    first, *others = [dial_tcp(port) for _ in range(3)]
    assert read_all(first) == b""
    for sock in others:
        sock.sendall(socks(target, early=b"x"))
        assert read_exactly(sock, 13)[-1:] == b"x"
        sock.close()
    first.close()


def test_what_has_asked_and_was_not_read_yet_does_not_give_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many that come at once."""
    monkeypatch.setattr(limits, "APPLICATIONS", 1)
    pool, target = world.pool(), world.target(echo)
    pool.start()
    made = Applications(carrying(pool))
    near = []
    for _ in range(3):
        sock, far = socket.socketpair()
        world.callback(sock.close)
        sock.settimeout(20)
        sock.sendall(socks(target, early=b"x"))
        made._enter(far)
        near.append(sock)
    for sock in near[:-1]:
        assert read_exactly(sock, 13)[-1:] == b"x"
    (last,) = made.asking
    last.close()
    made.stop()


def test_an_application_that_leaves_leaves_nothing(world: World) -> None:
    port = proxy(world)
    for words in (b"", b"\5", b"\5\1\0", b"CONNECT a"):
        with dial_tcp(port) as sock:
            sock.sendall(words)
    with dial_tcp(port) as sock:
        sock.sendall(socks(world.target(echo), early=b"x"))
        assert read_exactly(sock, 13)[-1:] == b"x"


def test_stopping_closes_what_has_not_asked(world: World) -> None:
    applications = Applications(carrying(world.pool()))
    near, far = socket.socketpair()
    with near:
        near.settimeout(BOUND)
        applications.take(far)
        near.sendall(b"\5\1\0")
        assert read_exactly(near, 2) == b"\5\0"
        applications.stop()
        assert near.recv(1) == b""
        near_late, late = socket.socketpair()
        with near_late:
            applications.take(late)
            assert near_late.recv(1) == b"", "behind the end nothing is taken"


def test_a_fault_costs_one_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port, target, whole = proxy(world), world.target(echo), module._Asking._read

    def spoilt(asking: module._Asking, came: bytes) -> None:
        if came == b"!":
            raise RuntimeError("spoilt")
        whole(asking, came)

    monkeypatch.setattr(module._Asking, "_read", spoilt)
    with dial_tcp(port) as sock:
        sock.sendall(b"!")
        assert read_all(sock) == b""
    assert "internal error" in caplog.text
    with dial_tcp(port) as sock:
        sock.sendall(socks(target, early=b"x"))
        assert read_exactly(sock, 13)[-1:] == b"x"
