"""ServerTunnel: what only a server receives, how it answers OPEN, refreshes and releases."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from half import Half
from loopback import read_exactly, unused_port
from plains import DATA, END, OPEN
from pools import begun
from roles import Roles, receive
from targets import unanswering
from world import Opened, World, echo

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import ProtocolError, Violation
from nitrosocks_lib.facts.wire import Abort, Frame, Kind, Reply
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending, Sending

DISCONNECT = bytes([Frame.DISCONNECT])


@pytest.fixture
def roles() -> Iterator[Roles]:
    made = Roles()
    yield made
    made.close()


# -- OPEN -------------------------------------------------------------------------------------------------------------


def refused(half: Half, frame: bytes) -> tuple[int, str]:
    """The answer to this OPEN."""
    half.send(frame)
    number, reason = frames.parse_refusal(half.until(Frame.REFUSED), Frame.REFUSED)
    assert number == int.from_bytes(frame[1:5])
    return reason.code, reason.text


def test_answers_in_their_order_of_streams_that_need_no_waiting() -> None:
    with Half(True) as half:
        listener = half.target()
        port = listener.getsockname()[1]
        half.send(*[OPEN(number, port, "127.0.0.1") for number in range(1, 41, 2)])
        answers = {frames.parse_address(half.until(Frame.OPENED), Frame.OPENED) for _ in range(20)}
        assert answers == {(number, frames.Address("127.0.0.1", port)) for number in range(1, 41, 2)}


def test_opens_reach_the_target_in_their_order() -> None:
    with Half(True) as half:
        listener = half.target()
        for at in range(0, 200, 40):  # not more than are accepted at once
            half.send(
                *[
                    plain
                    for number in range(2 * at + 1, 2 * at + 81, 2)
                    for plain in (OPEN(number, listener.getsockname()[1], "127.0.0.1"), DATA(number, b"%6d" % number))
                ]
            )
            for number in range(2 * at + 1, 2 * at + 81, 2):
                assert read_exactly(half.accept(listener), 6) == b"%6d" % number


@pytest.mark.parametrize(
    ("host", "port", "kind", "reply"),
    [
        ("127.0.0.1", 1, Kind.UDP, Reply.NOT_PERMITTED),
        ("127.0.0.2", 1, Kind.TCP, Reply.NOT_PERMITTED),
        ("127.0.0.1", 0, Kind.TCP, Reply.GENERAL),
        ("", 1, Kind.TCP, Reply.GENERAL),
        ("/no/such/socket", 0, Kind.UNIX, Reply.HOST_UNREACHABLE),
    ],
)
def test_refusals(host: str, port: int, kind: Kind, reply: Reply) -> None:
    with Half(True) as half:
        code, text = refused(half, OPEN(1, port, host, kind))
        assert code == reply and text
        assert half.gone().ending is Ending.REFUSED


def test_a_target_that_refuses() -> None:
    with Half(True) as half:
        port = unused_port()
        code, text = refused(half, OPEN(1, port, "127.0.0.1"))
        assert (code, text) == (Reply.CONNECTION_REFUSED, f"127.0.0.1:{port}: connection refused")


def test_a_client_that_is_authorised_no_more() -> None:
    with Half(True) as half:
        half.roles.known = None
        assert refused(half, OPEN(1, 1, "127.0.0.1"))[0] == Reply.NOT_PERMITTED


def test_listen_is_refused_and_its_end_ignored() -> None:
    with Half(True) as half:
        half.send(OPEN(1, 80, "127.0.0.1").replace(b"\x10", b"\x18", 1))
        assert half.until(Frame.LISTENING)[:5] == b"\0\0\0\1" + bytes([Reply.NOT_PERMITTED])
        half.send(bytes([Frame.UNLISTEN]) + b"\0\0\0\1")
        assert half.seen() == []


def test_a_dial_that_nobody_answers_delays_no_other() -> None:
    with Half(True) as half, unanswering() as (host, port):
        half.send(OPEN(1, port, host), DATA(1, b"early"))
        far = half.open(3, half.target())
        half.send(DATA(3, b"x"))
        assert read_exactly(far, 1) == b"x"
        half.send(frames.refusal(Frame.RESET, 1, 1), OPEN(5, 0))  # type: ignore[arg-type]
        assert half.gone().number == 1 and half.until(Frame.REFUSED)[:4] == b"\0\0\0\5"


def test_a_fault_while_dialling_is_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fault(_: object) -> None:
        raise ValueError("for a test")

    with World() as world:
        monkeypatch.setattr(world.directory, "lookup", lambda _: world.directory.known[world.key.client_id])
        pool, port = world.pool(), world.target(echo)
        begun(pool, port)
        world.entry.tunnel.inbound.dialling._rule = fault  # type: ignore[attr-defined]
        stream = Opened(pool, port).end()
        assert (stream.ending, stream.detail, stream.reason) == (Ending.REFUSED, Reply.GENERAL, "an internal error")
        assert "for a test" in caplog.text and len(world.registry) == 1


def test_the_client_is_looked_up_at_every_open() -> None:
    with World() as world:
        pool, port = world.pool(), world.target(echo)
        running = begun(pool, port)
        world.directory.known.clear()
        assert Opened(pool, port).end().ending in (Ending.REFUSED, Ending.LOST)
        running.near.close()


def test_a_session_of_its_own_numbers(roles: Roles) -> None:
    receive(roles.server, Frame.OPEN, OPEN(1, 0)[1:])
    stream = roles.server.state.streams.by_number[1]
    assert (stream.target, stream.number, stream.sending) == (Target(Kind.TCP, "host", 0), 1, Sending.WAITING)
    assert stream.limit == limits.WINDOW and stream.over


# -- refresh ----------------------------------------------------------------------------------------------------------


def refreshed_by(roles: Roles) -> bytes:
    """REFRESHED, the client's answer to a REFRESH."""
    started = roles.server.start_refresh()
    assert started is not None
    receive(roles.client, Frame.REFRESH, started[1:])
    assert roles.client.outbox.refreshed is not None
    return roles.client.outbox.refreshed[0]


