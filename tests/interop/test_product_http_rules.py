"""The independent peer as a client of `serve` over `http`: what it must not do there, what it may, and the answers."""

import contextlib
import os
import time

import carrying_peers
import peer
import pytest
import visits
from carrying_peers import HttpVisit, HttpVisitor, bulk
from peer_http import DOWN, MOST, UP, ClientCarrier, Connection, Message
from visits import synced

served, visit, visitor = visits.served, carrying_peers.visit, carrying_peers.visitor
SHORT = 0.3  # seconds that a test waits to be told that nothing came


def settled(visitor: HttpVisitor) -> ClientCarrier:
    """Its carrier, with all ups answered: some connection is free."""
    while visitor.sock.ups:
        visitor.sock.finish_up()
    assert visitor.sock.free
    return visitor.sock


def exchange(carrier: ClientCarrier, what: int, n: int, body: bytes = b"") -> Message:
    return carrier.finish(carrier.ask(what, n, body))


def ping(visitor: HttpVisitor, payload: bytes) -> bytes:
    """A PING frame, as bytes, to be sent in whichever way."""
    return visitor.keys[peer.C2S].seal(bytes([peer.PING]) + payload)


def ponged(visitor: HttpVisitor, payload: bytes) -> None:
    visitor.read(lambda: visitor.heard[-1:] == [(peer.PONG, peer.H(payload))])


def test_ups_come_in_any_order(visitor: HttpVisitor) -> None:
    carrier = settled(visitor)
    parts = [ping(visitor, bytes([k]) * 8) for k in range(4)]
    vias = {carrier.n + k: carrier.ask(UP, carrier.n + k, parts[k]) for k in (3, 1, 2, 0)}
    for n in (2, 0, 3, 1):
        assert carrier.finish(vias[carrier.n + n]).status == 200
    carrier.n += 4
    ponged(visitor, bytes([3]) * 8)
    bulk(visitor, 1000)


def test_an_up_too_far_ahead_is_refused(visitor: HttpVisitor) -> None:
    carrier = settled(visitor)
    for far in (4, 5, 1 << 39):
        assert exchange(carrier, UP, carrier.n + far, b"x").status == 403
    bulk(visitor, 1000)


def test_a_repeated_up_is_answered_and_not_applied(visitor: HttpVisitor) -> None:
    carrier = visitor.sock
    for payload in (b"1" * 8, b"2" * 8):
        carrier.sendall(ping(visitor, payload))
        settled(visitor)
        for n in (carrier.n - 1, 0):
            for body in (b"other bytes", b"", b"y" * 100_000):
                answer = exchange(carrier, UP, n, body)
                assert (answer.status, answer.body) == (200, b"")
        ponged(visitor, payload)
    bulk(visitor, 1000)


def test_a_repeated_down_has_the_same_answer(visitor: HttpVisitor) -> None:
    carrier = visitor.sock
    synced(visitor)
    m, payload = min(carrier.downs), os.urandom(8)
    again = [carrier.ask(DOWN, m) for _ in range(2)]  # of one that is parked: it ends nothing
    carrier.sendall(ping(visitor, payload))
    answers = [carrier.finish(via) for via in (*again, carrier.downs.pop(m))]
    assert len({(each.status, each.body) for each in answers}) == 1 and answers[0].body
    assert exchange(carrier, DOWN, m).body == answers[0].body
    carrier.got += answers[0].body
    ponged(visitor, payload)
    synced(visitor)
    while carrier.m < m + 3:
        synced(visitor)
    late = exchange(carrier, DOWN, m)
    assert (late.status, late.body) == (200, b"")
    bulk(visitor, 1000)


def test_a_down_that_did_not_arrive_holds_the_next_one(visit: HttpVisit) -> None:
    visitor = visit.stranger()
    carrier = visitor.sock
    recv, carrier.recv = carrier.recv, lambda n: pytest.fail("nothing is read before")  # type: ignore[method-assign]
    with pytest.raises(BaseException, match="nothing is read before"):
        visitor.greet()
    later = carrier.ask(DOWN, 1)
    later.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        later.read()
    later.sock.settimeout(carrying_peers.PARKED)
    first = exchange(carrier, DOWN, 0)
    assert first.status == 200 and first.body
    carrier.recv = recv  # type: ignore[method-assign]


@pytest.mark.parametrize("ahead", [2, 3, 1000])
def test_a_down_asked_too_early_ends_the_carrier(visitor: HttpVisitor, ahead: int) -> None:
    carrier = visitor.sock
    number, target = visitor.opens(visitor.visit.tap())
    synced(visitor)
    parked = carrier.downs.pop(min(carrier.downs))
    m = carrier.m - len(carrier.downs) - 1
    carrier.ask(DOWN, m + ahead)
    answer = carrier.finish(parked)
    assert (answer.status, answer.body) == (204, b"")
    carrier.drop()
    visitor.again()
    visitor.ends(number, target)


