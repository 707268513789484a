"""A peer breaks the rules as a client of `serve`: ABORT says which, and nobody else is harmed."""

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import peer
import pytest
import visits
from peer_streams import BLOCK, at
from visits import WINDOW, Served, Tap, Visit, exactly, fails, gone, synced, until_acked, violates

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
VIOLATION, LIMIT = 1, 5
N = struct.pack(">I", 1)
Frames = list[tuple[int, bytes]]
served, visit = visits.served, visits.visit


class Bystander:
    """A session of its own, which carries a stream all the time."""

    def __init__(self, visit: Visit) -> None:
        self.peer = visit.visitor()
        self.number, self.target = self.peer.opens(visit.tap())

    def unharmed(self) -> None:
        """The stream still carries both ways."""
        self.peer.data(self.number, b"up")
        self.target.sendall(b"down")
        assert exactly(self.target, 2) == b"up" and self.peer.gather(self.number, 4) == b"down"


@pytest.fixture(scope="module")
def bystander(served: Served) -> Iterator[Bystander]:
    with Visit(served) as own:
        yield Bystander(own)


@pytest.fixture(autouse=True)
def unharmed(bystander: Bystander) -> Iterator[None]:
    yield
    bystander.unharmed()


def opening(tap: Tap) -> Frames:
    """OPEN of stream 1."""
    return [(peer.OPEN, N + at(tap.port))]


# The recorded rows


@pytest.mark.parametrize("row", VECTORS["violations"]["rows"], ids=lambda row: row["why"])
def test_the_rows_of_violations(visit: Visit, row: dict) -> None:
    tap, frames = visit.tap(), []
    for frame in map(bytes.fromhex, row["frames"]):
        named = frame[0] == peer.OPEN and len(frame) > 1
        frames.append((frame[0], frame[1:5] + at(tap.port) if named else frame[1:]))
    violates(visit.visitor(), frames, VIOLATION)


def test_a_byte_beyond_the_limit(visit: Visit) -> None:
    """The target has not taken any yet, so no limit was raised."""
    held, visitor = visit.held(), visit.visitor()
    assert visitor.server_window == WINDOW
    number = visitor.open(held.port)
    visitor.data(number, bytes(WINDOW))
    assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}  # it holds just that much
    violates(visitor, [(peer.DATA, N + b"x")], LIMIT)


def test_a_limit_is_for_one_stream(visit: Visit) -> None:
    held, visitor = visit.held(), visit.visitor()
    numbers = [visitor.open(held.port) for _ in range(4)]
    for number in numbers:
        visitor.data(number, bytes(WINDOW))
    assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}
    violates(visitor, [(peer.DATA, struct.pack(">I", numbers[2]) + b"x")], LIMIT)


def test_data_on_a_stream_that_is_over_has_no_limit(visit: Visit) -> None:
    visitor = visit.visitor()
    number, _ = visitor.opens(visit.tap())
    visitor.reset(number)
    for _ in range(3):
        visitor.data(number, bytes(BLOCK))
    until_acked(visitor)
    assert not visitor.over


# Frames that are none, or that a client does not send

