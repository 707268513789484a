"""An independent peer breaks the rules as the server of our pool: ABORT says which, and no other session is harmed."""

import contextlib
import os
from collections.abc import Iterator

import peer
import pytest
from meeting import (
    BOUND,
    Blocked,
    Host,
    aborted,
    answered,
    at,
    closed,
    exactly,
    fails,
    gathered,
    gone,
    told,
    until,
    until_acked,
)
from peer_judge import PeerError
from world import Opened, read_all

from nitrosocks_lib.facts.wire import Frame
from nitrosocks_lib.session.tunnel import Tunnel

VIOLATION, LIMIT = 1, 5
Frames = list[tuple[int, bytes]]


class Shared(Host):
    """A Host with a bystander, whose session carries a stream all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.bystander, self.application = self.opened()

    def unharmed(self) -> None:
        """The bystander's stream still carries both ways, on its first connection."""
        self.bystander.send(peer.DATA, b"down")
        self.application.near.sendall(b"up")
        assert exactly(self.application.near, 4) == b"down" and gathered(self.bystander, 2) == b"up"


@pytest.fixture
def host() -> Iterator[Shared]:
    with Shared() as made:
        yield made
        made.unharmed()


def violates(server: peer.Server, wish: Opened, frames: Frames, reason: int) -> None:
    """These frames are answered by ABORT, and the session is over, as its application learns."""
    with contextlib.suppress(PeerError):  # the connection may have ended before the last
        for frame in frames:
            server.send(*frame)
    assert aborted(server) == reason
    assert not wish.end().ended_well
    assert set(read_all(wish.near)) <= {0, ord("x")}


def asked(host: Host) -> tuple[peer.Server, Opened]:
    """A session whose OPEN is not answered yet."""
    wish = host.wish()
    server = host.accept()
    told(server, peer.OPEN)
    return server, wish


UNKNOWN = [0x00, 0x0F, 0x16, 0x17, 0x1B, 0x27, 0x2F, 0x35, 0x80, 0xFF]
DATA, END, RESET, OPENED = (peer.DATA, b"x"), (peer.END, b""), (peer.RESET, b"\1"), (peer.OPENED, at()[1:])
REFUSED, DISCONNECT_ACK = (peer.REFUSED, b"\1"), (peer.DISCONNECT_ACK, bytes(32))
OF_CLIENTS: Frames = [
    (peer.OPEN, at()), (peer.LISTEN, at()), (peer.REFRESHED, bytes(2384)), (peer.DISCONNECT, b""),
    (peer.DISCONNECT_DONE, bytes(32)),
]  # fmt: skip
ILL_FORMED: Frames = [
    (peer.DATA, b""), (peer.END, b"x"), (peer.RESET, b""), (peer.RESET, b"\1\xff"), (peer.ACK, bytes(7)),
    (peer.ACK, bytes(9)), (peer.PING, bytes(7)), (peer.PING, bytes(33)), (peer.PONG, bytes(31)),
    (peer.REFRESH, b""), (peer.REFRESH, bytes(2335)), (peer.ABORT, b""), (peer.GOAWAY, bytes(3)),
    (peer.GOAWAY, bytes(5)),
]  # fmt: skip


def named(frames: object) -> str:
    """For the names of tests."""
    return "-".join(Frame(kind).name for kind, _ in frames) if isinstance(frames, list) else ""


@pytest.mark.parametrize("kind", UNKNOWN, ids=hex)
def test_a_frame_of_unknown_type(host: Shared, kind: int) -> None:
    violates(*host.opened(), [(kind, b"x")], VIOLATION)


@pytest.mark.parametrize("frame", OF_CLIENTS + ILL_FORMED, ids=lambda frame: f"{Frame(frame[0]).name}-{len(frame[1])}")
def test_a_frame_of_the_wrong_direction_or_form(host: Shared, frame: tuple[int, bytes]) -> None:
    violates(*host.opened(), [frame], VIOLATION)


@pytest.mark.parametrize(
    "frames",
    [
        [DATA],
        [END],
        [RESET],
        [(peer.ACCEPTED, at()[1:])],
        [(peer.LISTENING, at()[1:])],  # to OPEN
        [(peer.OPENED, b"\0")],
        [(peer.OPENED, b"\0\7\xff")],
        [(peer.REFUSED, b"")],
        [(peer.ACK, bytes(7) + b"\2")],
        [(peer.ACK, bytes(8)), (peer.ACK, bytes(7) + b"\1"), (peer.ACK, bytes(8))],
        [(peer.SWITCH, bytes(32))],
        [DISCONNECT_ACK],
    ],
    ids=named,
)
def test_before_the_answer_to_open(host: Shared, frames: Frames) -> None:
    violates(*asked(host), frames, VIOLATION)


