"""The independent peer as a client of `serve`: many streams at once, their order and bound; none holds up another."""

import random
import struct
from collections.abc import Iterator

import peer
import pytest
import visits
from hosts import Site
from visits import WINDOW, Served, Tap, Visit, Visitor, exactly, fill, pour, rest, until_acked

served, visit, visitor, tap = visits.served, visits.visit, visits.visitor, visits.tap
MOST = 1024  # streams of a session that are open at once
TRIES = 1000


@pytest.mark.parametrize("count", [1, 20, 300])
def test_many_streams_at_once(visitor: Visitor, tap: Tap, count: int) -> None:
    numbers = [visitor.open(tap.port) for _ in range(count)]
    visitor.answered(*numbers)
    targets = dict(zip(numbers, (tap.accept() for _ in numbers), strict=True))
    ups = {number: random.randbytes(min(WINDOW, 200_000 // count)) for number in numbers}
    downs = {number: random.randbytes(200_000 // count) for number in numbers}
    for number, target in targets.items():
        target.sendall(downs[number])
        visitor.data(number, ups[number])
        visitor.end(number)
    for number, target in targets.items():
        assert rest(target) == ups[number]
        target.close()
    visitor.closed(*numbers)
    assert {number: bytes(visitor.streams[number].got) for number in numbers} == downs


def test_opens_reach_the_target_in_their_order(visitor: Visitor, tap: Tap) -> None:
    numbers = [visitor.open(tap.port) for _ in range(200)]
    for number in numbers:
        visitor.data(number, struct.pack(">I", number))
    assert [exactly(tap.accept(), 4) for _ in numbers] == [struct.pack(">I", number) for number in numbers]


def test_streams_one_after_another(visitor: Visitor, tap: Tap) -> None:
    for n in range(300):
        number = visitor.open(tap.port)
        visitor.data(number, b"%d" % n)
        visitor.end(number)
        target = tap.accept()
        assert rest(target) == b"%d" % n
        target.close()
        visitor.closed(number)
    assert number == 599 and not visitor.alive()


def test_the_bound_of_streams(visitor: Visitor, tap: Tap) -> None:
    numbers = [visitor.open(tap.port) for _ in range(MOST)]
    visitor.answered(*numbers)
    assert len(visitor.alive()) == MOST
    more = [visitor.open(tap.port) for _ in range(3)]
    visitor.answered(*more)
    for number in more:
        kind, said = visitor.streams[number].answer
        assert kind == peer.REFUSED and said[0] == 1
    visitor.reset(numbers[7])
    for _ in range(TRIES):  # it counts until its socket is gone
        number = visitor.open(tap.port)
        visitor.answered(number)
        if number in visitor.alive():
            break
    assert number in visitor.alive()
    number = visitor.open(tap.port)
    visitor.answered(number)
    assert number not in visitor.alive()


def test_dials_count_too(visit: Visit, visitor: Visitor) -> None:
    held = visit.held()
    numbers = [visitor.open(held.port) for _ in range(MOST + 1)]
    visitor.answered(numbers[-1])
    assert visitor.streams[numbers[-1]].answer[1][0] == 1 and len(visitor.alive()) == MOST
    for number in visitor.alive():
        visitor.reset(number)
    until_acked(visitor)
    assert not visitor.over


@pytest.mark.parametrize("stuck", ["target", "dial", "limit"])
def test_a_stream_that_waits_holds_up_no_other(visit: Visit, visitor: Visitor, tap: Tap, stuck: str) -> None:
    held = visit.held()
    if stuck == "dial":
        visitor.data(visitor.open(held.port), bytes(WINDOW))
    else:
        number, target = visitor.opens(tap)
        if stuck == "target":
            fill(visitor, number)
        else:
            visitor.starved.add(number)
            target.sendall(bytes(2 * WINDOW))
    other, far = visitor.opens(tap)
    for n in range(20):
        data = bytes([n]) * 50_000
        pour(visitor, other, data)
        assert exactly(far, len(data)) == data
        far.sendall(data)
        assert visitor.gather(other, len(data)) == data
    visitor.ends(other, far)
    assert stuck != "limit" or visitor.streams[number].taken == WINDOW


# Permits


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Its client may go to one port."""
    with Site(tmp_path_factory.mktemp("narrow")) as site:
        yield Served(site, permit="127.0.0.1:1-9")


def test_each_open_is_judged_by_itself(narrow: Served) -> None:
    with Visit(narrow) as visit:
        visitor, tap = visit.visitor(), visit.tap()
        numbers = [visitor.open(port) for port in (tap.port, 9, tap.port, 10)]
        visitor.answered(*numbers)
        assert [visitor.streams[number].answer[1][0] for number in numbers] == [2, 5, 2, 2]
