"""An independent peer breaks the rules as a client of our server: ABORT says which, and nobody else is harmed."""

import contextlib
import os
import socket
from collections.abc import Iterator

import peer
import pytest
from loopback import dial
from meeting import (
    CLOSED,
    Blocked,
    Tap,
    Visitor,
    aborted,
    answered,
    at,
    ended,
    fails,
    gone,
    told,
    until,
    until_acked,
    visiting,
)
from peer_judge import PeerError
from world import World, read_all

from nitrosocks_lib.facts.wire import Frame
from nitrosocks_lib.server import tunnel as host

VIOLATION, LIMIT = 1, 5
Frames = list[tuple[int, bytes]]


class Shared(World):
    """A World with a bystander, whose session carries a stream all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.bystander = visiting(self)
        self.far = self.bystander.opens(Tap(self))

    def unharmed(self) -> None:
        """The bystander's stream still carries both ways, and nothing is left of the sessions that are over."""
        self.bystander.send(peer.DATA, b"up")
        self.far.sendall(b"down")
        assert self.far.recv(9) == b"up" and told(self.bystander, peer.DATA) == b"down"


@pytest.fixture(scope="module")
def world() -> Iterator[Shared]:
    with Shared() as shared:
        yield shared


@pytest.fixture(autouse=True)
def unharmed(world: Shared) -> Iterator[None]:
    yield
    world.unharmed()


def violates(visitor: Visitor, frames: Frames, reason: int) -> None:
    """These frames are answered by ABORT, and the session is over for good."""
    with contextlib.suppress(PeerError):  # the connection may have ended before the last
        for frame in frames:
            visitor.send(*frame)
    assert aborted(visitor) == reason
    visitor.over = visitor.leaving = False
    fails(visitor.again, "refused: 2")
    assert visitor.hosted is None


def count(number: int) -> bytes:
    return number.to_bytes(8)


# Frames that are none, or that a client does not send

UNKNOWN = [0x00, 0x01, 0x0F, 0x16, 0x17, 0x1B, 0x1F, 0x27, 0x2F, 0x35, 0x7F, 0x80, 0xFF]
OF_SERVERS = {
    "OPENED": at()[1:], "REFUSED": b"\1", "LISTENING": at()[1:], "ACCEPTED": at()[1:], "REFRESH": bytes(2336),
    "SWITCH": bytes(32), "DISCONNECT_ACK": bytes(32), "GOAWAY": bytes(4),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNKNOWN, ids=hex)
def test_a_frame_of_unknown_type(world: World, kind: int) -> None:
    assert kind not in set(Frame)
    violates(visiting(world), [(kind, b"x")], VIOLATION)


@pytest.mark.parametrize("name", OF_SERVERS)
@pytest.mark.parametrize("opened", [False, True])
def test_a_frame_of_the_wrong_direction(world: World, name: str, opened: bool) -> None:
    visitor = visiting(world)
    if opened:
        visitor.opens(Tap(world))
    violates(visitor, [(Frame[name], OF_SERVERS[name])], VIOLATION)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (peer.OPEN, b""),
        (peer.OPEN, b"\1\0"),
        (peer.OPEN, at() + b"\xff"),
        (peer.LISTEN, b"\1\0"),
        (peer.RESET, b""),
        (peer.RESET, b"\1\xff"),
        (peer.ACK, bytes(7)),
        (peer.ACK, bytes(9)),
        (peer.PING, bytes(7)),
        (peer.PING, bytes(33)),
        (peer.PONG, bytes(31)),
        (peer.PONG, bytes(33)),
        (peer.DISCONNECT, b"x"),
        (peer.DISCONNECT_DONE, bytes(32)),
        (peer.REFRESHED, bytes(2384)),
        (peer.REFRESHED, b""),
        (peer.ABORT, b""),
    ],
)
def test_a_frame_that_does_not_parse_or_was_not_asked_for(world: World, kind: int, payload: bytes) -> None:
    violates(visiting(world), [(kind, payload)], VIOLATION)


# Frames at the wrong time

DATA, END, RESET = (peer.DATA, b"x"), (peer.END, b""), (peer.RESET, b"\1")


@pytest.mark.parametrize(
    "frames",
    [
        [DATA],
        [END],
        [(peer.DISCONNECT, b""), (peer.OPEN, at())],
        [(peer.DISCONNECT, b""), (peer.LISTEN, at())],
        [(peer.DISCONNECT, b""), DATA],
        [(peer.DISCONNECT, b""), (peer.DISCONNECT_DONE, bytes(32))],
        [(peer.ACK, count(1))],
        [(peer.ACK, count(2**64 - 1))],
    ],
)
def test_without_a_stream(world: World, frames: Frames) -> None:
    violates(visiting(world), frames, VIOLATION)


@pytest.mark.parametrize(
    "frames",
    [
        [(peer.OPEN, at())],
        [(peer.LISTEN, at())],
        [(peer.DATA, b"")],
        [(peer.END, b"x")],
        [END, END],
        [END, DATA],
        [END, (peer.OPEN, at())],
        [RESET, DATA],
        [RESET, END],
        [(peer.DISCONNECT, b"")],
        [DATA, (peer.DISCONNECT, b"")],
        [END, (peer.DISCONNECT, b"")],
        [(peer.ACK, count(2))],
        [(peer.ACK, count(0))],  # OPENED was acknowledged
    ],
)
def test_amid_a_stream(world: World, frames: Frames) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    violates(visitor, frames, VIOLATION)
    with contextlib.suppress(ConnectionResetError):
        assert read_all(target) in (b"", b"x")