@pytest.mark.parametrize(
    "frames",
    [
        [OPENED],
        [REFUSED],
        [(peer.ACCEPTED, at()[1:])],
        [(peer.LISTENING, at()[1:])],
        [END, END],
        [END, DATA],
        [RESET, DATA],
        [RESET, END],
        [RESET, OPENED],
        [(peer.ACK, bytes(8))],
        [(peer.ACK, bytes(7) + b"\2")],
        [(peer.SWITCH, bytes(32))],
        [DISCONNECT_ACK],
    ],
    ids=named,
)
def test_amid_a_stream(host: Shared, frames: Frames) -> None:
    server, wish = host.opened()
    server.send(peer.ACK, bytes(7) + b"\1")  # OPEN
    violates(server, wish, frames, VIOLATION)


@pytest.mark.parametrize("frames", [[DATA], [END], [OPENED], [REFUSED], [DISCONNECT_ACK]], ids=named)
@pytest.mark.parametrize("how", [[END], [RESET], [REFUSED]], ids=named)
def test_in_an_idle_session(host: Shared, how: Frames, frames: Frames) -> None:
    server, wish = asked(host) if how == [REFUSED] else host.opened()
    if how == [END]:
        closed(server, wish.near)
    else:
        server.send(*how[0])
        if how == [RESET]:
            told(server, peer.RESET)
        until_acked(server)
    wish.end()
    with contextlib.suppress(PeerError):
        server.send(*frames[0])
    assert aborted(server) == VIOLATION


def test_a_stream_right_behind_the_end_of_an_idle_session_gets_another_one() -> None:
    with Host() as host:
        for _ in range(5):
            server, wish = host.opened()
            closed(server, wish.near)
            wish.end()
            server.send(peer.ABORT, b"\2")
            fails(server.recv, "the connection ended")


def test_a_session_that_is_being_given_up_gets_no_stream(host: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    server, wish = host.opened()
    closed(server, wish.near)
    wish.end()
    blocked = Blocked(monkeypatch, Tunnel, "dispose")
    server.send(peer.ABORT, b"\2")
    blocked.entered.get(timeout=BOUND)  # it has looked for a stream already, and found none
    wish = host.wish()
    blocked.go.set()
    other = host.accept()
    told(other, peer.OPEN)
    other.send(*OPENED)
    closed(other, wish.near)


def test_a_reset_in_an_idle_session_is_ignored(host: Shared) -> None:
    server, wish = host.opened()
    closed(server, wish.near)
    for _ in range(2):
        server.send(*RESET)
    until_acked(server)
    assert wish.end().ended_well
    wish = host.wish()
    told(server, peer.OPEN)
    server.send(*OPENED)
    closed(server, wish.near)


def test_a_second_refresh_while_one_runs(host: Shared) -> None:
    server, wish = host.opened()
    server.refresh()
    until(server, peer.REFRESHED)
    violates(server, wish, [(peer.REFRESH, server.asked)], VIOLATION)


def test_a_window_that_is_overrun(host: Shared) -> None:
    """The application does not read, and what the kernel takes is not acknowledged either."""
    server, wish = host.opened()
    receiving = host.tunnel(server).inbound.receiving
    while receiving.held_bytes < 1 << 19:
        server.send(peer.DATA, bytes(65_536))
        answered(server)
    violates(server, wish, [(peer.DATA, bytes(65_536))] * 16, LIMIT)


def test_a_refresh_that_does_not_open_ends_the_connection_only(host: Shared) -> None:
    server, wish = host.opened()
    server.send(peer.REFRESH, bytes(2336))
    gone(server)
    closed(host.accept(), wish.near)


@pytest.mark.parametrize("bad", [bytes(28), b"\xff" * 100, os.urandom(1000)], ids=len)
def test_bytes_that_are_no_frame_end_the_connection_only(host: Shared, bad: bytes) -> None:
    server, wish = host.opened()
    with contextlib.suppress(OSError):
        server.sock.sendall(bad)
        server.sock.sendall(bytes(70_000))  # the length may be in range: then the rest is waited for
    gone(server)
    again = host.accept()
    assert again.session_id == server.session_id
    closed(again, wish.near)


# Handshakes


@pytest.mark.parametrize("part", ["_salt_part", "_signed_part"])
def test_rubbish_in_the_handshake(host: Shared, part: str) -> None:
    """In place of CHALLENGE, or of SESSION: the stream is lost, the next one gets a session of its own."""
    wish = host.wish()
    server = host.arrival()

    def rubbish(*_: object, **__: object) -> bytes:
        server.sock.sendall(bytes(5000))
        return server._read(1) and b""

    setattr(server, part, rubbish)
    fails(server.accept, ".")
    stream = wish.end()
    assert stream.lost and read_all(wish.near) == b""
    server, wish = host.opened()
    closed(server, wish.near)


def test_rubbish_in_place_of_recovered_fails_the_attempt_only(host: Shared) -> None:
    server, wish = host.opened()
    server.sock.close()
    attempt = host.arrival()

    def rubbish() -> None:
        attempt.sock.sendall(bytes(5000))
        raise PeerError("rubbish")

    attempt._salt_part = rubbish
    fails(attempt.accept, "rubbish")
    closed(host.accept(), wish.near)
