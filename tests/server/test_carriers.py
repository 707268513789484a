"""Carriers: sessions over websocket and http, and requests with tokens that begin none."""

from __future__ import annotations

import os
import threading
import time

import pytest
from audited import told
from carried import LEAST, Begun, Connection, carrier, greeted, greeting, head, hour, path, pool, websocket
from decoyed import before, fixtures
from loopback import is_silent
from nginx import Nginx
from seeing import Seeing
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import What
from nitrosocks_lib.net.timers import now

KINDS = ["websocket", "http"]


decoy, world = fixtures(head=20, keep=20)


# -- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_session(kind: str, world: World) -> None:
    used, port = pool(world, kind), world.target(echo)
    sent = os.urandom(5 << 20)
    assert Opened(used, port).ask(sent) == sent
    together = [Opened(used, port) for _ in range(20)]
    answers = [each.ask(b"hello") for each in together]
    assert answers == [b"hello"] * 20


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_says_by_which_carrier_and_from_where(
    kind: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert Opened(pool(world, kind), world.target(echo)).ask(b"x") == b"x"
    (begun,) = told(caplog.records, "session-started")
    assert begun["source"].startswith("127.0.0.1:") and (begun["client"], begun["carrier"]) == ("alice", kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_goes_on_when_its_carrier_is_cut(kind: str, decoy: Nginx) -> None:
    with before(decoy, proxy=True) as world:
        opened = Opened(pool(world, kind), world.target(echo))
        for said in (b"before", b"behind"):
            opened.near.sendall(said)
            assert opened.near.recv(100) == said
            assert world.proxy is not None
            world.proxy.cut()
        opened.near.close()


def test_many_carriers_at_once(world: World) -> None:
    port = world.target(echo)
    pools = [pool(world, "http") for _ in range(10)]
    answers = []
    sent = bytes(1 << 20)

    def ask(used: Pool) -> None:
        answers.append(Opened(used, port).ask(sent))

    threads = [threading.Thread(target=ask, args=(used,)) for used in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert answers == [sent] * 10


# -- websocket --------------------------------------------------------------------------------------------------------


def test_what_is_not_ours_in_a_websocket_is_not_answered(world: World) -> None:
    link = websocket(world.port)
    link.write_all(os.urandom(500), now() + BOUND)
    while not len(world.server._tarpit):
        pass
    assert is_silent(link._below._sock)
    link.close()


def test_an_id_begins_one_websocket(world: World) -> None:
    used = carrier()
    link = greeted(world, websocket(world.port, used))
    visitor = Seeing(world.port).say(upgrade(used))
    assert visitor.read(12).startswith(b"HTTP/1.1 404")
    visitor.close()
    link.close()


def upgrade(used: bytes, more: bytes = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n") -> bytes:
    target = path(used, What.WEBSOCKET).encode()
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    return b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + more + key + b"\r\n"


@pytest.mark.parametrize("more", [b"", b"Upgrade: h2c\r\n", b"Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"])
def test_a_token_without_a_websocket_request_is_the_decoys(more: bytes, world: World) -> None:
    visitor = Seeing(world.port).say(upgrade(carrier(), more))
    assert visitor.read(12).startswith(b"HTTP/1.1 404")
    visitor.close()


def test_the_answer_is_as_nginx_gives_it(world: World) -> None:
    visitor = Seeing(world.port).say(upgrade(carrier()))
    head = visitor.read(150).decode()
    names = [line.partition(":")[0] for line in head.split("\r\n")[1:-2]]
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\nServer: nginx")
    assert names == ["Server", "Date", "Connection", "Upgrade", "Sec-WebSocket-Accept"]
    assert "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n" in head
    visitor.close()


# -- http -------------------------------------------------------------------------------------------------------------


def test_up_0_with_a_knock_begins_a_carrier(world: World) -> None:
    begun = Begun(world)
    status, challenge = begun.ask(What.DOWN, 0)
    assert status == 200 and len(challenge) >= 2498


def test_an_answer_looks_like_the_decoys(world: World) -> None:
    via = Connection(world.port)
    via.request("GET", "/")
    site = via.getresponse()
    site.read()
    via.request("POST", path(carrier(), What.UP), greeting(world))
    ours = via.getresponse()
    ours.read()
    assert ours.getheader("Server") == site.getheader("Server") != "nginx"
    assert list(ours.headers)[:2] == list(site.headers)[:2] == ["Server", "Date"]
    assert ours.getheader("Cache-Control") == "no-store"
    via.close()


def test_requests_that_wait_for_up_0_are_answered_behind_it(world: World) -> None:
    used, said = carrier(), greeting(world)
    down, answers = Connection(world.port), []
    waits = threading.Thread(target=lambda: answers.append(down.post(used, What.DOWN, 0)))
    waits.start()
    while not waiting(world, used):
        pass
    via = Connection(world.port)
    assert via.post(used, What.UP, 0, said)[0] == 200
    waits.join(BOUND)
    assert answers[0][0] == 200 and len(answers[0][1]) >= 2498
    via.close()
    down.close()


def waiting(world: World, used: bytes):
    return world.server._carriers._waiting.get(used)


@pytest.mark.parametrize("body", [b"", b"x" * (LEAST - 1), os.urandom(LEAST)], ids=["none", "short", "no knock"])
def test_without_a_knock_all_of_an_id_is_the_decoys(body: bytes, world: World) -> None:
    used, answers = carrier(), []
    down = Connection(world.port)
    waits = threading.Thread(target=lambda: answers.append(down.post(used, What.DOWN, 0)[0]))
    waits.start()
    while not waiting(world, used):
        pass
    via = Connection(world.port)
    assert via.post(used, What.UP, 0, body)[0] == 404
    waits.join(BOUND)
    assert answers == [404] and not waiting(world, used)
    via.close()
    down.close()


def test_a_first_enc_that_is_changed_is_the_decoys(world: World) -> None:
    said = bytearray(greeting(world))
    said[100] ^= 1
    via = Connection(world.port)
    assert via.post(carrier(), What.UP, 0, bytes(said))[0] == 404
    via.close()


def test_a_greeting_is_replayed_in_vain(world: World) -> None:
    begun = Begun(world)
    via = Connection(world.port)
    assert via.post(carrier(), What.UP, 0, begun.first)[0] == 404
    via.close()


def test_an_id_that_was_seen_begins_no_carrier(world: World) -> None:
    begun = Begun(world)
    living = world.server._carriers._living
    world.server._web.turns.call(living[begun.id].end)
    monkey = time.monotonic() + BOUND
    while living[begun.id]._pipe is not None:
        assert time.monotonic() < monkey
    world.server._web.turns.call(lambda: world.server._carriers.over(living[begun.id]))
    while living:
        assert time.monotonic() < monkey
    via = Connection(world.port)
    assert via.post(begun.id, What.UP, 0, greeting(world))[0] == 404
    via.close()


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_token_of_another_hour_is_the_decoys(hours: int, world: World) -> None:
    via = Connection(world.port)
    via.request("POST", path(carrier(), What.UP, at=hour() + hours), greeting(world))
    assert via.getresponse().status == 404
    via.close()


def test_ids_wait_for_up_0_only_so_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_TIME", 0.05)
    via = Connection(world.port)
    assert via.post(carrier(), What.DOWN, 0)[0] == 404
    via.close()


def test_a_link_that_breaks_is_no_fault(world: World) -> None:
    link = websocket(world.port)
    link.abort()
    with pytest.raises(NetworkError):
        link.read_exactly(1, now() + BOUND)
    link.close()
    assert Opened(pool(world, "websocket"), world.target(echo)).ask(b"x") == b"x"


def test_ids_that_wait_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDS_WAITING", 1)
    used = carrier()
    half = Seeing(world.port).say(head(used, What.UP, 0, 9))
    while not waiting(world, used):
        pass
    via = Connection(world.port)
    assert via.post(carrier(), What.UP, 0, greeting(world))[0] == 404
    via.close()
    half.close()


def test_requests_of_an_id_that_wait_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING", 2)
    used = carrier()
    parked = [Seeing(world.port) for _ in range(2)]
    for n, each in enumerate(parked):
        each.say(head(used, What.DOWN, n, 0))
        while not waiting(world, used) or len(waiting(world, used).parked) <= n:
            pass
    via = Connection(world.port)
    assert via.post(used, What.DOWN, 0)[0] == 404
    assert via.post(used, What.UP, 0, greeting(world))[0] == 200
    via.close()
    for each in parked:
        each.close()


def test_carriers_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CARRIERS", 1)
    Begun(world)
    via = Connection(world.port)
    assert via.post(carrier(), What.UP, 0, greeting(world))[0] == 404
    via.close()


def test_a_repeat_of_the_first_body_is_taken_where_that_was_cut(world: World) -> None:
    """The box tells the client of the cut before it tells the server."""
    used, said = carrier(), greeting(world)
    cut = Seeing(world.port).say(head(used, What.UP, 0, len(said)) + said[:-1])
    carriers = world.server._carriers
    while not carriers._waiting:
        pass
    (waiting,) = carriers._waiting.values()
    repeat = Seeing(world.port).say(head(used, What.UP, 0, len(said)) + said)
    while not waiting.parked:
        pass
    cut.close()
    assert repeat.read(12).startswith(b"HTTP/1.1 200")
    repeat.close()