@pytest.mark.parametrize("frame", [(peer.OPEN, at()), (peer.LISTEN, at()), (peer.DISCONNECT, b"")])
@pytest.mark.parametrize("how", ["END", "RESET"])
def test_before_the_clients_own_direction_has_ended(world: World, frame: tuple[int, bytes], how: str) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    if how == "END":
        target.shutdown(socket.SHUT_WR)
    else:
        target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        target.close()
    told(visitor, Frame[how])
    violates(visitor, [frame], VIOLATION)


@pytest.mark.parametrize("frames", [[(peer.OPEN, at())], [(peer.DISCONNECT, b"")], [DATA, (peer.DISCONNECT, b"")],
                                    [END, (peer.OPEN, at())]])  # fmt: skip
def test_before_the_answer_to_open(world: World, monkeypatch: pytest.MonkeyPatch, frames: Frames) -> None:
    blocked, visitor = Blocked(monkeypatch, host, "reach"), visiting(world)
    visitor.send(peer.OPEN, Tap(world).open)
    violates(visitor, frames, VIOLATION)
    blocked.go.set()


def test_more_than_a_stream_after_a_refusal(world: World) -> None:
    visitor = visiting(world)
    visitor.send(peer.LISTEN, at())
    assert told(visitor, peer.REFUSED)[0] == 7
    violates(visitor, [DATA, END, RESET, (peer.OPEN, Tap(world).open), (peer.OPEN, at())], VIOLATION)


# Limits


@pytest.mark.parametrize("size", [65_536, 1])
def test_a_window_that_is_overrun(world: World, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    blocked, visitor = Blocked(monkeypatch, host, "reach"), visiting(world)
    visitor.send(peer.OPEN, Tap(world).open)
    for _ in range(min(visitor.server_window // size, 1024)):
        visitor.send(peer.DATA, bytes(size))
    assert set(answered(visitor)) <= {peer.ACK}  # it holds just that much
    violates(visitor, [(peer.DATA, b"x")], LIMIT)
    blocked.go.set()


# What ends the connection, and not the session


@pytest.mark.parametrize("bad", [bytes(28), bytes(3), b"\xff" * 100, os.urandom(1000)], ids=len)
def test_bytes_that_are_no_frame(world: World, bad: bytes) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    with contextlib.suppress(OSError):
        visitor.sock.sendall(bad)
        visitor.sock.sendall(bytes(70_000))  # the length may be in range: then the rest is waited for
    gone(visitor)
    visitor.again()
    ended(visitor, target)


def test_a_refreshed_that_does_not_open(world: World) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    mail = visitor.hosted.tunnel.outbound.mail
    mail.refresh = True
    mail.wake.set()
    until(visitor, peer.REFRESH)
    visitor.send(peer.REFRESHED, bytes(2384))
    gone(visitor)
    visitor.again()
    ended(visitor, target)


# Handshakes


def strays(visitor: Visitor, name: str) -> None:
    """Sends rubbish behind the message that this step ends."""
    real = getattr(visitor, name)

    def stray(*args: object, **kwargs: object) -> object:
        out = real(*args, **kwargs) if name == "_signed_part" else None
        visitor._read(0)
        visitor.sock.sendall(bytes(5000))
        return out or real(*args, **kwargs)

    setattr(visitor, name, stray)


def test_rubbish_in_place_of_response(world: World) -> None:
    before, visitor = len(world.registry), Visitor(world)
    strays(visitor, "_salt_part")
    fails(visitor.greet, f"{CLOSED}|Broken pipe")
    assert len(world.registry) == before and not world.registry._per_client[visitor.client_id]


def test_rubbish_behind_response_is_a_frame_that_does_not_open(world: World) -> None:
    visitor = Visitor(world)
    strays(visitor, "_signed_part")
    visitor.greet()
    gone(visitor)
    del visitor._signed_part
    visitor.again()
    ended(visitor, visitor.opens(Tap(world)))


@pytest.mark.parametrize("bad", [b"x", b"GET / HTTP/1.1\r\n\r\n", bytes(39), os.urandom(5000)], ids=len)
def test_what_is_none_of_ours_gets_no_answer(world: World, monkeypatch: pytest.MonkeyPatch, bad: bytes) -> None:
    monkeypatch.setattr(world.server._tarpit, "_seconds", 0)
    with dial(world.port) as sock, contextlib.suppress(OSError):
        sock.sendall(bad)
        assert sock.recv(1) == b""


def test_a_connection_that_ends_within_a_frame(world: World) -> None:
    visitor = visiting(world)
    target = visitor.opens(Tap(world))
    frame = visitor.keys[peer.C2S].seal(b"\x13" + bytes(1000))
    visitor.sock.sendall(frame[:-1])
    visitor.again()
    target.sendall(b"y")
    assert told(visitor, peer.DATA) == b"y"
    until_acked(visitor)
    ended(visitor, target)
