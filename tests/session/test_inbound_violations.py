"""Inbound: what must not come and ends the session, what ends the connection only, and what is ignored."""

from __future__ import annotations

import pytest
from half import Half
from links import BOUND
from loopback import read_exactly
from plains import DATA, END, OPEN, OPENED, PING, REFUSED, RESET

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Abort, Frame, Kind
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.session.state import Outcome

WINDOW = limits.WINDOW


def plain(frame: int, payload: bytes = b"") -> bytes:
    return bytes([frame]) + payload


def server(**options) -> Half:
    return Half(True, held=True, **options)


# -- violations -------------------------------------------------------------------------------------------------------

OPEN_1 = OPEN(1)
BY_A_CLIENT: dict[str, list[bytes]] = {
    "the first number is not 1": [OPEN(3)],
    "an even number": [OPEN(2)],
    "a number twice": [OPEN_1, OPEN_1],
    "a number passed over": [OPEN_1, OPEN(5)],
    "an unknown kind": [OPEN(1, kind=4)],
    "a port of a path": [OPEN(1, 7, "/socket", Kind.UNIX)],
    "a host that is too long": [OPEN(1, host="h" * 256)],
    "a path that is too long": [OPEN(1, 0, "/" * 108, Kind.UNIX)],
    "a host that is no UTF-8": [OPEN_1[:-1] + b"\xff"],
    "OPEN cut short": [OPEN_1[:7]],
    "OPEN without a payload": [plain(Frame.OPEN)],
    "DATA of a stream never opened": [DATA(1, b"x")],
    "END of a stream never opened": [END(1)],
    "RESET of a stream never opened": [OPEN_1, RESET(3)],
    "a stream of the server's that it never opened": [DATA(2, b"x")],
    "stream 0": [DATA(0, b"x")],
    "DATA without bytes": [OPEN_1, DATA(1, b"")],
    "DATA cut short": [OPEN_1, DATA(1, b"")[:4]],
    "DATA behind END": [OPEN_1, END(1), DATA(1, b"x")],
    "END twice": [OPEN_1, END(1), END(1)],
    "END with bytes": [OPEN_1, END(1) + b"x"],
    "RESET without a reason": [OPEN_1, RESET(1)[:5]],
    "RESET with a text that is no UTF-8": [OPEN_1, RESET(1) + b"\xff"],
    "RESET with a text that is too long": [OPEN_1, RESET(1) + b"x" * 1_025],
    "OPENED that is not owed": [OPEN_1, OPENED(1)],
    "REFUSED that is not owed": [OPEN_1, REFUSED(1)],
    "an answer to nothing": [OPENED(2)],
    "ACK beyond what was sent": [frames.ack(1)],
    "ACK that is cut": [frames.ack(0, [(1, 9)])[:-1]],
    "a limit of a stream never opened": [frames.ack(0, [(1, WINDOW)]), OPEN_1],
    "listeners begin with 1": [plain(Frame.LISTEN, OPEN(2)[1:])],
    "UNLISTEN of a listener never asked for": [plain(Frame.UNLISTEN, b"\0\0\0\1")],
    "PING that is short": [PING(b"1234567")],
    "PING that is long": [PING(bytes(33))],
    "PONG that is short": [plain(Frame.PONG, bytes(31))],
    "an unknown type": [plain(0x7F)],
    "an unknown numbered type": [plain(0x16)],
    "ACCEPTED, which a server says": [plain(Frame.ACCEPTED, bytes(12))],
    "LISTENING, which a server says": [plain(Frame.LISTENING, bytes(12))],
    "GOAWAY, which a server says": [frames.goaway(1)],
    "SWITCH, which a server says": [plain(Frame.SWITCH, bytes(32))],
    "REFRESHED that nobody asked for": [plain(Frame.REFRESHED, bytes(wire.REFRESHED_SIZE))],
    "DISCONNECT with bytes": [plain(Frame.DISCONNECT, b"x")],
    "DISCONNECT with an open stream": [OPEN_1, plain(Frame.DISCONNECT)],
    "DISCONNECT_DONE before DISCONNECT": [plain(Frame.DISCONNECT_DONE, bytes(32))],
    "ABORT without a reason": [plain(Frame.ABORT)],
} | {
    f"{Frame(said[0]).name} behind DISCONNECT": [plain(Frame.DISCONNECT), said]
    for said in (OPEN_1, PING(), frames.ack(0), plain(Frame.PAD), plain(Frame.DISCONNECT), DATA(1, b"x"))
}
BY_A_SERVER: dict[str, list[bytes]] = {
    "an answer to nothing": [OPENED(1)],
    "ACCEPTED without a listener": [plain(Frame.ACCEPTED, b"\0\0\0\2\0\0\0\1\0\7host")],
    "LISTENING that is not owed": [plain(Frame.LISTENING, b"\0\0\0\1\0\0\7host")],
    "OPEN, which a client says": [OPEN_1],
    "SWITCH that nobody asked for": [plain(Frame.SWITCH, bytes(32))],
    "REFRESH that is short": [plain(Frame.REFRESH, bytes(wire.REFRESH_SIZE - 1))],
    "DISCONNECT_ACK that nobody asked for": [plain(Frame.DISCONNECT_ACK, bytes(32))],
    "GOAWAY that is long": [plain(Frame.GOAWAY, bytes(5))],
}
OF_ONE_STREAM: dict[str, list[bytes]] = {
    "DATA before the answer": [DATA(1, b"x")],
    "END before the answer": [END(1)],
    "RESET before the answer": [RESET(1)],
    "an answer twice": [OPENED(1), OPENED(1)],
    "both answers": [OPENED(1), REFUSED(1)],
    "OPENED cut short": [OPENED(1)[:6]],
    "OPENED with an address that is too long": [OPENED(1) + bytes(256)],
    "REFUSED without a reason": [REFUSED(1)[:5]],
    "DATA behind END": [OPENED(1), END(1), DATA(1, b"x")],
    "of another stream": [DATA(3, b"x")],
}


