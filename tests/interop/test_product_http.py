"""The independent peer as a client of `serve` over the carrier `http`, and what a client must not do there."""

import contextlib
import hashlib
import os
import random
import time
from collections.abc import Iterator

import carrying_peers
import peer
import pytest
import visits
from carrying_peers import HttpVisit, HttpVisitor
from peer_http import DOWN, MOST, UP, ClientCarrier, Connection, Message
from program import Site
from visits import Served, fails, pour, rest, synced, until_acked

served = visits.served
SHORT = 0.3  # seconds that a test waits to be told that nothing came


@pytest.fixture
def visit(served: Served) -> Iterator[HttpVisit]:
    with HttpVisit(served) as made:
        yield made


@pytest.fixture
def visitor(visit: HttpVisit) -> HttpVisitor:
    return visit.visitor()


# A session


def bulk(visitor: HttpVisitor, size: int) -> None:
    """So many bytes each way through a stream of its own; check sums are equal."""
    number, target = visitor.opens(visitor.visit.tap())
    up, down = random.randbytes(size), random.randbytes(size)
    sums = [hashlib.sha256(), hashlib.sha256()]
    step = 50_000
    for begin in range(0, size, step):
        target.sendall(down[begin : begin + step])
        pour(visitor, number, up[begin : begin + step])
        sums[0].update(visits.exactly(target, len(up[begin : begin + step])))
        sums[1].update(visitor.gather(number, len(down[begin : begin + step])))
    assert [each.digest() for each in sums] == [hashlib.sha256(each).digest() for each in (up, down)]
    visitor.ends(number, target)


@pytest.mark.parametrize("offer", [2, 4])
def test_bytes_both_ways(visit: HttpVisit, offer: int) -> None:
    bulk(visit.visitor(offer=offer), 3_000_000)


def test_the_end_of_a_session(visitor: HttpVisitor) -> None:
    bulk(visitor, 1000)
    visitor.release()
    assert visitor.over
    while not visitor.sock.over:
        assert visitor.sock.recv(1) == b""


def test_each_direction_ends_by_itself(visitor: HttpVisitor) -> None:
    number, target = visitor.opens(visitor.visit.tap())
    visitor.end(number)
    assert rest(target) == b""
    target.sendall(b"late")
    assert visitor.gather(number, 4) == b"late"
    target.close()
    visitor.closed(number)
    assert visitor.streams[number].last == (b"", b"")


def test_refreshes_amid_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Site(tmp_path_factory.mktemp("refresh")) as site:
        served = Served(site, "--refresh", "64K")
        site.callback(served.process.popen.kill)
        with HttpVisit(served) as visit:
            visitor = visit.visitor()
            bulk(visitor, 500_000)
            visitor.read(lambda: not visitor.next_rk)
            assert visitor.epoch >= 3


def test_carriers_are_dropped_and_the_session_goes_on(visitor: HttpVisitor) -> None:
    number, target = visitor.opens(visitor.visit.tap())
    ups = downs = b""
    for lost in (False, True, False):
        ups, downs = ups + (up := os.urandom(40_000)), downs + (down := os.urandom(40_000))
        if lost:
            visitor.lose()
        pour(visitor, number, up)
        target.sendall(down)
        visitor.sock.drop()
        visitor.again()
    assert visits.exactly(target, len(ups)) == ups and visitor.gather(number, len(downs)) == downs
    assert visitor.j == 3 and visitor.unrestated == {}
    visitor.ends(number, target)


def test_a_session_moves_between_raw_and_http(visit: HttpVisit, visitor: HttpVisitor) -> None:
    number, target = visitor.opens(visit.tap())
    for move in (visits.Visit.socket, HttpVisit.socket):
        visitor.cut() if visitor.j == 0 else visits.reset(visitor.sock)
        visitor.resume(move(visit))
        visitor.data(number, b"up")
        target.sendall(b"down")
        assert visits.exactly(target, 2) == b"up" and visitor.gather(number, 4) == b"down"
    visitor.ends(number, target)


def test_a_refusal(visit: HttpVisit) -> None:
    fails(visit.stranger(version=2).greet, "refused: 4")


def test_empty_answers_come_while_nothing_happens(visitor: HttpVisitor) -> None:
    """Within 20 s ± 30 %; then the second is asked again, and the stream goes on."""
    carrier = visitor.sock
    synced(visitor)
    until_acked(visitor)
    m = carrier.m
    visitor.read(lambda: carrier.m > m)
    synced(visitor)


# What a client must not do, and what it may


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
    visitor = visit.stranger()
    vias = [visitor.sock.ask(DOWN, m % 2) for m in range(9)]
    visitor.greet()
    visitor.sock.drop()
    answered = 0
    for via in vias:
        via.sock.settimeout(SHORT)
        with contextlib.suppress(TimeoutError, AssertionError):
            answered += via.read().status in (200, 204)
    assert answered <= 8


@pytest.mark.parametrize("off", [-2, 2])
def test_a_token_of_another_hour(visit: HttpVisit, visitor: HttpVisitor, off: int) -> None:
    visitor.sock.now = lambda: time.time() + 3600 * off
    silent(visitor.sock.ask(DOWN, 0))


def test_another_method(visitor: HttpVisitor) -> None:
    via = settled(visitor).free.pop()
    via.sock.sendall(f"GET {visitor.sock.target(DOWN, 0)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    silent(via)
    bulk(visitor, 1000)
