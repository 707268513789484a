"""Relayed: whatever a stranger does, it sees what it sees at an nginx with TLS of its own: bytes, and who ends how."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from decoyed import fixtures
from loopback import reset, unused_port, was_reset
from nginx import Nginx
from seeing import REQUEST, Seeing
from world import World

from nitrosocks_lib.server.decoy import Site

decoy, world = fixtures(lasts="module")


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nabc" % length


OLD = REQUEST.replace(b"1.1", b"1.0")
PROBES: dict[str, Callable[[Seeing], object]] = {
    "silence": lambda each: None,
    "FIN at once": lambda each: each.fin(),
    "a word of TLS and FIN at once": lambda each: each.notify().fin(),
    "a word of TLS at once": lambda each: each.notify(),
    "a request": lambda each: each.say(REQUEST),
    "a request and FIN": lambda each: each.say(REQUEST).fin(),
    "a request and a word of TLS": lambda each: each.say(REQUEST).notify(),
    "two requests in one": lambda each: each.say(REQUEST * 2),
    "a request byte by byte": lambda each: [each.say(bytes([byte])) for byte in REQUEST],
    "the last request of a connection": lambda each: each.say(OLD),
    "a beginning that may be ours": lambda each: each.say(b"GE"),
    "a path that may be ours": lambda each: each.say(b"POST /" + b"x" * 43),
    "a path that may be ours, whole": lambda each: each.say(b"GET /" + b"x" * 43 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a beginning that is not": lambda each: each.say(b"GET / HT"),
    "another method": lambda each: each.say(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "CONNECT": lambda each: each.say(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "no HTTP, five bytes": lambda each: each.say(b"\x80abcd"),
    "no HTTP, a record": lambda each: each.say(bytes(range(128, 256)) * 100),
    "no HTTP, more": lambda each: each.say(bytes(range(128, 256)) * 500),
    "HTTP/2": lambda each: each.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS in TLS": lambda each: each.say(bytes.fromhex("16030100c8010000c40303") + bytes(192)),
    "a long head": lambda each: each.say(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000),
    "two lengths": lambda each: each.say(post(3).replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\n")),
    "part of a body": lambda each: each.say(post(9000)),
    "part of a body and a word of TLS": lambda each: each.say(post(9000)).notify(),
    "a body too large": lambda each: each.say(post(9_000_000)),
}


def shown(got: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]{29}\r\n", b"\r\nDate: ...\r\n", got)


@pytest.mark.parametrize("name", PROBES)
def test_a_stranger_sees_what_it_sees_at_a_web_server(name: str, world: World, decoy: Nginx) -> None:
    seen = []
    for port in (decoy.secure, world.port):
        visitor = Seeing(port)
        PROBES[name](visitor)
        got, ends = visitor.see()
        seen.append((shown(got), ends))
        visitor.close()
    assert seen[1] == seen[0]


def test_what_comes_too_late_is_answered_as_the_decoy_would(world: World, decoy: Nginx) -> None:
    for port in (decoy.secure, world.port):
        visitor = Seeing(port).say(OLD)
        visitor.see()
        assert visitor.answers_with_reset()
        visitor.close()


def test_a_reset_of_the_visitor_reaches_the_decoy_and_back() -> None:
    came = threading.Event()
    told = []

    def serve(sock) -> None:
        if sock.recv(100) == b"\x80visitor":
            came.set()
            told.append(was_reset(sock))
        else:
            reset(sock)

    with World() as target:
        port = target.target(serve)
        with World(decoy=Site("127.0.0.1", port)) as world:
            first = Seeing(world.port).say(b"\x80visitor")
            assert came.wait(20)
            reset(first.sock)
            second = Seeing(world.port).say(b"\x80decoy")
            assert second.see() == (b"", ["RST"])
            second.close()
            while not told:
                pass
            assert told == [True]


def test_what_is_large_passes_both_ways(world: World, decoy: Nginx) -> None:
    visitor = Seeing(world.port).say(b"GET /large HTTP/1.0\r\n\r\n")
    got, _ = visitor.see()
    assert len(got.partition(b"\r\n\r\n")[2]) == 3 << 20
    visitor.close()


def test_without_its_decoy_it_waits_as_without_one(caplog: pytest.LogCaptureFixture) -> None:
    port = unused_port()
    with World(decoy=Site("127.0.0.1", port)) as world:
        visitor = Seeing(world.port).say(REQUEST)
        Seeing(world.port).say(REQUEST).close()
        while len(world.server._tarpit) < 1:
            pass
        assert caplog.text.count(f"127.0.0.1:{port} cannot be reached") == 1
        visitor.close()
