"""ClientTunnel: what only a client sends and receives; the rest of a session is in tests/session."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from pools import WatchedPool
from roles import Roles
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import ProtocolError, Violation
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.server.tunnel import ServerTunnel
from nitrosocks_lib.session.tunnel import Outcome, abort_text


@pytest.fixture
def roles():
    made = Roles()
    yield made
    made.close()


def receive(tunnel, frame: Frame, payload: bytes = b"") -> None:
    tunnel.handlers[frame](payload)


UNASKED = {
    "OPENED": (Frame.OPENED, b"\0\1"),
    "REFUSED": (Frame.REFUSED, b"\1"),
    "SWITCH": (Frame.SWITCH, bytes(32)),
    "DISCONNECT_ACK": (Frame.DISCONNECT_ACK, bytes(32)),
    "a DISCONNECT_ACK that is short": (Frame.DISCONNECT_ACK, bytes(31)),
    "a REFRESH that is short": (Frame.REFRESH, bytes(wire.REFRESH_SIZE - 1)),
    "a GOAWAY that is long": (Frame.GOAWAY, bytes(5)),
    "a REFUSED without a reason": (Frame.REFUSED, b""),
    "an OPENED that is short": (Frame.OPENED, b"\0"),
}


@pytest.mark.parametrize(("frame", "payload"), UNASKED.values(), ids=UNASKED)
def test_violations(frame: Frame, payload: bytes, roles: Roles) -> None:
    with pytest.raises(Violation):
        receive(roles.client, frame, payload)


def test_a_refresh_and_what_may_not_come_amid_it(roles: Roles) -> None:
    client, server = roles.both()
    started = server.start_refresh()
    assert started is not None and started[0] == Frame.REFRESH
    receive(client, Frame.REFRESH, started[1:])
    refreshed, keys = client.outbound.mail.refreshed
    assert client.keys.epoch == 1 and keys == client.keys
    with pytest.raises(Violation, match="REFRESH while one runs"):
        receive(client, Frame.REFRESH, started[1:])
    receive(server, Frame.REFRESHED, refreshed[1:])
    switch, _ = server.outbound.mail.switch
    assert server.keys == client.keys
    expected = client.refreshing
    with pytest.raises(ProtocolError, match="SWITCH is wrong"):
        receive(client, Frame.SWITCH, bytes(32))
    client.refreshing = expected
    receive(client, Frame.SWITCH, switch[1:])
    assert client.refreshing is None and client.outbound.mail.switched
    assert server.refreshing is not None
    server.refreshed()
    assert server.refreshes == 1 and server.refreshing is None


def test_a_refresh_that_does_not_open(roles: Roles) -> None:
    with pytest.raises(ProtocolError):
        receive(roles.client, Frame.REFRESH, os.urandom(wire.REFRESH_SIZE))


def test_a_refresh_behind_disconnect_is_ignored(roles: Roles) -> None:
    roles.client.disconnect()
    receive(roles.client, Frame.REFRESH, bytes(wire.REFRESH_SIZE))
    assert roles.client.refreshing is None and roles.client.outbound.mail.refreshed is None


def test_the_release_frame_by_frame(roles: Roles) -> None:
    client, server = roles.both()
    client.disconnect()
    assert client.outbound.mail.release == bytes([Frame.DISCONNECT]) and client.releasing
    receive(server, Frame.DISCONNECT)
    answer = server.outbound.mail.release
    receive(client, Frame.DISCONNECT_ACK, answer[1:])
    server.outcome = None
    receive(server, Frame.DISCONNECT_DONE, client.outbound.mail.farewell[1:])
    assert server.outcome is Outcome.OVER and server.reason == "released"


def test_a_release_begins_once(roles: Roles) -> None:
    """The pool may end a session behind GOAWAY, and the program all of them at the same time."""
    client = roles.client
    client.disconnect()
    client.outbound.mail.release = None  # it went out
    client.disconnect()
    assert client.outbound.mail.release is None


def test_a_release_without_an_answer_ends_with_abort_4(roles: Roles) -> None:
    client = roles.client
    client.outcome = None
    client.disconnect()
    assert client.unanswered(100.0) == 100.0 + limits.FAREWELL, "a moment for it to leave"
    farewell = client.outbound.mail.farewell
    assert farewell is not None and farewell[:2] == bytes([Frame.ABORT, Abort.NO_ANSWER])
    assert client.outcome is None and not client.say_no_answer()
    assert client.unanswered(101.0) is None and client.outcome is Outcome.OVER


def test_abort_4_says_nothing_where_the_answer_came(roles: Roles) -> None:
    client = roles.client
    client.outcome = None
    assert not client.say_no_answer(), "nothing is released"
    client.disconnect()
    receive(client, Frame.DISCONNECT_ACK, bytes(32))
    assert not client.say_no_answer() and client.outbound.mail.farewell[0] == Frame.DISCONNECT_DONE


@pytest.mark.parametrize("close", [BOUND, 0.0], ids=["in time", "in a hurry"])
def test_a_server_that_does_not_answer_a_release_hears_abort_4(close: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.2 if close else BOUND)
    monkeypatch.setattr(limits, "FAREWELL", BOUND)
    asked = threading.Event()
    monkeypatch.setattr(ServerTunnel, "_on_disconnect", lambda *_: asked.set())
    with World() as world:
        pool = WatchedPool(world)
        pool.start()
        (hosted,) = world.registry.all()
        if not close:
            (session,) = pool._alive
            session.release()
            assert asked.wait(BOUND)
        pool.close(close)
        assert pool.alive == 0
        assert world.registry.wait_empty(lambda _: True, BOUND)
        assert hosted.tunnel.reason == "the other side ended the session: no answer to the release"


def test_after_disconnect_a_loss_is_the_end(roles: Roles) -> None:
    roles.client.outcome = None
    roles.client.disconnect()
    roles.client.end(Outcome.LOST, "cut")
    assert roles.client.outcome is Outcome.OVER


@pytest.mark.parametrize(("text", "told"), [("why", "why"), ("", abort_text(Abort.REVOKED))])
def test_abort(text: str, told: str, roles: Roles) -> None:
    roles.client.outcome = None
    receive(roles.client, Frame.ABORT, frames.reason(Frame.ABORT, Abort.REVOKED, text)[1:])
    assert roles.client.outcome is Outcome.OVER and roles.client.reason == f"the other side ended the session: {told}"


def test_goaway_tells_the_pool_of_an_idle_session() -> None:
    told: list[bool] = []
    roles = Roles(idle=lambda: told.append(True))
    receive(roles.client, Frame.GOAWAY, frames.goaway(30)[1:])
    assert roles.client.draining and told == [True]
    roles.close()


@pytest.mark.parametrize(("fresh", "early"), [(BOUND, True), (0.0, False)])
def test_data_follows_open_at_once_on_a_fresh_session(
    fresh: float, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRESH", fresh)
    with World() as world:
        pool = WatchedPool(world)
        pool.start()
        opened = Opened(pool, world.target(echo))
        assert opened.ask(b"hello") == b"hello" and opened.end().early is early


def test_a_release_that_nobody_answers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.2)
    with World(proxy=True) as world:
        pool = WatchedPool(world)
        pool.start()
        world.proxy.stall()
        pool.close(BOUND)
        assert pool.alive == 0
        world.proxy.unstall()


def test_the_server_is_told_to_wait_for_a_local_side_that_does_not_read() -> None:
    """The client's window bounds what it holds."""
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.sendall(bytes(64 << 20))
        done.set()

    with World() as world:
        opened = Opened(world.pool(window=limits.WINDOW_MIN), world.target(serve))
        assert done.wait(BOUND)
        (hosted,) = world.registry.all()
        assert hosted.tunnel.outbound.resend.data_bytes <= limits.WINDOW_MIN
        opened.near.close()
