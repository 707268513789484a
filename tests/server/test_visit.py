"""Visit: HTTP request by request, ours and the decoy's on one connection; a knock after a silence is the entrance's."""

from __future__ import annotations

import http.client
import os
import re
import socket
import time

import pytest
from carried import LEAST, Begun, Connection, HttpClient, context, greeted, head, path
from decoyed import before, fixtures
from loopback import dial as dial_tls
from loopback import is_silent, read_exactly
from nginx import Nginx
from seeing import REQUEST, Seeing
from world import BOUND, World

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import DecoyAnswer
from nitrosocks_lib.facts.wire import Carrier, What
from nitrosocks_lib.net.connect import client_context, dial
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import greet
from nitrosocks_lib.server.decoy import Site
from nitrosocks_lib.server.visit import Visit
from nitrosocks_lib.session.conversation import Conversation

decoy, world = fixtures(head=20, keep=20)


def get(via: Connection, target: str = "/") -> tuple[int, bytes]:
    via.request("GET", target)
    answer = via.getresponse()
    return answer.status, answer.read()


def test_the_real_site_works(world: World, decoy: Nginx) -> None:
    via = Connection(world.port)
    assert [get(via) for _ in range(3)] == [(200, decoy.page)] * 3
    assert get(via, "/nothing")[0] == 404
    assert get(via, "/large") == (200, bytes(3 << 20))
    via.close()


def test_a_websocket_of_the_real_site_works(world: World, decoy: Nginx) -> None:
    """nginx takes it to a server behind it, which answers 101 and then echoes."""
    upgrade = b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    with socket.create_server(("127.0.0.1", decoy.behind)) as listener, dial_tls(world.port) as visitor:
        visitor.sendall(upgrade)
        behind, _ = listener.accept()
        with behind:
            while not behind.recv(1 << 16).endswith(b"\r\n\r\n"):
                pass
            behind.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
            assert visitor.recv(1 << 16).startswith(b"HTTP/1.1 101 ")
            visitor.sendall(b"\x81\x00 frame " + path(bytes(10), What.UP).encode())
            assert behind.recv(1 << 16).startswith(b"\x81\x00 frame /")
            behind.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert read_exactly(visitor, 18) == b"GET / HTTP/1.1\r\n\r\n"


def test_requests_of_both_share_a_connection(world: World, decoy: Nginx) -> None:
    via = Connection(world.port)
    assert get(via)[0] == 200
    assert via.post(os.urandom(10), What.UP, 0, bytes(LEAST))[0] == 404  # without a knock
    assert get(via) == (200, decoy.page)
    via.close()


def test_a_pipeline_keeps_its_order(world: World, decoy: Nginx) -> None:
    post = f"POST {path(os.urandom(10), What.UP)} HTTP/1.1\r\nHost: x\r\nContent-Length: {LEAST}\r\n\r\n".encode()
    visitor = Seeing(world.port).say(REQUEST + post + bytes(LEAST) + REQUEST.replace(b"1.1", b"1.0"))
    got, _ = visitor.see()
    assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"200", b"404", b"200"]
    visitor.close()


