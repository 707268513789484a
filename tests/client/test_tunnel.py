"""ClientTunnel: what only a client sends and receives; the rest of a session is in tests/session."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest
from pools import WatchedPool
from roles import Roles, receive
from world import BOUND, World

from nitrosocks_lib.client.tunnel import ClientTunnel
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import ProtocolError, Violation
from nitrosocks_lib.facts.wire import Abort, Frame, Kind
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Target, abort_text
from nitrosocks_lib.server.tunnel import ServerTunnel
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending, Sending, Stream

TARGET = Target(Kind.TCP, "127.0.0.1", 7)
ONE = wire.STREAM.pack(1)
AT = wire.U16.pack(7) + b"127.0.0.1"


@pytest.fixture
def roles() -> Iterator[Roles]:
    made = Roles()
    yield made
    made.close()


@pytest.fixture
def client(roles: Roles) -> ClientTunnel:
    """One that counts as connected."""
    roles.client.state.begin()
    return roles.client


def opened(client: ClientTunnel) -> tuple[Stream, socket.socket, list[Stream]]:
    """Stream 1, its local application, and where its end is told."""
    near, far = socket.socketpair()
    far.setblocking(False)
    told: list[Stream] = []
    stream = Stream(TARGET, far, told.append)
    client.outbound._reading.open(stream)
    assert stream.number == 1
    return stream, near, told


# -- streams ----------------------------------------------------------------------------------------------------------


def test_opened(client: ClientTunnel) -> None:
    stream, near, _ = opened(client)
    with near:
        assert stream.untouched
        receive(client, Frame.OPENED, ONE + AT)
        assert stream.answered and not stream.untouched


def test_refused(client: ClientTunnel) -> None:
    stream, near, told = opened(client)
    with near:
        receive(client, Frame.REFUSED, ONE + b"\5go away")
        client.outbound._reading.attend(stream)
        assert stream.sending is Sending.OVER
        client.inbound._take_mail()
        assert told == [stream] and near.recv(1) == b""
        assert (stream.ending, stream.detail, stream.reason) == (Ending.REFUSED, 5, "go away")
        assert client.load == 0


UNASKED = {
    "OPENED": (Frame.OPENED, ONE + AT),
    "REFUSED": (Frame.REFUSED, ONE + b"\1"),
    "an OPENED of the other side's number": (Frame.OPENED, wire.STREAM.pack(2) + AT),
    "LISTENING": (Frame.LISTENING, ONE + b"\0" + AT),
    "ACCEPTED": (Frame.ACCEPTED, wire.STREAM.pack(2) + ONE + AT),
    "UNLISTEN": (Frame.UNLISTEN, ONE),
    "SWITCH": (Frame.SWITCH, bytes(32)),
    "DISCONNECT_ACK": (Frame.DISCONNECT_ACK, bytes(32)),
    "a DISCONNECT_ACK that is short": (Frame.DISCONNECT_ACK, bytes(31)),
    "a REFRESH that is short": (Frame.REFRESH, bytes(wire.REFRESH_SIZE - 1)),
    "a GOAWAY that is long": (Frame.GOAWAY, bytes(5)),
    "OPEN": (Frame.OPEN, ONE + b"\1" + AT),
    "LISTEN": (Frame.LISTEN, ONE + b"\1" + AT),
    "REFRESHED": (Frame.REFRESHED, bytes(wire.REFRESHED_SIZE)),
    "DISCONNECT": (Frame.DISCONNECT, b""),
    "DISCONNECT_DONE": (Frame.DISCONNECT_DONE, bytes(32)),
}


@pytest.mark.parametrize(("frame", "payload"), UNASKED.values(), ids=UNASKED)
def test_violations(frame: Frame, payload: bytes, client: ClientTunnel) -> None:
    with pytest.raises(Violation):
        receive(client, frame, payload)


BEFORE_PARSED = {
    "a REFUSED without a reason": (Frame.REFUSED, ONE),
    "a REFUSED without text in UTF-8": (Frame.REFUSED, ONE + b"\1\xff"),
    "an OPENED that is short": (Frame.OPENED, ONE + b"\0"),
    "an OPENED with a long address": (Frame.OPENED, ONE + b"\0\7" + bytes(256)),
}


@pytest.mark.parametrize(("frame", "payload"), BEFORE_PARSED.values(), ids=BEFORE_PARSED)
def test_answers_that_do_not_parse(frame: Frame, payload: bytes, client: ClientTunnel) -> None:
    stream, near, _ = opened(client)
    with near, pytest.raises(Violation):
        receive(client, frame, payload)
    assert stream.untouched


def test_a_second_answer(client: ClientTunnel) -> None:
    _, near, _ = opened(client)
    with near:
        receive(client, Frame.OPENED, ONE + AT)
        with pytest.raises(Violation):
            receive(client, Frame.OPENED, ONE + AT)


def test_what_is_not_answered_soon_makes_it_doubt(client: ClientTunnel) -> None:
    """The first frame that is unanswered is told, others are not."""
    told: list[None] = []
    client.state.waits = lambda: told.append(None)
    for count in (1, 2, 3):
        client.wrote(count)
    assert len(told) == 1
    client.state.doubt.acknowledged(3, 1e9)
    client.wrote(4)
    assert len(told) == 2


# -- refresh ----------------------------------------------------------------------------------------------------------


def test_a_refresh_and_what_may_not_come_amid_it(roles: Roles) -> None:
    client, server = roles.both()
    started = server.start_refresh()
    assert started is not None and started[0] == Frame.REFRESH
    receive(client, Frame.REFRESH, started[1:])
    assert client.outbox.refreshed is not None
    refreshed, keys = client.outbox.refreshed
    assert client.state.keys.epoch == 1 and keys == client.state.keys
    with pytest.raises(Violation, match="REFRESH while one runs"):
        receive(client, Frame.REFRESH, started[1:])
    receive(server, Frame.REFRESHED, refreshed[1:])
    assert server.outbox.switch is not None and server.state.keys == client.state.keys
    expected = client.state.refreshing
    with pytest.raises(ProtocolError, match="SWITCH is wrong"):
        receive(client, Frame.SWITCH, bytes(32))
    client.state.refreshing = expected
    receive(client, Frame.SWITCH, server.outbox.switch[0][1:])
    assert client.state.refreshing is None and client.outbox.switched
    assert server.state.refreshing is not None
    server.refreshed()
    assert server.refreshes == 1 and server.state.refreshing is None


def test_a_refresh_that_does_not_open(client: ClientTunnel) -> None:
    with pytest.raises(ProtocolError):
        receive(client, Frame.REFRESH, os.urandom(wire.REFRESH_SIZE))


def disconnected(client: ClientTunnel) -> None:
    """DISCONNECT is out."""
    client.disconnect()
    assert client.outbound.control.next(limits.CONTROL_ROOM) == bytes([Frame.DISCONNECT])


def test_a_refresh_behind_disconnect_is_ignored(client: ClientTunnel) -> None:
    disconnected(client)
    receive(client, Frame.REFRESH, bytes(wire.REFRESH_SIZE))
    assert client.state.refreshing is None and client.outbox.refreshed is None


# -- release ----------------------------------------------------------------------------------------------------------


def test_the_release_frame_by_frame(roles: Roles) -> None:
    client, server = roles.both()
    disconnected(client)
    receive(server, Frame.DISCONNECT)
    assert server.outbox.release is not None
    receive(client, Frame.DISCONNECT_ACK, server.outbox.release[1:])
    server.state.begin()
    assert client.outbox.farewell is not None
    receive(server, Frame.DISCONNECT_DONE, client.outbox.farewell[1:])
    assert server.state.outcome is Outcome.OVER and server.state.reason == "released"


def test_a_release_begins_once(client: ClientTunnel) -> None:
    """The pool may end a session behind GOAWAY, and the program all of them at the same time."""
    client.disconnect()
    client.outbox.release = None  # it went out
    client.disconnect()
    assert client.outbox.release is None


def test_a_release_without_an_answer_ends_with_abort_4(client: ClientTunnel) -> None:
    client.disconnect()
    assert client.unanswered(100.0) == 100.0 + limits.FAREWELL, "a moment for it to leave"
    farewell = client.outbox.farewell
    assert farewell is not None and farewell[:2] == bytes([Frame.ABORT, Abort.NO_ANSWER])
    assert client.connected and not client.say_no_answer()
    assert client.unanswered(101.0) is None and client.state.outcome is Outcome.OVER


def test_abort_4_says_nothing_where_the_answer_came(client: ClientTunnel) -> None:
    assert not client.say_no_answer(), "nothing is released"
    disconnected(client)
    receive(client, Frame.DISCONNECT_ACK, bytes(32))
    assert client.outbox.farewell is not None
    assert not client.say_no_answer() and client.outbox.farewell[0] == Frame.DISCONNECT_DONE


@pytest.mark.parametrize("close", [BOUND, 0.0], ids=["in time", "in a hurry"])
def test_a_server_that_does_not_answer_a_release_hears_abort_4(close: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.2 if close else BOUND)
    monkeypatch.setattr(limits, "FAREWELL", BOUND)
    asked = threading.Event()
    monkeypatch.setattr(ServerTunnel, "_on_disconnect", lambda *_: asked.set())
    with World() as world:
        pool = WatchedPool(world)
        pool.start()
        tunnel = world.entry.tunnel
        if not close:
            pool.session.release()
            assert asked.wait(BOUND)
        pool.close(close)
        assert pool.alive == 0
        assert world.registry.wait_empty(lambda _: True, BOUND)
        assert tunnel.state.reason == "the other side ended the session: no answer to the release"


def test_a_release_that_nobody_answers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.2)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        pool.start()
        world.proxy.stall()
        pool.close(BOUND)
        assert pool.alive == 0
        world.proxy.unstall()


def test_after_disconnect_a_loss_is_the_end(client: ClientTunnel) -> None:
    disconnected(client)
    client.state.end(Outcome.LOST, "cut")
    assert client.state.outcome is Outcome.OVER


def test_before_it_a_loss_is_none(client: ClientTunnel) -> None:
    """DISCONNECT waits until all is acknowledged, over connection after connection (protocol 10.33)."""
    client.outbound.resend.append(frames.end(1))
    client.outbound.resend.sealed()
    client.disconnect()
    assert client.leaving and client.outbox.ping, "PONG brings the ACK"
    client.outbox.ping = False
    assert client.outbound.control.next(limits.CONTROL_ROOM) is None
    client.state.end(Outcome.LOST, "cut")
    assert client.state.outcome is Outcome.LOST
    client.outbound.rewind(1)
    client.outbound.control._must_ack = False
    assert client.outbound.control.next(limits.CONTROL_ROOM) == bytes([Frame.DISCONNECT])


@pytest.mark.parametrize(("text", "told"), [("why", "why"), ("", abort_text(Abort.REVOKED))])
def test_abort(text: str, told: str, client: ClientTunnel) -> None:
    receive(client, Frame.ABORT, frames.abort(Abort.REVOKED, text)[1:])
    assert client.state.outcome is Outcome.OVER
    assert client.state.reason == f"the other side ended the session: {told}"


def test_goaway_tells_the_pool() -> None:
    told: list[bool] = []
    roles = Roles(changed=lambda: told.append(True))
    receive(roles.client, Frame.GOAWAY, frames.goaway(30)[1:])
    assert roles.client.draining and told == [True]
    roles.close()
