"""Decoy: where it is, and what is said when it cannot be reached; over TLS its certificate has to verify."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import pytest
from logged import here, messages
from loopback import Server as TlsServer
from loopback import pem, unused_port
from proxied import Plain
from seeing import REQUEST, Seeing
from world import World

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.race import find
from nitrosocks_lib.server.decoy import Decoy, Site

ANSWER = b"HTTP/1.1 200 OK\r\nServer: roses\r\nContent-Length: 2\r\n\r\nhi"


def test_its_name_is_looked_up() -> None:
    decoy = Decoy(Site("localhost", 80))
    assert not decoy._places
    decoy.look()
    assert decoy._places == find("localhost", 80)


def test_what_was_found_before_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    decoy = Decoy(Site("127.0.0.1", 80))
    decoy.look()
    before = decoy._places
    decoy.site = Site("no.such.name.invalid", 80)
    decoy.look()
    assert decoy._places == before != []


def test_a_failure_is_said_once_in_a_while_and_it_is_looked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    decoy, looked = Decoy(Site("localhost", 80)), threading.Event()
    decoy.look = looked.set
    for _ in range(3):
        decoy.failed(NetworkError("Connection refused"))
    assert looked.wait(20)
    assert messages(here(caplog)) == [
        "the decoy localhost:80 cannot be reached: Connection refused; what is not ours is not answered"
    ]


def looked(port: int, tls: bool = False, host: str = "127.0.0.1") -> Decoy:
    decoy = Decoy(Site(host, port, tls))
    decoy.look()
    decoy.warn()
    return decoy


def test_one_that_is_down_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    port = unused_port()
    looked(port)
    assert messages(here(caplog)) == [f"the decoy 127.0.0.1:{port} does not serve now: Connection refused"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ANSWER, ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ""),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers 400 to HEAD /; if it speaks TLS, name it as https://127"),
        (b"220 mail\r\n\r\n", "it does not answer in HTTP/1.1"),
    ],
)
def test_what_it_answers_is_judged_at_the_start(answer: bytes, told: str, caplog: pytest.LogCaptureFixture) -> None:
    with Plain(lambda sock: (sock.recv(1 << 16), sock.sendall(answer), sock.recv(1))) as web:
        looked(web.port)
    assert [told in line for line in messages(here(caplog))] == [True] * bool(told)


def test_one_without_tls_that_is_named_with_https(caplog: pytest.LogCaptureFixture) -> None:
    with Plain(lambda sock: (sock.recv(1 << 16), sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))) as web:
        looked(web.port, tls=True)
    assert "does not serve now: TLS failed" in caplog.text


@pytest.mark.parametrize(
    ("host", "listening", "leads"),
    [
        ("127.0.0.1", [("127.0.0.1", 8443)], True),
        ("127.0.0.1", [("0.0.0.0", 8443)], True),
        ("127.0.0.1", [("::1", 1), ("0.0.0.0", 8443)], True),
        ("127.0.0.1", [("127.0.0.1", 8444)], False),
        ("127.0.0.1", [("127.0.0.2", 8443)], False),
        ("127.0.0.1", [("::", 8443)], False),
        ("192.0.2.1", [("0.0.0.0", 8443)], False),
        ("127.0.0.1", [], False),
    ],
)
def test_whether_it_is_this_server_itself(host: str, listening: list[tuple[str, int]], leads: bool) -> None:
    decoy = Decoy(Site(host, 8443))
    decoy._places = find(host, 8443)
    assert decoy.leads_to(listening) == leads


def answering(tls: ssl.SSLSocket) -> None:
    tls.recv(1 << 16)
    tls.sendall(ANSWER)
    tls.recv(1)


@pytest.mark.parametrize("end", ["notify", "FIN"])
def test_with_tls_who_ends_how_is_passed_on(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(tls: ssl.SSLSocket) -> None:
        tls.recv(1 << 16)
        tls.sendall(ANSWER)
        if end == "notify":
            with contextlib.suppress(OSError):  # it waits for the other's word, too
                tls.unwrap()
        else:
            socket.socket.shutdown(tls, socket.SHUT_WR)

    monkeypatch.setenv("SSL_CERT_FILE", str(pem("server")[0]))
    monkeypatch.setattr("nitrosocks_lib.server.decoy.find", lambda host, port: find("127.0.0.1", port))
    with TlsServer(serve) as server, World(decoy=Site("server", server.address[1], tls=True)) as world:
        visitor = Seeing(world.port).say(REQUEST)
        got = visitor.read(len(ANSWER))
        assert got == ANSWER and visitor.see()[1] == (["notify", "FIN"] if end == "notify" else ["FIN"])
        visitor.close()


def test_with_tls_whose_certificate_does_not_verify_it_counts_as_down(caplog: pytest.LogCaptureFixture) -> None:
    with TlsServer(answering) as server, World(decoy=Site("127.0.0.1", server.address[1], tls=True)) as world:
        visitor = Seeing(world.port).say(REQUEST)
        while not len(world.server._tarpit):
            pass
        assert "the certificate does not verify" in caplog.text
        visitor.close()


def test_it_may_be_down_when_the_server_starts() -> None:
    with World(decoy=Site("127.0.0.1", unused_port())) as world:
        visitor = Seeing(world.port).say(REQUEST)
        while not len(world.server._tarpit):
            pass
        visitor.close()
