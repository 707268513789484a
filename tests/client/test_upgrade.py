"""The upgrade to WebSocket: against the library's own server, and against answers that are none."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable

import pytest
from loopback import Server, unused_port
from websocket_front import WebSocketFront

from nitrosocks_lib.client.upgrade import upgrade
from nitrosocks_lib.facts.errors import DecoyAnswer, NetworkError
from nitrosocks_lib.net.connect import client_context, dial
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.websocket import WebSocketLink, accept_of

BOUND = 20.0  # seconds
HOST, TARGET = "server.example:8443", "/token"


def upgraded(address: tuple[str, int], seconds: float = BOUND) -> WebSocketLink:
    link: Link = dial(address, client_context(False, web=True), socket.AF_INET, BOUND)
    try:
        return upgrade(link, HOST, TARGET, now() + seconds)
    except BaseException:
        link.close()
        raise


def test_the_librarys_server_agrees_to_it() -> None:
    with WebSocketFront(unused_port()) as front:
        upgraded(front.address).close(now() + BOUND)
        (request,) = front.requests
        assert request.path == TARGET and request.headers["Host"] == HOST and front.alpn == ["http/1.1"]
        assert "Sec-WebSocket-Extensions" not in request.headers and "Sec-WebSocket-Protocol" not in request.headers


def answering(answer: Callable[[str], bytes]) -> Server:
    """A server that gives this to the key of a request."""

    def serve(tls: ssl.SSLSocket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += tls.recv(8_192)
        tls.sendall(answer(request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()))
        tls.recv(1)

    return Server(serve)


def switching(key: str, *lines: str, upgrade: str = "WebSocket", connection: str = "keep-alive, Upgrade") -> bytes:
    head = [
        "HTTP/1.1 101 Switching Protocols",
        f"Upgrade: {upgrade}",
        f"Connection: {connection}",
        f"Sec-WebSocket-Accept: {accept_of(key)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode()


def test_frames_that_come_with_the_answer_are_not_lost() -> None:
    with answering(lambda key: switching(key) + b"\x82\x05hello") as server:
        link = upgraded(server.address)
        assert link.read_exactly(5, now() + BOUND) == b"hello"
        link.close()


def test_an_interim_answer_before_it() -> None:
    with answering(lambda key: b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + switching(key)) as server:
        upgraded(server.address).close()


PAGE = b"HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nno"


def test_lines_that_a_box_adds() -> None:
    with answering(lambda key: switching(key, "Connection: Upgrade", "X-Box : 1", "-", connection="close")) as server:
        upgraded(server.address).close()


def test_another_answer_is_that_of_a_web_server() -> None:
    with answering(lambda _: PAGE) as server, pytest.raises(DecoyAnswer) as raised:
        upgraded(server.address)
    assert raised.value.head == PAGE[:-2]


NONE = {
    "no accept": lambda key: switching("another key"),
    "no upgrade": lambda key: switching(key, upgrade="h2c"),
    "no connection": lambda key: switching(key, connection="keep-alive"),
    "an extension": lambda key: switching(key, "Sec-WebSocket-Extensions: permessage-deflate"),
    "a subprotocol": lambda key: switching(key, "Sec-WebSocket-Protocol: chat"),
}


@pytest.mark.parametrize("answer", NONE.values(), ids=NONE)
def test_a_101_that_is_not_ours_is_none(answer: Callable[[str], bytes]) -> None:
    with answering(answer) as server, pytest.raises(NetworkError, match="upgrade is not WebSocket"):
        upgraded(server.address)


def test_what_is_no_http_is_none() -> None:
    other = answering(lambda _: b"SSH-2.0-OpenSSH\r\n\r\n")
    with other as server, pytest.raises(NetworkError, match="not a web server"):
        upgraded(server.address)


def test_who_does_not_answer_is_given_up() -> None:
    silent = Server(lambda tls: tls.recv(8_192) and tls.recv(1))
    with silent as server, pytest.raises(NetworkError, match="no answer in time"):
        upgraded(server.address, 0.05)


def test_who_ends_instead_of_answering() -> None:
    with Server(lambda tls: tls.recv(8_192)) as server, pytest.raises(NetworkError, match="connection ended"):
        upgraded(server.address)


def test_who_announces_an_answer_for_ever_is_given_up() -> None:
    def serve(tls: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            while True:
                tls.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)

    with Server(serve) as server, pytest.raises(NetworkError, match="not a web server"):
        upgraded(server.address)
