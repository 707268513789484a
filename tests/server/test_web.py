"""Web: one thread has all visits; they are bounded, and whoever has most gives way."""

from __future__ import annotations

import socket
import threading

import pytest
from carried import Connection, pool
from decoyed import before, fixtures
from loopback import dial_tcp
from nginx import Nginx
from seeing import REQUEST, Seeing
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits

decoy, world = fixtures(head=60, keep=60)


def test_no_visit_has_a_thread(world: World) -> None:
    first = Seeing(world.port).say(REQUEST)
    first.read(12)
    first.close()
    before = threading.active_count()
    visitors = [Seeing(world.port).say(REQUEST) for _ in range(50)]
    for visitor in visitors:
        assert visitor.read(12).startswith(b"HTTP/1.1 200")
    assert threading.active_count() <= before
    for visitor in visitors:
        visitor.close()


def test_a_newcomer_gets_the_place_of_one_who_has_most(world: World) -> None:
    world.server._web._places.most = 8
    many = [Seeing(world.port).say(REQUEST) for _ in range(12)]
    other = dial_from("127.9.9.1", world.port)
    assert other.say(REQUEST).read(12).startswith(b"HTTP/1.1 200")
    more = [Seeing(world.port).say(REQUEST) for _ in range(12)]
    assert more[-1].read(12).startswith(b"HTTP/1.1 200")
    other.say(REQUEST)
    assert len(other.read(500)) > 400  # it was never thrown out
    assert len(world.server._web) <= 8
    for each in (*many, *more, other):
        each.close()


def dial_from(source: str, port: int) -> Seeing:
    real = socket.create_connection

    def bound(address, timeout=None):
        return real(address, timeout, (source, 0))

    socket.create_connection = bound
    try:
        return Seeing(port)
    finally:
        socket.create_connection = real


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_a_thousand_idle_visits_leave_sessions_alone(kind: str, world: World) -> None:
    port = world.target(echo)
    opened = Opened(pool(world, kind), port)
    opened.near.sendall(b"before")
    assert opened.near.recv(10) == b"before"
    idle = [dial_tcp(world.port) for _ in range(500)] + [Seeing(world.port) for _ in range(500)]
    opened.near.sendall(b"behind")
    assert opened.near.recv(10) == b"behind"
    assert Opened(pool(world, kind), port).ask(b"new") == b"new"
    for each in idle:
        each.close()


@pytest.mark.parametrize("said", [REQUEST, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_a_flood_is_done_in_turns(said: bytes, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short they are, none of it is lost, and a session goes on meanwhile."""
    monkeypatch.setattr(limits, "JUDGED", 0.0)
    monkeypatch.setattr(limits, "TURN", 0.0)
    opened = Opened(pool(world, "http"), world.target(echo))
    one = said if said is REQUEST else b"1\r\nx\r\n"
    visitors = [Seeing(world.port).say(said + one * 2000) for _ in range(5)]
    for _ in range(20):
        opened.near.sendall(b"x")
        assert opened.near.recv(10) == b"x"
    for visitor in visitors if said is REQUEST else []:
        while visitor.got.count(b"HTTP/1.1 200") < 100:
            visitor.read(len(visitor.got) + 1)
    for visitor in visitors:
        visitor.close()


def test_a_fault_of_ours_ends_one_visit(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("nitrosocks_lib.server.visit.Visit._came", lambda visit, data: 1 // 0)
        visitor = Seeing(world.port).say(REQUEST)
        assert visitor.see()[0] == b""
        visitor.close()
    assert "internal error" in caplog.text
    via = Connection(world.port)
    via.request("GET", "/")
    assert via.getresponse().status == 200
    via.close()


def test_the_end_of_the_server_closes_all(decoy: Nginx) -> None:
    with before(decoy) as world:
        visitors = [Seeing(world.port).say(REQUEST) for _ in range(5)]
        for visitor in visitors:
            visitor.read(12)
        world.server.stop()
        for visitor in visitors:
            visitor.sock.settimeout(BOUND)
            assert visitor.see()[1][-1] == "FIN"
            visitor.close()
    assert not world.server._web.turns.live
