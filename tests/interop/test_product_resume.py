"""The independent peer reconnects to `serve`: frames and ACKs are lost, and nothing else is, nor comes twice."""

import contextlib
import random

import peer
import pytest
import visits
from visits import Tap, Visit, Visitor, aborted, exactly, reset, rest, synced, until_acked, was_reset

served, visit, nowhere, visitor, tap = visits.served, visits.visit, visits.nowhere, visits.visitor, visits.tap


# Nothing is lost or doubled


@pytest.mark.parametrize("alive", [False, True])
@pytest.mark.parametrize("count", [1, 20, 200])
def test_streams_live_through_cuts(visitor: Visitor, tap: Tap, count: int, alive: bool) -> None:
    """Cuts with frames under way both ways; or moves while the old connection still lives."""
    numbers = [visitor.open(tap.port) for _ in range(count)]
    visitor.answered(*numbers)
    targets = {number: tap.accept() for number in numbers}
    ups, downs = (dict.fromkeys(numbers, b"") for _ in range(2))
    size = 20_000 // count
    for _ in range(5):
        for number in numbers:
            ups[number] += (up := random.randbytes(size))
            downs[number] += (down := random.randbytes(size))
            visitor.data(number, up)
            targets[number].sendall(down)
        for _ in range(random.randrange(2)):  # of what comes, some is read before the cut
            visitor.recv()
        old = visitor.sock
        if not alive:
            reset(old)
        visitor.again()
        if alive:
            with contextlib.suppress(OSError):  # it may end without close_notify
                rest(old)
    for number, target in targets.items():
        assert visitor.gather(number, 5 * size) == downs[number] and exactly(target, 5 * size) == ups[number]
    assert visitor.j == 5 and visitor.unrestated == {}
    for number, target in targets.items():
        visitor.ends(number, target)


def test_what_is_sent_on_a_line_that_is_dead_comes_once(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    for n in range(5):
        visitor.data(number, b"%d" % n)
        visitor.lose()
        visitor.data(number, b"(%d)" % n)
        other = visitor.open(tap.port)
        visitor.data(other, b"early %d" % n)
        visitor.cut()
        visitor.again()
        visitor.answered(other)
        assert exactly(tap.accept(), 7) == b"early %d" % n
        visitor.reset(other)
    assert exactly(target, 20) == b"0(0)1(1)2(2)3(3)4(4)"
    visitor.ends(number, target)


def test_acks_that_are_lost(visitor: Visitor, tap: Tap) -> None:
    """The server has sent, and we have received, without ever saying so: it is not sent again."""
    number, target = visitor.opens(tap)
    visitor.lose()  # our ACKs, from here on
    target.sendall(b"one")
    assert visitor.gather(number, 3) == b"one"
    received = visitor.received
    visitor.again()
    target.sendall(b"two")
    assert visitor.gather(number, 3) == b"two"
    assert visitor.received == received + 1
    visitor.ends(number, target)


def test_acks_of_the_server_that_are_lost(visitor: Visitor, tap: Tap) -> None:
    """It has received what we sent, and we never heard so: RECOVERED says it."""
    number, target = visitor.opens(tap)
    visitor.data(number, b"taken")
    assert exactly(target, 5) == b"taken"
    visitor.cut()
    visitor.again()
    assert visitor.kept == []
    visitor.ends(number, target)


@pytest.mark.parametrize("lost", ["END", "RESET", "END of the target", "RESET of the target", "OPENED", "REFUSED"])
def test_a_frame_that_is_lost_comes_again(visit: Visit, visitor: Visitor, tap: Tap, nowhere: int, lost: str) -> None:
    number, target = visitor.opens(tap)
    other = 0
    if lost in ("OPENED", "REFUSED"):
        other = visitor.open(tap.port if lost == "OPENED" else nowhere)
        tap.accept() if lost == "OPENED" else synced_elsewhere(visit)
    elif lost.endswith("target"):
        target.close() if lost.startswith("END") else reset(target)
        synced_elsewhere(visit)
    else:
        visitor.lose()
        visitor.end(number) if lost == "END" else visitor.reset(number)
    visitor.cut()
    visitor.again()
    if other:
        visitor.answered(other)
        assert visitor.streams[other].answer[0] == (peer.OPENED if lost == "OPENED" else peer.REFUSED)
    elif lost == "END":
        assert rest(target) == b""
    elif lost == "RESET":
        assert was_reset(target)
    elif lost == "END of the target":
        visitor.read(lambda: bool(visitor.streams[number].ended))
    else:
        visitor.closed(number)
    until_acked(visitor)


def synced_elsewhere(visit: Visit) -> None:
    """A while passes in which the server is seen to be at work."""
    other = visit.visitor()
    for _ in range(10):
        synced(other)


def test_frames_of_what_is_over_are_sent_again_and_ignored(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    visitor.lose()
    visitor.data(number, b"x")
    visitor.reset(number)
    visitor.data(number, b"y")  # of what is over
    visitor.end(number)
    reset(target)  # so that it is over there, too
    visitor.cut()
    visitor.again()
    until_acked(visitor)
    assert not visitor.over


def test_a_session_resumes_with_nothing_to_send(visitor: Visitor, tap: Tap) -> None:
    for _ in range(3):
        visitor.again()
        assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}
    visitor.ends(*visitor.opens(tap))


def test_what_comes_while_nobody_is_there(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    visitor.cut()
    target.sendall(b"meanwhile")
    target.close()
    visitor.again()
    assert visitor.gather(number, 9) == b"meanwhile"
    visitor.read(lambda: bool(visitor.streams[number].ended))
    visitor.end(number)
    until_acked(visitor)


def test_a_dial_goes_on_while_nobody_is_there(visit: Visit, visitor: Visitor) -> None:
    held = visit.held()
    number = visitor.open(held.port)
    visitor.data(number, b"early")
    until_acked(visitor)
    visitor.cut()
    held.let_go()
    target = held.accept()
    visitor.again()
    visitor.answered(number)
    assert exactly(target, 5) == b"early"
    assert visitor.streams[number].answer[0] == peer.OPENED


def test_what_no_target_has_taken_still_counts(visitor: Visitor, tap: Tap) -> None:
    """After a reconnection, too: a byte more than the limit is too much."""
    number, _ = visitor.opens(tap)
    visits.fill(visitor, number)
    limit = visitor.streams[number].may
    visitor.cut()
    visitor.again()
    synced(visitor)
    assert visitor.streams[number].may == limit == visitor.streams[number].sent
    visitor.data(number, b"x")
    assert aborted(visitor) == 5