def chunked(carrier: ClientCarrier, what: int, n: int, *pieces: bytes) -> Message:
    """A request with a body in chunks."""
    via = carrier.free.pop()
    head = f"POST {carrier.target(what, n)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    via.sock.sendall(head.encode() + body)
    return carrier.finish(via)


def test_a_chunked_body_is_accepted(visitor: HttpVisitor) -> None:
    payload = os.urandom(8)
    said = ping(visitor, payload)
    carrier = settled(visitor)
    assert chunked(carrier, UP, carrier.n, said[:5], said[5:]).status == 200
    carrier.n += 1
    ponged(visitor, payload)
    bulk(visitor, 1000)


def test_the_absolute_form_is_accepted(visitor: HttpVisitor) -> None:
    payload = os.urandom(8)
    said = ping(visitor, payload)
    carrier = settled(visitor)
    target = carrier.target
    carrier.target = lambda what, n: f"https://cdn.example:8443{target(what, n)}"  # type: ignore[method-assign]
    assert exchange(carrier, UP, carrier.n, said).status == 200
    carrier.n += 1
    ponged(visitor, payload)
    bulk(visitor, 1000)


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_that_is_too_large(visitor: HttpVisitor, in_chunks: bool) -> None:
    carrier = settled(visitor)
    body = bytes(MOST + 1)
    said = chunked(carrier, UP, carrier.n, body) if in_chunks else exchange(carrier, UP, carrier.n, body)
    assert said.status == 413
    bulk(visitor, 1000)


def test_the_largest_body(visitor: HttpVisitor) -> None:
    carrier = settled(visitor)
    frame = visitor.keys[peer.C2S].seal(bytes([peer.PAD]) + bytes(65_535))
    said = frame
    while len(said) + 70_000 < MOST:
        said += visitor.keys[peer.C2S].seal(bytes([peer.PAD]) + bytes(65_535))
    said += visitor.keys[peer.C2S].seal(bytes([peer.PAD]) + bytes(MOST - len(said) - 20))
    assert len(said) == MOST and exchange(carrier, UP, carrier.n, said).status == 200
    carrier.n += 1
    bulk(visitor, 1000)


def test_an_empty_body_ends_the_carrier(visitor: HttpVisitor) -> None:
    number, target = visitor.opens(visitor.visit.tap())
    carrier = settled(visitor)
    assert exchange(carrier, UP, carrier.n).status == 200
    while not carrier.over:
        carrier.recv(1 << 16)
    assert exchange(carrier, UP, carrier.n).status == 200  # repeats are still answered
    assert exchange(carrier, DOWN, carrier.m - 2).status == 204
    visitor.again()
    visitor.ends(number, target)


def test_downs_wait_for_up_0(visit: HttpVisit) -> None:
    visitor = visit.stranger()
    carrier = visitor.sock
    carrier.downs, carrier.m = {m: carrier.ask(DOWN, m) for m in (0, 1)}, 2
    visitor.greet()
    bulk(visitor, 1000)


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_clocks_differ_by_an_hour(visit: HttpVisit, off: int) -> None:
    visitor = visit.stranger(now=lambda: time.time() + 3600 * off)
    visitor.sock.now = visitor.now
    visitor.greet()
    bulk(visitor, 1000)


# What is not ours is not answered


def silent(via: Connection) -> None:
    """There is no decoy: nothing comes, and the connection stays."""
    via.sock.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        via.read()


def test_a_greeting_that_was_seen(visit: HttpVisit) -> None:
    """In another carrier, with a token that is good."""
    sent: list[bytes] = []
    visitor = visit.stranger()
    sendall = visitor.sock.sendall
    visitor.sock.sendall = lambda data: (sent.append(data), sendall(data))  # type: ignore[method-assign]
    visitor.greet()
    silent(visit.carrier().ask(UP, 0, sent[0]))
    bulk(visitor, 1000)


@pytest.mark.parametrize("body", [b"", b"x", bytes(1226), bytes(2000)])
def test_an_up_0_without_a_knock(visit: HttpVisit, body: bytes) -> None:
    silent(visit.carrier().ask(UP, 0, body))


def test_more_than_8_requests_before_up_0(visit: HttpVisit) -> None:
    """The last of them may come behind up 0; not all that are too many do."""
    visitor = visit.stranger()
    vias = [visitor.sock.ask(DOWN, m % 2) for m in range(14)]
    visitor.greet()
    answered = 0
    for via in vias:
        via.sock.settimeout(SHORT)
        with contextlib.suppress(TimeoutError):
            answered += via.read().status == 200
    assert 8 <= answered < 14


@pytest.mark.parametrize("off", [-2, 2])
def test_a_token_of_another_hour(visit: HttpVisit, visitor: HttpVisitor, off: int) -> None:
    visitor.sock.now = lambda: time.time() + 3600 * off
    silent(visitor.sock.ask(DOWN, 0))


def test_another_method(visitor: HttpVisitor) -> None:
    via = settled(visitor).free.pop()
    via.sock.sendall(f"GET {visitor.sock.target(DOWN, 0)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    silent(via)
    bulk(visitor, 1000)