UNKNOWN = [0x00, 0x01, 0x0F, 0x16, 0x17, 0x1C, 0x1F, 0x27, 0x2F, 0x35, 0x7F, 0x80, 0xFF]
OF_SERVERS: Frames = [
    (peer.LISTENING, N + b"\0" + at()[1:]), (peer.ACCEPTED, struct.pack(">II", 2, 1) + at()[1:]),
    (peer.REFRESH, bytes(2336)), (peer.SWITCH, bytes(32)), (peer.DISCONNECT_ACK, bytes(32)), (peer.GOAWAY, bytes(4)),
]  # fmt: skip
ILL_FORMED: Frames = [
    (peer.OPEN, b""), (peer.OPEN, N), (peer.OPEN, N + b"\1\0"), (peer.OPEN, N + at() + b"\xff"),
    (peer.OPEN, N + at(kind=0)), (peer.OPEN, N + at(kind=4)), (peer.OPEN, N + at(host="x" * 256)),
    (peer.OPEN, N + at(0, "/" + "x" * 107, 2)), (peer.OPEN, N + at(1, "/x", 2)),
    (peer.LISTEN, N), (peer.LISTEN, N + at(kind=4)), (peer.LISTEN, N + at(host="x" * 256)),
    (peer.UNLISTEN, N[1:]), (peer.UNLISTEN, N), (peer.ACK, b""), (peer.ACK, bytes(7)), (peer.ACK, bytes(9)),
    (peer.ACK, bytes(31)), (peer.PING, bytes(7)), (peer.PING, bytes(33)), (peer.PONG, bytes(31)),
    (peer.PONG, bytes(33)), (peer.DISCONNECT, b"x"), (peer.DISCONNECT_DONE, bytes(32)), (peer.REFRESHED, b""),
    (peer.REFRESHED, bytes(2384)), (peer.ABORT, b""),
]  # fmt: skip
ILL_FORMED_OF_STREAMS: Frames = [
    (peer.OPENED, N), (peer.OPENED, N + b"\0"), (peer.REFUSED, N), (peer.REFUSED, N + b"\1\xff"),
    (peer.REFUSED, N + b"\1" + b"x" * 1025), (peer.DATA, N), (peer.END, N + b"x"), (peer.RESET, N),
    (peer.RESET, N + b"\1\xff"), (peer.RESET, N + b"\1" + b"x" * 1025), (peer.ACK, bytes(8) + N + bytes(7)),
]  # fmt: skip


def named(frame: object) -> str:
    """For the names of tests."""
    return f"{frame[0]:#x}-{len(frame[1])}" if isinstance(frame, tuple) else str(frame)


@pytest.mark.parametrize("kind", UNKNOWN, ids=hex)
def test_a_frame_of_unknown_type(visit: Visit, kind: int) -> None:
    violates(visit.visitor(), [(kind, N)], VIOLATION)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("frame", OF_SERVERS, ids=named)
def test_a_frame_of_the_other_direction(visit: Visit, frame: tuple[int, bytes], opened: bool) -> None:
    violates(visit.visitor(), [*(opening(visit.tap()) if opened else []), frame], VIOLATION)


@pytest.mark.parametrize("frame", ILL_FORMED, ids=named)
def test_a_frame_that_does_not_parse_or_was_not_asked_for(visit: Visit, frame: tuple[int, bytes]) -> None:
    violates(visit.visitor(), [frame], VIOLATION)


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("frame", ILL_FORMED_OF_STREAMS, ids=named)
def test_what_comes_of_a_stream_must_parse(visit: Visit, frame: tuple[int, bytes], over: bool) -> None:
    """Also when it is over, and what comes is ignored."""
    before = opening(visit.tap()) + ([(peer.RESET, N + b"\1")] if over else [])
    violates(visit.visitor(), [*before, frame], VIOLATION)


# Numbers


@pytest.mark.parametrize("number", [0, 1, 2, 4, 5, 0x7FFFFFFF, 0xFFFFFFFF])
def test_the_second_open_has_the_next_odd_number(visit: Visit, number: int) -> None:
    tap = visit.tap()
    violates(visit.visitor(), [*opening(tap), (peer.OPEN, struct.pack(">I", number) + at(tap.port))], VIOLATION)


@pytest.mark.parametrize("how", ["refused", "reset"])
def test_a_number_is_not_used_again(visit: Visit, nowhere: int, how: str) -> None:
    visitor, tap = visit.visitor(), visit.tap()
    number = visitor.open(nowhere if how == "refused" else tap.port)
    if how == "refused":
        visitor.answered(number)
    else:
        visitor.reset(number)
    violates(visitor, [(peer.OPEN, N + at(tap.port))], VIOLATION)


nowhere = visits.nowhere


@pytest.mark.parametrize("kind", [peer.OPENED, peer.REFUSED, peer.DATA, peer.END, peer.RESET, peer.ACK])
@pytest.mark.parametrize("number", [0, 2, 3, 0xFFFFFFFF])
def test_frames_of_streams_never_opened(visit: Visit, kind: int, number: int) -> None:
    rests = {peer.OPENED: at()[1:], peer.END: b"", peer.ACK: bytes(8)}
    payload = struct.pack(">I", number) + rests.get(kind, b"\1")
    violates(visit.visitor(), [*opening(visit.tap()), (kind, bytes(8) * (kind == peer.ACK) + payload)], VIOLATION)