def test_a_refreshed_that_does_not_open(roles: Roles) -> None:
    assert roles.server.start_refresh() is not None
    with pytest.raises(ProtocolError):
        receive(roles.server, Frame.REFRESHED, os.urandom(wire.REFRESHED_SIZE))


def test_one_refreshed_for_one_refresh(roles: Roles) -> None:
    answer = refreshed_by(roles)
    receive(roles.server, Frame.REFRESHED, answer[1:])
    assert roles.server.state.keys == roles.client.state.keys and roles.server.state.keys.epoch == 1
    with pytest.raises(Violation, match="nobody asked for"):
        receive(roles.server, Frame.REFRESHED, answer[1:])


def test_a_refreshed_that_comes_late_is_forgotten_with_the_connection(roles: Roles) -> None:
    answer = refreshed_by(roles)
    roles.server.state.refreshing = None  # as `attach` leaves it
    with pytest.raises(Violation, match="nobody asked for"):
        receive(roles.server, Frame.REFRESHED, answer[1:])


@pytest.mark.parametrize("half", ["sealer", "opener"])
@pytest.mark.parametrize(
    ("field", "value", "due"),
    [("volume", 999, False), ("volume", 1_000, True), ("count", 9, False), ("count", 10, True)],
)
def test_a_refresh_is_due(half: str, field: str, value: int, due: bool) -> None:
    roles = Roles(RefreshPolicy(volume=1_000, count=10))
    server = roles.server
    server.outbound.sealer = roles.client.opener(server.state.keys)  # type: ignore[assignment]
    setattr(server.outbound.sealer if half == "sealer" else server.inbound.opener, field, value)
    assert server.refresh_due() is due
    roles.close()


def test_the_defaults_are_those_of_the_protocol() -> None:
    policy = RefreshPolicy()
    assert (policy.every, policy.volume, policy.count) == (1_800, 4 << 30, 1 << 20) and limits.REFRESH_MAX == 3_600


# -- release ----------------------------------------------------------------------------------------------------------


def test_a_release_to_its_end() -> None:
    with Half(True) as half:
        half.open(1, half.target()).close()
        half.until(Frame.END)
        half.send(END(1), DISCONNECT)
        r2 = half.pass_to(Frame.DISCONNECT_ACK)
        half.send(bytes([Frame.DISCONNECT_DONE]) + schedule.hash256(r2))
        assert half.over() is Outcome.OVER and half.tunnel.state.reason == "released"


def test_a_wrong_disconnect_done() -> None:
    with Half(True) as half:
        half.send(DISCONNECT)
        half.until(Frame.DISCONNECT_ACK)
        half.send(bytes([Frame.DISCONNECT_DONE]) + bytes(32))
        assert half.aborted() == Abort.VIOLATION


def test_behind_disconnect_nothing_is_resumed() -> None:
    with Half(True) as half:
        half.send(DISCONNECT)
        half.until(Frame.DISCONNECT_ACK)
        half.leave()
        assert half.outcomes == [Outcome.OVER]


def test_behind_disconnect_no_numbered_frame_is_sent() -> None:
    """A stream that the client reset has something to say still; it is over, and so is all."""
    with Half(True) as half:
        far = half.open(1, half.target())
        far.sendall(bytes(100_000))
        half.until(Frame.DATA)
        half.send(frames.refusal(Frame.RESET, 1, 1), DISCONNECT)  # type: ignore[arg-type]
        half.pass_to(Frame.DISCONNECT_ACK)
        before = len(half.got)
        half.tunnel.outbox.frames.append(END(1))
        half.tunnel.outbox.waiter.set()
        half.send(frames.abort(Abort.OTHER))
        assert half.over() is Outcome.OVER and len(half.got) == before


def test_a_release_without_an_answer_ends_with_abort_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.05)
    with Half(True) as half:
        half.send(DISCONNECT)
        half.until(Frame.DISCONNECT_ACK)
        assert half.aborted() == Abort.NO_ANSWER
        assert half.tunnel.state.reason == "the release was not finished"


def test_a_release_whose_abort_is_not_taken_either_just_ends(roles: Roles) -> None:
    server = roles.server
    server.state.begin()
    receive(server, Frame.DISCONNECT)
    assert (server._unanswered(100.0) or 0) > 100.0 and server.state.outcome is None
    assert server._unanswered(101.0) is None and server.state.outcome is Outcome.OVER
    assert server.state.reason == "the release was not finished"


def test_no_refresh_behind_disconnect(roles: Roles) -> None:
    receive(roles.server, Frame.DISCONNECT)
    assert roles.server.start_refresh() is None


def test_an_abort_is_told_in_the_log_once(roles: Roles) -> None:
    server = roles.server
    server.state.begin()
    server.post_abort(Abort.REVOKED, "")
    server.post_abort(Abort.SERVER_STOPS, "")
    server.state.end(Outcome.OVER, "")
    assert server.state.reason == "the client was revoked"
