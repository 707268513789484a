"""Plain: whoever speaks no TLS gets what nginx gives it at a port of TLS, from the decoy or of our own."""

from __future__ import annotations

import re
import socket
import threading

import pytest
from decoyed import fixtures
from nginx import Nginx
from world import BOUND, World

from nitrosocks_lib.server.decoy import Site

decoy, world = fixtures(lasts="module")


class _Once(threading.Thread):
    """Takes one connection, reads a request, and answers."""

    def __init__(self, listener: socket.socket, said: bytes) -> None:
        super().__init__(daemon=True)
        self._listener, self._said = listener, said
        self.start()

    def run(self) -> None:
        with self._listener.accept()[0] as sock:
            sock.recv(65536)
            sock.sendall(self._said)


def answer(port: int, said: bytes, *more: bytes) -> bytes:
    """All that comes until the end, and no reset, without what differs each time."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), BOUND) as sock:
        for each in (said, *more):
            sock.sendall(each)
        while part := sock.recv(65536):
            got += part
    return re.sub(rb"Date: [^\r]*", b"", got)


HOST = b" / HTTP/1.1\r\nHost: x\r\n\r\n"
SAID = {
    "GET": b"GET" + HOST, "HEAD": b"HEAD" + HOST, "DELETE": b"DELETE" + HOST,
    "CONNECT": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\n\r\n", "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n", "zeros": bytes(40),
    "an alert": bytes.fromhex("15030100020100"),
    "two Hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "lower case": b"get" + HOST,
    "a method, and no more": b"GE",
}  # fmt: skip


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_it_is_as_at_nginx(said: bytes, world: World, decoy: Nginx) -> None:
    assert answer(world.port, said) == answer(decoy.secure, said)


def test_a_request_in_pieces_is_one(world: World, decoy: Nginx) -> None:
    pieces = [SAID["GET"][n : n + 1] for n in range(len(SAID["GET"]))]
    assert answer(world.port, *pieces) == answer(decoy.secure, *pieces)


def test_nothing_is_a_page_of_the_site(world: World, decoy: Nginx) -> None:
    for said in SAID.values():
        assert decoy.page not in answer(world.port, said)


def test_a_decoy_that_is_no_nginx_names_no_nginx() -> None:
    """A server of another name, which answers the first request: that is ours, for its name."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(BOUND)
        site = Site("127.0.0.1", listener.getsockname()[1])
        served = _Once(listener, b"HTTP/1.1 200 OK\r\nServer: Other/2\r\nContent-Length: 0\r\n\r\n")
        with World(decoy=site) as world:
            served.join(BOUND)
            assert answer(world.port, SAID["GET"]) == b""


def test_without_a_decoy_it_is_closed_and_not_reset() -> None:
    with World() as world:
        assert answer(world.port, SAID["GET"]) == b""
