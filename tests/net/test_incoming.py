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


# What it answers


def shaken(pair, name: str, *protocols: str) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    """A client over memory, whose hello was sent, and where what the server says is put."""
    context, came, out = client_context(False), ssl.MemoryBIO(), ssl.MemoryBIO()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    client = context.wrap_bio(came, out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    pair[0].sendall(out.read())
    assert is_readable(pair[1], BOUND)
    return client, came


@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2", "http/1.1"), ("http/1.0", "h2")])
def test_protocols_of_the_web_are_answered(protocols: tuple[str, ...], pair) -> None:
    client, came = shaken(pair, "www.example.org", *protocols)
    pair[1].begin(server_context(*pem("server")))
    assert pair[1].go_on() == select.POLLIN
    came.write(pair[0].recv(65536))
    client.do_handshake()
    assert client.selected_alpn_protocol() == next((each for each in protocols if each != "h2"), None)


@pytest.mark.parametrize("protocols", [("h2",), ("acme-tls/1",), ("x", "spdy/3")])
def test_others_alone_are_refused_as_nginx_does_it(protocols: tuple[str, ...], pair) -> None:
    client, came = shaken(pair, "www.example.org", *protocols)
    pair[1].begin(server_context(*pem("server")))
    with pytest.raises(OSError):
        pair[1].go_on()
    came.write(pair[0].recv(65536))
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        client.do_handshake()


def test_a_name_that_python_cannot_say_is_no_fault(pair, capfd: pytest.CaptureFixture[str]) -> None:
    near, incoming = pair
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context(False).wrap_bio(ssl.MemoryBIO(), out, server_hostname="www.example.org").do_handshake()
    near.sendall(out.read().replace(b"www", b"\xff\xfe\x80"))
    assert is_readable(incoming, BOUND)
    incoming.begin(server_context(*pem("server")))
    assert incoming.go_on() == select.POLLIN
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x00", b"\x15\x03\x01", b"~"])
def test_what_is_plain_is_told_and_given_away_unread(said: bytes, pair) -> None:
    near, incoming = pair
    near.sendall(said)
    assert is_readable(incoming, BOUND) and incoming.has_hello() and incoming.is_plain()
    end = incoming.plain()
    buffer = memoryview(bytearray(100))
    assert bytes(buffer[: end.read_some(buffer)]) == said
    end.close()


@pytest.mark.parametrize("said", [b"\x80", b"\xff\xff", b"\x16\x02\x01\x00\x50"])
def test_what_openssl_is_to_judge_is_not_plain(said: bytes, pair) -> None:
    pair[0].sendall(said)
    assert is_readable(pair[1], BOUND) and pair[1].has_hello() and not pair[1].is_plain()


def test_one_that_parts_sends_no_reset_for_what_is_unread(pair) -> None:
    near, incoming = pair
    near.sendall(bytes(5000))
    assert is_readable(incoming, BOUND)
    incoming.part()
    assert near.recv(1) == b""
    near.sendall(b"late")
    with pytest.raises(ConnectionError):
        while True:
            near.sendall(b"later")
