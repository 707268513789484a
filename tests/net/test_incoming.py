"""Incoming: a ClientHello is waited for by the kernel, TLS goes on without waiting, and what is none is no fault."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl

import pytest
from links import BOUND, TLS, accept
from loopback import pem, reset

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.connect import client_context, server_context
from nitrosocks_lib.net.incoming import Incoming
from nitrosocks_lib.net.wake import wait


def client_hello(version: str = "TLSv1.3") -> bytes:
    context, out = client_context(False), ssl.MemoryBIO()
    context.maximum_version = TLS[version]
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    return out.read()


@pytest.fixture
def pair():
    """A client's socket, and what was accepted of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        incoming = Incoming(listener.accept()[0])
    with near:
        yield near, incoming
    incoming.close()


def is_readable(incoming: Incoming, seconds: float) -> bool:
    return bool(wait({incoming.fd: select.POLLIN}, seconds))


def test_silence_is_not_readable(pair) -> None:
    assert not is_readable(pair[1], 0)


@pytest.mark.parametrize("version", TLS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 100, -1])
def test_a_part_of_a_hello_wakes_nobody_twice(size: int, version: str, pair) -> None:
    near, incoming = pair
    hello = client_hello(version)
    near.sendall(hello[:size])
    while is_readable(incoming, 0.01):  # each time more than before is awaited
        assert not incoming.has_hello()
    near.sendall(hello[size:])
    while not incoming.has_hello():
        assert is_readable(incoming, BOUND)
    incoming.begin(server_context(*pem("server")))
    assert incoming.go_on() == select.POLLIN, "the client's Finished"


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        bytes(99),
        b"\x16\x02\x01\x00\x50",
        b"\x16\x03\x01\xff\xff",
    ],
)
def test_what_is_no_hello_is_openssls_to_judge_at_once(said: bytes, pair) -> None:
    near, incoming = pair
    near.sendall(said)
    assert is_readable(incoming, BOUND) and incoming.has_hello()
    incoming.begin(server_context(*pem("server")))
    with pytest.raises(OSError):
        incoming.go_on()


@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["RST", "FIN"])
@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00" + bytes(90)], ids=len)
def test_who_hangs_up_in_the_middle_is_seen(said: bytes, end, pair) -> None:
    near, incoming = pair
    near.sendall(said)
    while said and is_readable(incoming, 0.01):
        assert not incoming.has_hello()
    end(near)
    assert is_readable(incoming, BOUND)
    with pytest.raises((OSError, NetworkError)):
        assert incoming.has_hello()
        incoming.begin(server_context(*pem("server")))
        assert not incoming.go_on()


def test_who_hangs_up_early_is_no_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()
        reset(socket.create_connection(listener.getsockname()))
        for _ in range(2):
            with pytest.raises((OSError, NetworkError)):
                accept(listener.accept()[0], server_context(*pem("server")))
