"""Outgoing: TCP, and TLS whose certificate has to verify, step by step."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest
from loopback import BOUND, Server, echo, pem, unused_port

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.connect import Context, client_context
from nitrosocks_lib.net.ends import End, PlainEnd
from nitrosocks_lib.net.outgoing import Outgoing
from nitrosocks_lib.net.race import Place, find
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.tls import TlsLink
from nitrosocks_lib.net.wake import Waiter, wait


class Way:
    """Makes a connection, and waits meanwhile."""

    def __init__(self, places: list[Place], tls: tuple[Context, str] | None = None, seconds: float = BOUND) -> None:
        self.waiter = Waiter()
        watch = lambda fd, events: self.waiter.watch(fd, events, fd)  # noqa: E731
        self.outgoing = Outgoing(places, now() + seconds, watch, self.waiter.forget, tls)

    def end(self) -> End:
        while (end := self.outgoing.advance(now())) is None:
            self.waiter.select(max(0.0, self.outgoing.next_at - now()))
        return end

    def close(self) -> None:
        self.outgoing.close()
        self.waiter.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(echo) as running:
        yield running


def place(port: int) -> list[Place]:
    return find("127.0.0.1", port)


def verifying() -> Context:
    context = client_context(True)
    context.load_verify_locations(pem("server")[0])
    return context


def test_tcp_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way = Way(place(listener.getsockname()[1]))
        end = way.end()
        far, _ = listener.accept()
        assert isinstance(end, PlainEnd) and end.write_some(memoryview(b"x")) == 1 and far.recv(1) == b"x"
        end.close()
        far.close()
        way.close()


def test_tls_whose_certificate_verifies(server: Server) -> None:
    way = Way(place(server.address[1]), (verifying(), "server"))
    end = way.end()
    assert isinstance(end, TlsLink) and end.write_some(memoryview(b"x")) == 1
    buffer = memoryview(bytearray(1))
    while not end.read_some(buffer):
        wait({end.fd: selectors.EVENT_READ}, BOUND)
    assert bytes(buffer) == b"x"
    end.close()
    way.close()


@pytest.mark.parametrize("name", ["elsewhere", "server"])
def test_tls_whose_certificate_does_not(name: str, server: Server) -> None:
    way = Way(place(server.address[1]), (verifying() if name == "elsewhere" else client_context(True), name))
    with pytest.raises(NetworkError, match="the certificate does not verify"):
        way.end()
    way.close()
    server.stop()


def test_nobody_there() -> None:
    way = Way(place(unused_port()))
    with pytest.raises(NetworkError, match="refused"):
        way.end()
    way.close()


def test_no_address() -> None:
    way = Way([])
    with pytest.raises(NetworkError, match="no address"):
        way.end()
    way.close()


def test_no_tls_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way = Way(place(listener.getsockname()[1]), (client_context(False), "x"), seconds=0.05)
        with pytest.raises(NetworkError, match="timed out"):
            way.end()
        way.close()
