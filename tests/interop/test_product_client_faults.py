"""An independent peer breaks the rules as the server of `forward`: ABORT says which, and the session is over.

What streams are told in every state is in test_product_states.py.
"""

import contextlib
import struct
from collections.abc import Callable

import hosts
import peer
import pytest
from hosts import TARGET, Host, ends, over
from peer_judge import PeerError, Server
from peer_streams import at
from visits import aborted, fails, fill, synced

hosting, alone = hosts.hosting, hosts.alone
VIOLATION, LIMIT = 1, 5
Frames = list[tuple[int, Callable[[bytes], bytes]]]  # what makes a payload of the number of a stream


def violates(server: Server, frames: list[tuple[int, bytes]], reason: int = VIOLATION) -> None:
    with contextlib.suppress(PeerError):  # the connection may have ended before the last
        for frame in frames:
            server.send(*frame)
    server.leaving = False  # where it was to send DISCONNECT itself
    assert aborted(server) == reason


def named(frame: object) -> str:
    """For the names of tests."""
    return f"{frame[0]:#x}-{len(frame[1])}" if isinstance(frame, tuple) else str(frame)


UNKNOWN = [0x00, 0x0F, 0x16, 0x17, 0x1C, 0x27, 0x2F, 0x35, 0x80, 0xFF]
N = b"\0\0\0\1"
OF_CLIENTS = [
    (peer.OPEN, b"\0\0\0\2" + at()), (peer.LISTEN, N + at()), (peer.REFRESHED, bytes(2384)), (peer.DISCONNECT, b""),
    (peer.DISCONNECT_DONE, bytes(32)),
]  # fmt: skip
ILL_FORMED = [
    (peer.ACK, bytes(7)), (peer.ACK, bytes(9)), (peer.ACK, bytes(31)), (peer.PING, bytes(7)), (peer.PING, bytes(33)),
    (peer.PONG, bytes(31)), (peer.REFRESH, b""), (peer.REFRESH, bytes(2335)), (peer.ABORT, b""),
    (peer.GOAWAY, bytes(3)), (peer.GOAWAY, bytes(5)), (peer.SWITCH, bytes(32)), (peer.SWITCH, b""),
    (peer.DISCONNECT_ACK, bytes(32)), (peer.UNLISTEN, N), (peer.LISTENING, N + b"\1"),
    (peer.ACCEPTED, b"\0\0\0\2" + N + at()[1:]), (peer.ACCEPTED, b"\0\0\0\2"),
    (peer.ACK, b"\xff" * 8), (peer.ACK, bytes(8) + b"\0\0\0\2" + bytes(8)),
]  # fmt: skip
OF_STREAMS = [  # behind the number
    (peer.OPENED, b""), (peer.OPENED, b"\0"), (peer.OPENED, b"\0\7\xff"), (peer.OPENED, at(host="x" * 256)[1:]),
    (peer.REFUSED, b""), (peer.REFUSED, b"\1\xff"), (peer.REFUSED, b"\1" + b"x" * 1025), (peer.DATA, b""),
    (peer.END, b"x"), (peer.RESET, b""), (peer.RESET, b"\1\xff"), (peer.RESET, b"\1" + b"x" * 1025),
]  # fmt: skip


@pytest.mark.parametrize("kind", UNKNOWN, ids=hex)
def test_a_frame_of_unknown_type(hosting: Host, kind: int) -> None:
    server, _, app = hosting.opened()
    violates(server, [(kind, N)])
    over(app)


@pytest.mark.parametrize("frame", OF_CLIENTS + ILL_FORMED, ids=named)
def test_a_frame_of_the_wrong_direction_or_form(hosting: Host, frame: tuple[int, bytes]) -> None:
    server, _, app = hosting.opened()
    violates(server, [frame])
    over(app)


@pytest.mark.parametrize("state", ["asked", "opened", "over"])
@pytest.mark.parametrize("frame", OF_STREAMS, ids=named)
def test_what_comes_of_a_stream_must_parse(hosting: Host, frame: tuple[int, bytes], state: str) -> None:
    """Also when it is over, and what comes is ignored."""
    server, number, app = hosting.asked() if state == "asked" else hosting.opened()
    if state == "over":
        server.reset(number)
    violates(server, [(frame[0], struct.pack(">I", number) + frame[1])])
    app.close() if state == "asked" else over(app)  # one of which nothing was carried may come again


def test_a_second_refresh_while_one_runs(hosting: Host) -> None:
    server, _, app = hosting.opened()
    server.refresh()
    while server.recv()[0] != peer.REFRESHED:
        pass
    violates(server, [(peer.REFRESH, server.asked)])
    over(app)


def test_an_ack_that_goes_back(hosting: Host) -> None:
    server, _, app = hosting.opened()
    synced(server)
    violates(server, [(peer.ACK, bytes(8))])
    over(app)


def test_a_limit_that_is_overrun(hosting: Host) -> None:
    server, number, app = hosting.opened()
    fill(server, number)
    server.data(number, b"x")
    assert aborted(server) == LIMIT
    app.close()


def test_the_next_application_gets_a_session_of_its_own(hosting: Host) -> None:
    server, _, app = hosting.opened()
    violates(server, [(0x7F, b"")])
    over(app)
    other, number, near = hosting.opened()
    assert other.session_id != server.session_id and number == 1
    ends(other, number, near)


def test_a_refresh_that_does_not_open_ends_the_connection_only(alone: Host) -> None:
    server, number, app = alone.opened()
    server.send(peer.REFRESH, bytes(2336))
    fails(lambda: server.read(lambda: False), "ended|EOF|reset")
    ends(alone.accept(), number, app)


@pytest.mark.parametrize("part", ["_salt_part", "_signed_part"])
def test_rubbish_in_the_handshake(hosting: Host, part: str) -> None:
    """In place of CHALLENGE, or of SESSION: the stream is lost, the next one gets a session of its own."""
    server, _, app = hosting.opened()
    violates(server, [(0x7F, b"")])
    over(app)
    app = hosting.app()
    server = hosting.arrival()

    def rubbish(*_: object, **__: object) -> bytes:
        server.sock.sendall(bytes(5000))
        return server._read(1) and b""

    setattr(server, part, rubbish)
    fails(server.accept, ".")
    hosting.server = None
    over(app)  # or the next stream could still join the attempt that fails
    ends(*hosting.opened())


def test_an_answer_that_names_another_address_is_fine(hosting: Host) -> None:
    server, number, app = hosting.asked()
    server.opened(number, 99, "2001:db8::1")
    ends(server, number, app)
    assert TARGET != (99, "2001:db8::1")
