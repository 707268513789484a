"""Carrier: ups in order, downs and their repeats, ends; over real connections, whose requests are made by hand."""

from __future__ import annotations

import threading

import pytest
from carried import LEAST, Begun, Connection, HttpClient, carrier, greeted, greeting, head, path, pool
from decoyed import fixtures
from seeing import Seeing
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import What

decoy, world = fixtures(head=20, keep=20)


def test_the_same_up_is_answered_again_and_the_same_down_alike(world: World) -> None:
    begun = Begun(world)
    challenge = begun.ask(What.DOWN, 0)
    assert begun.ask(What.UP, 0, begun.first) == (200, b"")
    assert begun.ask(What.DOWN, 0) == challenge


def test_ups_are_put_in_order(world: World) -> None:
    """The rest of the greeting comes in pieces, the last one first."""
    used, said = carrier(), greeting(world)
    pieces = [said[:LEAST], said[LEAST : LEAST + 100], said[LEAST + 100 :]]
    first, *others = [Connection(world.port) for _ in range(3)]
    assert first.post(used, What.UP, 0, pieces[0])[0] == 200
    waits = threading.Thread(target=others[1].post, args=(used, What.UP, 2, pieces[2]))
    waits.start()
    assert others[0].post(used, What.UP, 1, pieces[1])[0] == 200
    waits.join(BOUND)
    assert not waits.is_alive()
    status, challenge = first.post(used, What.DOWN, 0)
    assert status == 200 and len(challenge) >= 2498
    for each in (first, *others):
        each.close()


def test_an_up_too_far_ahead_is_refused(world: World) -> None:
    begun = Begun(world)
    assert begun.ask(What.UP, 1 + limits.UPS, b"x")[0] == 403


def test_a_body_too_large_is_refused(world: World) -> None:
    begun = Begun(world)
    visitor = Seeing(world.port)
    assert visitor.say(head(begun.id, What.UP, 1, limits.BODY + 1)).read(12).startswith(b"HTTP/1.1 413")
    visitor.close()


def test_a_chunked_body_is_taken(world: World) -> None:
    used, said = carrier(), greeting(world)
    via = Connection(world.port)
    via.request("POST", path(used, What.UP), iter([said[:1000], said[1000:]]), encode_chunked=True)
    answer = via.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    assert via.post(used, What.DOWN, 0)[0] == 200
    via.close()


def test_who_expects_100_continue_gets_it(world: World) -> None:
    used, said = carrier(), greeting(world)
    visitor = Seeing(world.port).say(head(used, What.UP, 0, len(said), "Expect: 100-continue\r\n"))
    assert visitor.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert visitor.say(said).read(40)[25:].startswith(b"HTTP/1.1 200 OK")
    visitor.close()


def test_the_end_of_up_ends_the_carrier(world: World) -> None:
    client = HttpClient(world.port)
    greeted(world, client.link)
    client.close()  # an empty up, then a 204 to the down
    via = Connection(world.port)
    assert via.post(client.id, What.DOWN, 1_000)[0] == 204
    via.close()


def test_the_end_of_the_session_ends_down(world: World) -> None:
    used = pool(world, "http")
    assert Opened(used, world.target(echo)).ask(b"x") == b"x"
    (living,) = world.server._carriers._living.values()
    used.close(5.0)
    while living._pipe is not None:
        pass


def test_a_carrier_without_a_request_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CARRIER_IDLE", 0.05)
    monkeypatch.setattr(limits, "REPEATS", 0.05)
    Begun(world)
    while world.server._carriers._living:
        pass


def test_a_connection_that_ends_amid_a_body_leaves_nothing_behind(world: World) -> None:
    begun = Begun(world)
    visitor = Seeing(world.port)
    visitor.say(head(begun.id, What.UP, 1, 9) + b"half")
    while not world.server._carriers.held:
        pass
    visitor.close()
    while world.server._carriers.held:
        pass
    assert begun.ask(What.UP, 1, b"whole")[0] == 200