@pytest.mark.parametrize("numbers", [[0], [2], [1, 1], [1, 3], [1, 2, 2]])
def test_listeners_are_numbered_too(visit: Visit, numbers: list[int]) -> None:
    violates(visit.visitor(), [(peer.LISTEN, struct.pack(">I", n) + at(0)) for n in numbers], VIOLATION)


# Sessions


@pytest.mark.parametrize("received", [1, 2**64 - 1])
def test_an_ack_beyond_what_was_sent(visit: Visit, received: int) -> None:
    violates(visit.visitor(), [(peer.ACK, struct.pack(">Q", received))], VIOLATION)


def test_an_ack_that_goes_back(visit: Visit) -> None:
    visitor = visit.visitor()
    visitor.opens(visit.tap())  # OPENED was acknowledged
    violates(visitor, [(peer.ACK, bytes(8))], VIOLATION)


BEHIND: Frames = [
    (peer.OPEN, N + at()), (peer.LISTEN, N + at()), (peer.DATA, N + b"x"), (peer.ACK, bytes(8)),
    (peer.PING, bytes(8)), (peer.PAD, b""), (peer.DISCONNECT, b""), (peer.DISCONNECT_DONE, bytes(32)),
]  # fmt: skip


@pytest.mark.parametrize("frame", BEHIND, ids=named)
def test_nothing_but_the_end_of_a_release_comes_behind_disconnect(visit: Visit, frame: tuple[int, bytes]) -> None:
    violates(visit.visitor(), [(peer.DISCONNECT, b""), frame], VIOLATION)


@pytest.mark.parametrize("before", ["", "e", "E", "ee"])
def test_disconnect_while_a_stream_is_open(visit: Visit, before: str) -> None:
    """One, or the other of two, or one of which a direction has ended."""
    visitor, tap = visit.visitor(), visit.tap()
    number, target = visitor.opens(tap)
    visitor.opens(tap)
    visitor.reset(3)
    if "e" in before:
        visitor.end(number)
    if before == "ee":
        visitor.opens(tap)
        visitor.end(5)
    if before == "E":
        target.shutdown(1)
        visitor.read(lambda: bool(visitor.streams[number].ended))
    violates(visitor, [(peer.DISCONNECT, b"")], VIOLATION)


def test_disconnect_while_a_target_is_dialled(visit: Visit) -> None:
    held = visit.held()
    violates(visit.visitor(), [*opening(held), (peer.DISCONNECT, b"")], VIOLATION)


# What ends the connection, and not the session


@pytest.mark.parametrize("bad", [bytes(28), bytes(3), b"\xff" * 100, os.urandom(1000)], ids=len)
def test_bytes_that_are_no_frame(visit: Visit, bad: bytes) -> None:
    visitor = visit.visitor()
    number, target = visitor.opens(visit.tap())
    with contextlib.suppress(OSError):
        visitor.sock.sendall(bad)
        visitor.sock.sendall(bytes(70_000))  # the length may be in range: then the rest is waited for
    gone(visitor)
    visitor.again()
    visitor.ends(number, target)


def test_a_connection_that_ends_within_a_frame(visit: Visit) -> None:
    visitor = visit.visitor()
    number, target = visitor.opens(visit.tap())
    frame = visitor.keys[peer.C2S].seal(bytes([peer.DATA]) + N + bytes(1000))
    visitor.sock.sendall(frame[:-1])
    visitor.again()
    target.sendall(b"y")
    assert visitor.gather(number, 1) == b"y"
    visitor.ends(number, target)


# Handshakes


def test_rubbish_in_place_of_response(visit: Visit) -> None:
    visitor = visit.stranger()
    real = visitor._salt_part

    def stray() -> None:
        real()
        visitor.sock.sendall(bytes(5000))

    visitor._salt_part = stray
    fails(visitor.greet, visits.CLOSED)


def test_rubbish_behind_response_is_a_frame_that_does_not_open(visit: Visit) -> None:
    visitor = visit.stranger()
    real = visitor._signed_part

    def stray(*args: bytes) -> bytes:
        out = real(*args)
        visitor._read(0)
        visitor.sock.sendall(bytes(70_000))
        return out

    visitor._signed_part = stray
    visitor.greet()
    gone(visitor)
    del visitor._signed_part
    visitor.again()
    visitor.ends(*visitor.opens(visit.tap()))
