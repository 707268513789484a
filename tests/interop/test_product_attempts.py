"""Attempts of the independent peer to resume at `serve` that change nothing, or end the session; and replays."""

import contextlib
import struct
from collections.abc import Callable

import peer
import pytest
import visits
from loopback import dial
from peer_judge import Feed, PeerError
from visits import CLOSED, WINDOW, Tap, Visit, Visitor, aborted, fails, gone, synced, was_reset

served, visit, visitor, tap = visits.served, visits.visit, visits.visitor, visits.tap


def resume_bytes(visitor: Visitor) -> bytes:
    """RESUME of the next j, which never leaves."""
    live, lost = visitor.sock, Feed()
    fails(lambda: visitor.resume(lost), "the connection ended")
    visitor.sock = live
    return lost.written


def answer_to(visit: Visit, message: bytes, size: int) -> bytes:
    """What the server says to these bytes, up to `size` or the end of the connection."""
    with dial(visit.served.process.port) as sock:
        sock.sendall(message)
        data = b""
        with contextlib.suppress(OSError):  # however it ends
            while len(data) < size and (part := sock.recv(1 << 16)):
                data += part
        return data


def is_silent(visit: Visit, visitor: Visitor, message: bytes) -> bool:
    """Whether the server says nothing to these bytes while it answers somebody else."""
    sock = visit.socket()
    sock.sendall(message)
    visit.visitor()
    synced(visitor)
    sock.setblocking(False)
    try:
        return sock.recv(1) is None
    except OSError:  # it would block
        return True


def test_an_old_attempt_gets_no_answer(visit: Visit, visitor: Visitor) -> None:
    synced(visitor)
    held_back = resume_bytes(visitor)
    visitor.again()
    assert answer_to(visit, held_back, 1) == b""
    visitor.j -= 1
    fails(lambda: visitor.resume(visit.socket()), CLOSED)  # the same j again
    visitor.again()
    assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}


def test_a_replayed_attempt_is_none_of_ours(visit: Visit, visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    message = resume_bytes(visitor)
    assert len(answer_to(visit, message, 2458)) >= 2458  # the first time it detaches the session
    gone(visitor)
    visitor.again()
    assert is_silent(visit, visitor, message)
    target.sendall(b"unharmed")
    assert visitor.gather(number, 8) == b"unharmed"


def test_a_replayed_greeting_is_none_of_ours(visit: Visit, visitor: Visitor) -> None:
    stranger, sent = visit.stranger(), Feed()
    stranger.sock, live = sent, stranger.sock
    fails(stranger.greet, "the connection ended")
    assert len(answer_to(visit, sent.written, 2498)) >= 2498  # CHALLENGE, which nobody can answer
    assert is_silent(visit, visitor, sent.written)
    stranger.sock = live
    stranger.greet()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("session_id", bytes(16), "refused: 2"),
        ("received", 99, "refused: 2"),  # more than was sent
        ("received", 0, "refused: 2"),  # less than it acknowledged
        ("rs", bytes(32), CLOSED),
    ],
)
def test_what_the_server_does_not_resume(visitor: Visitor, tap: Tap, name: str, value: object, text: str) -> None:
    number, target = visitor.opens(tap)
    synced(visitor)
    good = getattr(visitor, name)
    setattr(visitor, name, value)
    fails(visitor.again, text)
    setattr(visitor, name, good)
    visitor.over = False
    if name == "received":  # it knew the session, which is over now
        fails(visitor.again, "refused: 2")
        assert was_reset(target)
    else:
        visitor.again()
        visitor.ends(number, target)


@contextlib.contextmanager
def saying_first(visitor: Visitor, what: Callable[[], object]):
    """For the time of a block, this comes in place of the first ACK."""
    visitor.ack = lambda _=b"": what()
    try:
        yield
    finally:
        del visitor.ack


@pytest.mark.parametrize("first", [peer.PAD, peer.PING, peer.DATA, peer.END])
def test_the_first_frame_must_be_an_ack(visitor: Visitor, tap: Tap, first: int) -> None:
    _, target = visitor.opens(tap)
    payload = struct.pack(">I", 1) + b"1234" * (first != peer.END)
    with saying_first(visitor, lambda: visitor.send(first, payload)), contextlib.suppress(PeerError):
        visitor.again()  # the server may be quicker than what is sent behind that
    assert aborted(visitor) == 1
    assert was_reset(target)
    visitor.over = False
    fails(visitor.again, "refused: 2")


def test_a_stray_first_frame_fails_the_attempt_only(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    with saying_first(visitor, lambda: visitor.sock.sendall(bytes(70_000))), contextlib.suppress(PeerError):
        visitor.again()
    fails(lambda: visitor.read(lambda: False), f"{CLOSED}|Bad file descriptor")  # `again` may have closed it itself
    visitor.again()
    visitor.ends(number, target)


def test_a_later_attempt_drops_an_earlier_one(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    with saying_first(visitor, lambda: None):
        visitor.again()
    early = visitor.sock
    visitor.again()
    with contextlib.suppress(OSError):
        assert early.recv(1) == b""
    visitor.ends(number, target)


def test_an_abort_as_the_first_frame_ends_the_session(visitor: Visitor, tap: Tap) -> None:
    _, target = visitor.opens(tap)
    with saying_first(visitor, lambda: visitor.send(peer.ABORT, b"\1")), contextlib.suppress(PeerError):
        visitor.again()
    assert was_reset(target)
    visitor.over = False
    fails(visitor.again, "refused: 2")


def test_several_acks_may_come_first(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    visitor.starved.add(number)
    real = visitor.ack

    def twice(_: bytes = b"") -> None:
        del visitor.ack
        real()
        visitor.grant(number, w=3 * WINDOW)

    visitor.cut()
    visitor.ack = twice
    visitor.again()
    target.sendall(bytes(4 * WINDOW))
    visitor.read(lambda: visitor.streams[number].taken == 3 * WINDOW)
    assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}
