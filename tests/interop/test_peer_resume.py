"""Reconnection with the independent peer, as a client of our server and as the server of our pool, over TLS."""

import contextlib
from collections.abc import Callable, Iterator

import peer
import pytest
from loopback import dial
from meeting import (
    BOUND,
    CLOSED,
    Blocked,
    Host,
    Tap,
    Visitor,
    aborted,
    answered,
    ended,
    exactly,
    fails,
    gathered,
    gone,
    reset,
    told,
    until,
    until_acked,
    visiting,
)
from peer_judge import Feed, PeerError
from world import World, read_all

from nitrosocks_lib.server import connection as reception
from nitrosocks_lib.session.outbound import Outbound


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as shared:
        yield shared


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


def resume_bytes(visitor: Visitor) -> bytes:
    """RESUME of the next j, which never leaves."""
    live, lost = visitor.sock, Feed()
    fails(lambda: visitor.resume(lost), "the connection ended")
    visitor.sock = live
    return lost.written


def answer_to(world: World, message: bytes, size: int) -> bytes:
    """What the server says to these bytes, up to `size` or the end of the connection."""
    with dial(world.port) as sock:
        sock.sendall(message)
        data = b""
        with contextlib.suppress(OSError):  # however it ends
            while len(data) < size and (part := sock.recv(1 << 16)):
                data += part
        return data


# A peer comes back to our server


@pytest.mark.parametrize("alive", [False, True])
def test_nothing_is_lost_or_doubled(world: World, alive: bool) -> None:
    """Cuts between two frames, with frames under way both ways; or a move while the old connection still lives."""
    visitor, tap = visiting(world), Tap(world)
    target = visitor.opens(tap)
    up = down = b""
    for n in range(5):
        for m in range(3):
            up += (part := bytes([16 * n + m]) * 40_000)
            visitor.send(peer.DATA, part)
        target.sendall(bytes([n]) * 100_000)
        for _ in range(n % 3):  # of what comes, some is read before the cut
            kind, payload = visitor.recv()
            down += payload if kind == peer.DATA else b""
        old = visitor.sock
        if not alive:
            reset(old)
        visitor.again()
        if alive:
            with pytest.raises(OSError):  # what it still holds, and an end without close_notify
                read_all(old)
    while len(down) < 500_000:
        down += told(visitor, peer.DATA)
    assert down == b"".join(bytes([n]) * 100_000 for n in range(5)) and exactly(target, 600_000) == up
    ended(visitor, target)
    assert visitor.j == 5


def test_a_session_resumes_with_nothing_to_send(world: World) -> None:
    visitor = visiting(world)
    for _ in range(3):
        visitor.again()
        assert set(answered(visitor)) <= {peer.ACK}
    ended(visitor, visitor.opens(Tap(world)))


def test_data_that_comes_while_nobody_is_there(world: World) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    reset(visitor.sock)
    target.sendall(b"meanwhile")
    target.close()
    visitor.again()
    assert gathered(visitor, 9) == b"meanwhile" and told(visitor, peer.END) == b""
    visitor.send(peer.END)
    until_acked(visitor)


def test_an_old_attempt_gets_no_answer_and_changes_nothing(world: World) -> None:
    visitor = visiting(world)
    answered(visitor)
    held_back = resume_bytes(visitor)
    visitor.again()
    assert answer_to(world, held_back, 1) == b""
    visitor.j -= 1
    fails(lambda: visitor.resume(visitor.connection()), CLOSED)  # the same j again
    visitor.again()
    assert set(answered(visitor)) <= {peer.ACK}


def test_a_replayed_attempt_is_none_of_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.server._tarpit, "_seconds", 0)
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    message = resume_bytes(visitor)
    assert len(answer_to(world, message, 2458)) >= 2458  # the first time it detaches the session
    gone(visitor)
    assert answer_to(world, message, 1) == b""
    visitor.again()
    assert answer_to(world, message, 1) == b""
    target.sendall(b"unharmed")
    assert gathered(visitor, 8) == b"unharmed"