def test_what_waits_in_all_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound only the next body of each carrier is read; then the others are, too."""
    monkeypatch.setattr(limits, "CARRIED", 1)
    begun = Begun(world)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(begun.ask(What.UP, n, bytes(50_000))[0])) for n in (3, 2)
    ]
    for thread in threads:
        thread.start()
    (living,) = world.server._carriers._living.values()
    while len(living._requests) < 2:
        pass
    answers.append(begun.ask(What.UP, 1, bytes(50_000))[0])
    for thread in threads:
        thread.join(BOUND)
    assert answers == [200] * 3 and world.server._carriers.held == 0


def test_requests_amid_a_handshake_are_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING", 2)
    begun = Begun(world)
    halves = []
    for _ in range(2):
        halves.append(Seeing(world.port))
        halves[-1].say(head(begun.id, What.UP, 1, 9))
    (living,) = world.server._carriers._living.values()
    while len(living._requests) < 2:
        pass
    assert begun.ask(What.UP, 1, b"x")[0] == 403
    assert begun.ask(What.DOWN, 0)[0] == 403
    for half in halves:
        half.close()


def test_requests_of_one_carrier_are_bounded(world: World) -> None:
    opened = Opened(pool(world, "http"), world.target(echo))
    opened.near.sendall(b"x")
    assert opened.near.recv(1) == b"x"
    (living,) = world.server._carriers._living.values()
    while not living._admitted:
        pass
    at = living._taken + 2  # the client may send something, and what was taken is answered at any time
    halves = [Seeing(world.port).say(head(living.id, What.UP, at, 9)) for _ in range(limits.REQUESTS)]
    while sum(each.n == at for each in list(living._requests)) < limits.REQUESTS:
        pass
    via = Connection(world.port)
    assert via.post(living.id, What.UP, at, b"x")[0] == 403
    via.close()
    for half in halves:
        half.close()


def test_a_down_asked_too_early_ends_the_carrier(world: World) -> None:
    begun = Begun(world)
    assert begun.ask(What.DOWN, 5)[0] == 204
    assert begun.ask(What.DOWN, 0)[0] == 204


def test_a_down_without_bytes_is_answered_in_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PARKED", 0.05)
    begun = Begun(world)
    begun.ask(What.DOWN, 0)  # the challenge
    assert begun.ask(What.DOWN, 1) == (200, b"")


def test_what_the_session_writes_is_counted(world: World) -> None:
    used = pool(world, "http")
    sent = bytes(1 << 20)
    assert Opened(used, world.target(echo)).ask(sent) == sent
    (living,) = world.server._carriers._living.values()
    progress = living._progress
    assert progress.sent >= len(sent) and progress.acknowledged > 0 and progress.round_trip > 0


def test_downs_that_wait_are_bounded(world: World) -> None:
    begun = Begun(world)
    assert begun.ask(What.DOWN, 0)[0] == 200
    waiting = [Seeing(world.port).say(head(begun.id, What.DOWN, 1, 0)) for _ in range(limits.WAITING)]
    while sum(len(each._asks) for each in list(world.server._carriers._living.values())) < limits.WAITING:
        pass
    assert begun.ask(What.DOWN, 1)[0] == 403
    for visitor in waiting:
        visitor.close()


def test_who_never_ends_a_body_is_let_go_with_the_carrier(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was held of it is free again; so is what came ahead of a body that never did."""
    begun = Begun(world)
    assert begun.ask(What.DOWN, 0)[0] == 200
    visitors = [Seeing(world.port).say(head(begun.id, What.UP, 1, 5000) + bytes(4000)) for _ in range(3)]
    visitors.append(Seeing(world.port).say(head(begun.id, What.UP, 2, 5000) + bytes(5000)))
    visitors.append(Seeing(world.port).say(head(begun.id, What.DOWN, 2, 0)))
    carriers = world.server._carriers
    (living,) = carriers._living.values()
    while carriers.held < 17_000 or not living._asks:
        pass
    monkeypatch.setattr(limits, "REPEATS", 0.0)
    monkeypatch.setattr(limits, "CARRIER_IDLE", 0.0)
    for visitor in visitors[:4]:
        assert visitor.read(12).startswith(b"HTTP/1.1 403")
    assert visitors[4].read(12).startswith((b"HTTP/1.1 403", b"HTTP/1.1 204"))
    assert carriers.held == 0 and not carriers._living
    for visitor in visitors:
        visitor.close()


def test_a_body_that_stops_ends_its_connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(world)
    monkeypatch.setattr(limits, "BODY_TIME", 0.05)
    visitor = Seeing(world.port).say(head(begun.id, What.UP, 1, 5000) + b"x")
    assert visitor.see()[0] == b""
    visitor.close()


def test_beyond_what_is_carried_one_of_each_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CARRIED", 0)
    begun = Begun(world)
    visitors = [Seeing(world.port).say(head(begun.id, What.UP, 1, 5000) + bytes(4000)) for _ in range(5)]
    (carrier,) = world.server._carriers._living.values()
    while len(carrier._requests) < 5 or carrier._holds < 4000:
        pass
    assert begun.ask(What.DOWN, 0)[0] == 200
    assert carrier._holds == 4000
    for visitor in visitors:
        visitor.close()


def test_a_session_that_is_over_leaves_no_carrier_that_nobody_asks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Begun(world)
    (carrier,) = world.server._carriers._living.values()
    monkeypatch.setattr(limits, "HANDSHAKE", 0.05)
    assert begun.ask(What.UP, 1, bytes(5000)) == (200, b"")  # no greeting goes on like this
    while carrier.lives:
        pass
