"""What a proxy, and what is behind it, may do wrong over real sockets: every mistake beside its message."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from in_tls import in_tls
from links import BOUND
from loopback import Server, echo, reset, unused_port
from proxied import OPEN, Plain, Socks, connecting, head_of
from targets import unanswering
from ways import LOGIN, SHORT, WAYS, at, fails, through

from nitrosocks_lib.facts.errors import NetworkError, ProxyRefused, Unreachable
from nitrosocks_lib.net.connect import client_context


def says(answer: bytes, then: Callable[[socket.socket], None] = lambda _: None) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        sock.recv(65_536)
        sock.sendall(answer)
        then(sock)

    return serve


def hangs(sock: socket.socket) -> None:
    while sock.recv(65_536):
        pass


def trickles(sock: socket.socket) -> None:
    """A byte now and then, for ever."""
    sock.recv(65_536)
    while True:
        sock.sendall(b"H")
        threading.Event().wait(0.01)


ASKS = b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot\nhere\x07"
HTTP: dict[str, tuple[Callable[[socket.socket], object], type[NetworkError], str, str]] = {
    "no login": (says(ASKS), ProxyRefused, "requires a login (407); it offers Basic", "--proxy-auth"),
    "403": (says(DENIED), ProxyRefused, 'it refused: 403 Forbidden: "not here\\x07"', "ask the operator of the proxy"),
    "405": (says(b"HTTP/1.1 405 No CONNECT\r\n\r\n"), ProxyRefused, "405 No CONNECT", "no proxy"),
    "502": (says(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), ProxyRefused, "502 Bad Gateway", "'nitrosocks serve'"),
    "ends": (lambda sock: None, Unreachable, "closed the connection without an answer", "is it an HTTP proxy"),
    "resets": (lambda sock: (sock.recv(9), reset(sock)), Unreachable, "closed the connection", "is it an HTTP"),
    "hangs": (hangs, Unreachable, "no answer in time", "--proxy none"),
    "trickles": (trickles, Unreachable, "complete in time; it begins with 'HHHH", "--proxy none"),
    "garbage": (says(bytes(range(256))), Unreachable, "its answer is not HTTP", "--proxy none"),
    "a line": (says(b"220 smtp\r\n", hangs), Unreachable, r"complete in time; it begins with '220 smtp\r\n'", "none"),
    "a long head": (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, hangs), Unreachable, "more than 16 KiB", "none"),
    "more than its answer": (says(OPEN + b"hello", hangs), Unreachable, "unexpected bytes", "--proxy none"),
}  # fmt: skip


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("case", HTTP)
def test_what_an_http_proxy_may_do(case: str, tls: bool) -> None:
    serve, kind, told, hint = HTTP[case]
    if case == "resets" and tls:
        told, hint = "", ""  # as it happens, amid TLS or behind it
    with Plain(in_tls(serve) if tls else serve) as proxy:
        scheme = "https" if tls else "http"
        fails(f"{scheme}://localhost:{proxy.port}", kind, told, hint, seconds=SHORT if "in time" in told else BOUND)


def test_a_wrong_password() -> None:
    def asks(sock: socket.socket) -> None:
        while head_of(sock):
            sock.sendall(ASKS)

    with Plain(asks) as proxy:
        told = "rejected this user and password with Basic (407); it offers Basic"
        fails(f"http://localhost:{proxy.port}", ProxyRefused, told, "check them", login=LOGIN)
        assert proxy.connections == 1, "wrong passwords may be counted"


@pytest.mark.parametrize("scheme", WAYS)
def test_a_proxy_that_is_not_there(scheme: str) -> None:
    fails(f"{scheme}://localhost:{unused_port()}", Unreachable, "127.0.0.1: Connection refused", "--proxy none")


@pytest.mark.parametrize("scheme", WAYS)
def test_a_proxy_that_takes_no_connection(scheme: str) -> None:
    with unanswering() as (_, port):
        fails(f"{scheme}://127.0.0.1:{port}", Unreachable, "127.0.0.1: no answer in time", seconds=SHORT)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_an_http_proxy_instead_of_socks(scheme: str) -> None:
    with Plain(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as proxy:
        fails(f"{scheme}://localhost:{proxy.port}", Unreachable, "is not SOCKS 5", "http://", server=("127.0.0.1", 1))


@pytest.mark.parametrize(("serve", "said"), [(hangs, "no answer in time"), (lambda sock: None, "")])
def test_one_that_says_nothing_to_socks(serve: Callable[[socket.socket], None], said: str) -> None:
    with Plain(serve) as proxy:
        url = f"socks5h://localhost:{proxy.port}"
        fails(url, Unreachable, said, "is it an HTTP proxy?", seconds=SHORT if said else BOUND)


def test_a_proxy_whose_name_is_not_found() -> None:
    fails("http://proxy.invalid:1", Unreachable, "cannot find proxy.invalid: ", "check --proxy")


def test_a_server_whose_name_is_not_found_here() -> None:
    with Plain(Socks()) as proxy, pytest.raises(NetworkError, match=r"cannot find server\.invalid") as failure:
        through(at(f"socks5://localhost:{proxy.port}"), ("server.invalid", 443))
    assert "socks5h" in failure.value.hint


def test_a_proxy_with_https_that_speaks_plainly() -> None:
    with Plain(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as proxy:
        fails(f"https://localhost:{proxy.port}", Unreachable, "TLS failed", "write http://")


def quietly(serve: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A TLS handshake may fail here."""

    def serving(sock: socket.socket) -> None:
        with suppress(OSError):
            serve(sock)

    return serving


def test_a_proxy_that_speaks_tls_only() -> None:
    with Plain(quietly(in_tls(connecting))) as proxy:
        fails(f"http://localhost:{proxy.port}", Unreachable, "")


def test_the_certificate_of_a_proxy_must_verify() -> None:
    with Plain(quietly(in_tls(connecting))) as proxy:
        url = f"https://localhost:{proxy.port}"
        with pytest.raises(NetworkError, match="the certificate does not verify") as failure:
            through(at(url, context=lambda: client_context(True)), ("server.example", 443))
        assert "SSL_CERT_FILE" in failure.value.hint and "proxy" in failure.value.hint
        with pytest.raises(NetworkError, match="the certificate does not verify"):
            through(at(url.replace("localhost", "127.0.0.1")), ("server.example", 443))


# -- behind it ---------------------------------------------------------------------------------------------------------


def behind(answer: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A proxy that opens the way, to something else."""

    def serve(sock: socket.socket) -> None:
        head_of(sock)
        sock.sendall(OPEN)
        answer(sock)

    return serve


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "and then TLS failed: "),
        (lambda sock: sock.recv(4_096), "and then "),
        (hangs, "and then "),
    ],
    ids=["no TLS", "an end", "silence"],
)
def test_what_is_behind_is_no_server(answer: Callable[[socket.socket], None], told: str, tls: bool) -> None:
    serve = behind(answer)
    with Plain(in_tls(serve) if tls else serve) as proxy:
        scheme = "https" if tls else "http"
        seconds = SHORT if answer is hangs else BOUND
        told = f"the proxy opened the connection, {told}"
        fails(f"{scheme}://localhost:{proxy.port}", NetworkError, told, "serve", seconds=seconds)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_whose_certificate_does_not_verify(scheme: str) -> None:
    with Server(echo) as server, Plain(WAYS[scheme]) as proxy:
        url = f"{scheme}://localhost:{proxy.port}"
        fails(url, NetworkError, "does not verify", "--tls-verify", server=server.address, verify=True)
