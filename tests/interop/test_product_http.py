"""The independent peer as a client of `serve` over the carrier `http`; the rules are in test_product_http_rules.py."""

import os

import carrying_peers
import pytest
import visits
from carrying_peers import HttpVisit, HttpVisitor, bulk
from program import Site
from visits import Served, fails, pour, rest, synced, until_acked

served, visit, visitor = visits.served, carrying_peers.visit, carrying_peers.visitor


# A session


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