def test_a_replayed_greeting_is_none_of_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.server._tarpit, "_seconds", 0)
    visitor, sent = Visitor(world), Feed()
    visitor.sock, live = sent, visitor.sock
    fails(visitor.greet, "the connection ended")
    assert len(answer_to(world, sent.written, 2498)) >= 2498  # CHALLENGE, which nobody can answer
    assert answer_to(world, sent.written, 1) == b""
    visitor.sock = live
    visitor.greet()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("session_id", bytes(16), "refused: 2"),
        ("received", 99, "refused: 2"),  # more than was sent
        ("received", 0, "refused: 2"),  # less than it acknowledged
        ("rs", bytes(32), CLOSED),
    ],
)
def test_what_the_server_does_not_resume(world: World, name: str, value: object, text: str) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    good = getattr(visitor, name)
    setattr(visitor, name, value)
    fails(visitor.again, text)
    setattr(visitor, name, good)
    if name == "received":  # it knew the session, which is over now
        visitor.over = False
        fails(visitor.again, "refused: 2")
        with pytest.raises(ConnectionResetError):
            read_all(target)
    else:
        visitor.over = False
        visitor.again()
        ended(visitor, target)


@pytest.mark.parametrize("first", [peer.PAD, peer.PING, peer.DATA])
def test_the_first_frame_must_be_an_ack(world: World, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    monkeypatch.setattr(visitor, "ack", lambda: visitor.send(first, b"12345678"))
    with contextlib.suppress(PeerError):  # where it is quicker than what is sent behind that
        visitor.again()
    assert aborted(visitor) == 1
    with pytest.raises(ConnectionResetError):
        read_all(target)
    visitor.over = False
    fails(visitor.again, "refused: 2")


def test_a_stray_first_frame_fails_the_attempt_only(world: World) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    with monkey(visitor, "ack", lambda: visitor.sock.sendall(bytes(28))):
        visitor.again()
    gone(visitor)
    visitor.again()
    ended(visitor, target)


class monkey:
    """For the time of a block, this object has another method."""

    def __init__(self, owner: object, name: str, method: Callable) -> None:
        self.owner, self.name, self.method = owner, name, method

    def __enter__(self) -> None:
        setattr(self.owner, self.name, self.method)

    def __exit__(self, *_: object) -> None:
        delattr(self.owner, self.name)


def test_an_attempt_without_a_first_frame_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception.limits, "FIRST_FRAME", 0.05)
    visitor = visiting(world)
    with monkey(visitor, "ack", lambda: None):
        visitor.again()
    gone(visitor)
    visitor.again()
    assert set(answered(visitor)) <= {peer.ACK}


def test_a_later_attempt_drops_an_earlier_one(world: World) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    with monkey(visitor, "ack", lambda: None):
        visitor.again()
    early = visitor.sock
    visitor.again()
    with contextlib.suppress(OSError):
        assert early.recv(1) == b""
    ended(visitor, target)


def test_an_abort_as_the_first_frame_ends_the_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    monkeypatch.setattr(visitor, "ack", lambda: visitor.send(peer.ABORT, b"\1"))
    visitor.again()
    gone(visitor)
    with pytest.raises(ConnectionResetError):
        read_all(target)


def test_the_first_ack_does_not_cover_what_a_lost_reset_drops(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    receiving = visitor.hosted.tunnel.inbound.receiving
    while receiving.held_bytes < 1 << 20:  # the target does not read
        for _ in range(16):
            visitor.send(peer.DATA, bytes(65_536))
        answered(visitor)
    taken, queued = receiving.consumed, Blocked(monkeypatch, Outbound, "_reset")
    queued.go.set()
    reset(target)
    queued.entered.get(timeout=BOUND)
    for _ in range(2):  # lost, and lost again
        visitor.again()
        assert until(visitor, peer.ACK) and visitor.acked <= taken < visitor.sent
    assert until(visitor, peer.RESET) == b"\1"
    visitor.send(peer.RESET, b"\1")
    until_acked(visitor)
    ended(visitor, visitor.opens(Tap(world)))