def test_a_knock_after_a_silence_is_taken(world: World) -> None:
    link = dial(("127.0.0.1", world.port), client_context(False), socket.AF_INET, BOUND)
    while not world.server._web._seated:  # it was shown to the decoy
        pass
    talk = Conversation(link, now() + BOUND)
    greeted = talk.run(greet.greet(world.credentials(), int(time.time()) // 3600, 1 << 20, os.urandom))
    assert greeted.terms.session_id
    link.close()


def test_what_is_not_served_is_the_decoys(decoy: Nginx) -> None:
    with World(decoy=Site("127.0.0.1", decoy.plain), carriers=frozenset({Carrier.HTTP})) as world:
        with pytest.raises(DecoyAnswer):
            link = dial(("127.0.0.1", world.port), client_context(False), socket.AF_INET, BOUND)
            Conversation(link, now() + BOUND).run(greet.greet(world.credentials(), 500_000, 1 << 20, os.urandom))
        target = path(os.urandom(wire.CARRIER_ID), What.WEBSOCKET)
        via = Connection(world.port)
        via.request("GET", target, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        assert via.getresponse().status == 404
        via.close()
        link.close()


def test_without_a_decoy_nothing_is_answered() -> None:
    with World() as world:
        for said in (REQUEST, b"POST /" + b"x" * 43, b"\x80"):
            with dial_tls(world.port) as visitor:
                visitor.sendall(said)
                assert is_silent(visitor)


def test_a_head_that_takes_too_long_is_the_decoys(decoy: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_TIME", 0.05)
    with before(decoy) as world:
        visitor = Seeing(world.port).say(b"GET /" + b"x" * 43 + b" HTTP/1.1\r\n")
        while not any(visit._judge.amid for visit in list(world.server._web._seated)):
            pass
        visitor.say(b"Host: x\r\n\r\n")
        assert visitor.read(12).startswith(b"HTTP/1.1 404")
        visitor.close()


def test_a_connection_that_nobody_would_end_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with World() as world:
        client = HttpClient(world.port)
        greeted(world, client.link)
        monkeypatch.setattr(limits, "KEPT_ALIVE", 0.05)
        via = Connection(world.port)
        assert via.post(client.id, What.UP, 0, bytes(LEAST)) == (200, b"")  # once more
        assert via.sock.recv(1) == b""
        via.close()
    client.close()


def test_alpn_is_that_of_a_web_server(world: World) -> None:
    made = context()
    made.set_alpn_protocols(["h2", "http/1.1"])
    via = http.client.HTTPSConnection("127.0.0.1", world.port, context=made, timeout=BOUND)
    via.connect()
    assert via.sock.selected_alpn_protocol() == "http/1.1"
    via.close()


@pytest.mark.parametrize("judged", [limits.JUDGED, 0.0])
def test_a_thousand_requests_at_once(
    judged: float, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All are answered, on top of each other none, and however little of them is done in one turn."""
    monkeypatch.setattr(limits, "JUDGED", judged)
    begun = Begun(world)
    status, challenge = begun.ask(What.DOWN, 0)
    assert status == 200 and challenge
    visitor = Seeing(world.port).say(head(begun.id, What.DOWN, 0, 0) * 1000 + REQUEST)
    got, _ = visitor.see()
    assert got.count(b"HTTP/1.1 200") == 1001 and got.count(challenge) == 1000
    assert "internal error" not in caplog.text
    visitor.close()


def test_who_reads_no_answers_gets_few(world: World) -> None:
    begun = Begun(world)
    assert begun.ask(What.DOWN, 0)[0] == 200
    visitor = Seeing(world.port).say(head(begun.id, What.DOWN, 0, 0) * 5000)
    full = []
    while not full:
        full = [each for each in list(world.server._web.turns.live) if isinstance(each, Visit) and each._stopped]
        full = [each for each in full if each._near.full]
    assert len(full[0]._near._out) < 2 * limits.RELAYED
    visitor.close()


CHUNKED = "Transfer-Encoding: chunked\r\n"


def test_of_a_session_the_decoy_gets_nothing_however_it_is_framed(world: World) -> None:
    begun = Begun(world)
    said = f"POST {path(begun.id, What.UP, 1)} HTTP/1.1\r\nHost: x\r\n{CHUNKED}\r\n5\r\nhello\r\n".encode()
    visitor = Seeing(world.port).say(said + b"no chunk\r\n" + REQUEST)
    got, _ = visitor.see()
    assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"400"]
    visitor.close()


def test_a_first_body_that_is_ambiguous_is_the_decoys(world: World) -> None:
    said = f"POST {path(os.urandom(10), What.UP)} HTTP/1.1\r\nHost: x\r\n{CHUNKED}\r\n5\r\nhello\r\n".encode()
    visitor = Seeing(world.port).say(said + b"no chunk\r\n")
    assert re.match(rb"HTTP/1\.1 40[045]", visitor.read(12))
    visitor.close()