@pytest.mark.parametrize("said", BY_A_CLIENT.values(), ids=BY_A_CLIENT)
def test_a_client_that_violates_the_protocol(said: list[bytes]) -> None:
    with server() as half:
        half.send(*said)
        assert half.aborted() == Abort.VIOLATION and half.tunnel.state.reason.startswith("protocol violation: ")


@pytest.mark.parametrize("said", BY_A_SERVER.values(), ids=BY_A_SERVER)
def test_a_server_that_violates_the_protocol(said: list[bytes]) -> None:
    with Half(False) as half:
        half.send(*said)
        assert half.aborted() == Abort.VIOLATION


@pytest.mark.parametrize("said", OF_ONE_STREAM.values(), ids=OF_ONE_STREAM)
def test_a_server_that_violates_the_life_of_a_stream(said: list[bytes]) -> None:
    with Half(False) as half:
        half.stream(half.pair()[1])
        assert half.until(Frame.OPEN)
        half.send(*said)
        assert half.aborted() == Abort.VIOLATION


@pytest.mark.parametrize("serving", [True, False])
@pytest.mark.parametrize("first", [PING(), OPEN_1, frames.goaway(1), plain(Frame.PAD)], ids=lambda plain: hex(plain[0]))
def test_a_new_connection_that_does_not_begin_with_an_ack(first: bytes, serving: bool) -> None:
    with Half(serving) as half:
        half.again(first=first)
        assert half.aborted() == Abort.VIOLATION


@pytest.mark.parametrize("serving", [True, False])
def test_one_that_begins_with_abort(serving: bool) -> None:
    with Half(serving) as half:
        half.again(first=frames.abort(Abort.OTHER, "I have had enough"))
        assert half.over() is Outcome.OVER and "I have had enough" in half.tunnel.state.reason


def test_an_ack_that_goes_back() -> None:
    with server() as half:
        half.reached(1)
        half.ack()
        half.send(frames.ack(0))
        assert half.aborted() == Abort.VIOLATION


def test_data_beyond_the_limit() -> None:
    with server() as half:
        half.reached(1, buffer=4_608)
        half.send(*[DATA(1, bytes(65_532))] * 4)
        assert half.seen() == []
        half.send(DATA(1, bytes(17)))
        assert half.aborted() == Abort.LIMIT


def test_what_a_violation_comes_behind_is_delivered() -> None:
    """What was received is what the peer may count on, though the session is over."""
    with server() as half:
        far = half.reached(1)
        half.send(DATA(1, b"before"), plain(0x7F), DATA(1, b"behind"))
        assert half.aborted() == Abort.VIOLATION and half.tunnel.inbound.received == 2
        half.dispose("over")
        assert read_exactly(far, 6) == b"before"
        with pytest.raises(ConnectionResetError):
            far.recv(1)


def test_frames_before_one_that_does_not_open_count() -> None:
    """They came in one read; the connection is lost, the session goes on behind them."""
    with server() as half:
        far = half.reached(1)
        sealed = bytearray(half.seal(DATA(1, b"good"), DATA(1, b"bad")))
        sealed[-1] ^= 1
        half.link.write_all(bytes(sealed), now() + BOUND)
        assert half.over() is Outcome.LOST and half.tunnel.inbound.received == 2
        half.again()
        assert half.read() == frames.ack(2)
        half.send(DATA(1, b" again"))
        assert read_exactly(far, 10) == b"good again"


def test_a_fault_of_our_own_ends_both_halves(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fault(*_: object) -> None:
        raise ValueError("for a test")

    with server() as half:
        monkeypatch.setattr(half.dials, "begin", fault)
        half.send(OPEN_1)
        assert half.over() is Outcome.OVER and half.tunnel.state.reason == "an internal error"
    assert "for a test" in caplog.text


def test_of_a_stream_that_is_over_everything_is_counted_and_ignored() -> None:
    with server() as half:
        half.send(OPEN_1, RESET(1), DATA(1, b"x"), END(1), END(1), RESET(1), DATA(1, bytes(65_000)))
        half.send(*[DATA(1, bytes(65_000))] * 5, frames.ack(0, [(1, 1 << 60)]))
        assert half.seen() == []
        half.until_acked()
        half.send(END(1) + b"x")  # but it must parse
        assert half.aborted() == Abort.VIOLATION
