"""The independent peer as a client of `serve`: what one stream does. Many at once are in test_product_many.py."""

import contextlib
import random
import socket
import struct

import peer
import pytest
import visits
from peer_streams import BLOCK, at
from visits import WINDOW, Tap, Visit, Visitor, exactly, fill, pour, reset, rest, synced, until_acked

served, visit, nowhere, visitor, tap = visits.served, visits.visit, visits.nowhere, visits.visitor, visits.tap
MOST = 1024  # streams of a session that are open at once
SIZES = [1, 1000, BLOCK - 1, BLOCK]
TRIES = 1000


# One stream


def test_data_of_all_sizes_both_ways(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    for size in SIZES:
        up, down = random.randbytes(size), random.randbytes(size)
        pour(visitor, number, up)
        target.sendall(down)
        assert exactly(target, size) == up and visitor.gather(number, size) == down
    visitor.ends(number, target)


@pytest.mark.parametrize("first", ["client", "target"])
def test_each_direction_ends_by_itself(visitor: Visitor, tap: Tap, first: str) -> None:
    number, target = visitor.opens(tap)
    if first == "client":
        visitor.end(number)
        assert target.recv(1) == b""
        target.sendall(b"late")
        assert visitor.gather(number, 4) == b"late"
        target.close()
    else:
        target.shutdown(socket.SHUT_WR)
        visitor.read(lambda: bool(visitor.streams[number].ended))
        visitor.data(number, b"late")
        visitor.end(number)
        assert rest(target) == b"late"
    visitor.closed(number)
    until_acked(visitor)
    assert visitor.streams[number].last == (b"", b"")


@pytest.mark.parametrize("size", [5, WINDOW])
def test_early_data_and_end_wait_for_the_dial(visit: Visit, visitor: Visitor, size: int) -> None:
    held, early = visit.held(), random.randbytes(size)
    number = visitor.open(held.port)
    visitor.data(number, early)
    visitor.end(number)
    until_acked(visitor)
    assert visitor.streams[number].answer[0] == 0
    held.let_go()
    visitor.answered(number)
    target = held.accept()
    assert rest(target) == early
    target.sendall(b"answer")
    target.close()
    visitor.closed(number)
    assert visitor.streams[number].got == b"answer"


def test_the_target_may_speak_first(visitor: Visitor, tap: Tap) -> None:
    number = visitor.open(tap.port)
    target = tap.accept()
    target.sendall(b"220 hello")
    target.close()
    visitor.read(lambda: bool(visitor.streams[number].ended))
    assert visitor.streams[number].got == b"220 hello"
    visitor.end(number)
    visitor.closed(number)


# Refusals


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (at(host="192.0.2.1"), 2),  # not permitted
        (at(0, "/etc/passwd", 2), 2),
        (at(0), 1),
        (at(host=""), 1),
        (at(0, "", 2), 1),
        (at(host="x" * 255), 1),
        (b"nobody listens", 5),
    ],
)
@pytest.mark.parametrize("behind", ["", "data", "end", "reset"])
def test_a_refused_stream_is_over(visitor: Visitor, nowhere: int, where: bytes, reason: int, behind: str) -> None:
    number = visitor.tell(peer.OPEN, 1, at(nowhere) if reason == 5 else where)
    say(visitor, number, behind)  # this may cross the refusal
    if behind != "reset":
        visitor.answered(number)
        kind, said = visitor.streams[number].answer
        assert kind == peer.REFUSED and len(said) > 1 and said[1:].decode().isprintable()
        assert said[0] == reason or (len(where) > 200 and said[0] in (1, 4))
        say(visitor, number, behind)  # and this does not
    until_acked(visitor)
    assert not visitor.over


def say(visitor: Visitor, number: int, what: str) -> None:
    if what == "data":
        visitor.data(number, b"dropped")
    elif what:
        getattr(visitor, what)(number)


def test_a_listener_is_refused_where_it_is_not_permitted(visitor: Visitor, tap: Tap) -> None:
    for _ in range(2):
        number = visitor.listen(0, "192.0.2.1")
        visitor.read(lambda n=number: visitor.listeners[n].reply >= 0)
        assert visitor.listeners[number].reply > 0
        visitor.tell(peer.UNLISTEN, number)  # it is over, so this is ignored
        until_acked(visitor)
    visitor.ends(*visitor.opens(tap))


# RESET


@pytest.mark.parametrize("before", ["", "data", "end"])
def test_a_reset_of_the_client(visitor: Visitor, tap: Tap, before: str) -> None:
    """What came before it is delivered, and then the local socket is reset."""
    number, target = visitor.opens(tap)
    if before == "data":
        visitor.data(number, b"x")
    elif before:
        visitor.end(number)
    visitor.reset(number, 1, "over")
    if before == "data":
        assert exactly(target, 1) == b"x"
    with contextlib.suppress(ConnectionResetError):  # END was passed on where it came first
        assert rest(target) == b"" and before == "end"
    until_acked(visitor)
    assert [frame for frame in visitor.heard if frame[0] not in (peer.ACK, peer.OPENED)] == []
    visitor.ends(*visitor.opens(tap))


@pytest.mark.parametrize("behind", ["", "data", "end"])
def test_a_reset_before_the_answer_stops_the_dial(visit: Visit, visitor: Visitor, tap: Tap, behind: str) -> None:
    held = visit.held()
    number = visitor.open(held.port)
    if behind:
        visitor.data(number, bytes(WINDOW))
    if behind == "end":
        visitor.end(number)
    visitor.reset(number)
    until_acked(visitor)
    visitor.ends(*visitor.opens(tap))
    synced(visitor)
    assert not [frame for frame in visitor.heard if frame[0] != peer.ACK and frame[1][:4] == struct.pack(">I", number)]


@pytest.mark.parametrize("half", ["", "END of the client", "END of the target"])
def test_a_reset_of_the_target(visitor: Visitor, tap: Tap, half: str) -> None:
    """Also while the target does not read: what waits for it is dropped, and acknowledged."""
    number, target = visitor.opens(tap)
    if half == "END of the target":
        target.shutdown(socket.SHUT_WR)
        visitor.read(lambda: bool(visitor.streams[number].ended))
    fill(visitor, number)
    if half == "END of the client":
        visitor.end(number)
        synced(visitor)
    reset(target)
    visitor.closed(number)
    assert visitor.streams[number].last[0] == peer.S2C and visitor.streams[number].last[1][0] == 1
    until_acked(visitor)
    visitor.ends(*visitor.opens(tap))


def test_what_an_early_answer_says_is_read_before_the_reset(visitor: Visitor, tap: Tap) -> None:
    """The target answers without reading all of the request, and closes: a RST follows its answer."""
    number, target = visitor.opens(tap)
    answer = random.randbytes(50_000)
    fill(visitor, number)
    target.sendall(answer)
    target.close()
    visitor.closed(number)
    assert visitor.streams[number].got == answer and visitor.streams[number].last[0] == peer.S2C
