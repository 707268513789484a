"""ServerTunnel: what only a server receives, how it answers OPEN, and when it starts a refresh."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from links import Pairs, Threads
from roles import Roles
from targets import unanswering
from world import BOUND, Opened, World, echo

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.seal import Sealer
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import ProtocolError, Violation
from nitrosocks_lib.facts.wire import Abort, Frame, Kind, Reply
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server import tunnel as module
from nitrosocks_lib.server.targets import Unreached
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session.tunnel import Outcome


@pytest.fixture
def roles():
    made = Roles()
    yield made
    made.close()


def receive(tunnel, frame: Frame, payload: bytes = b"") -> None:
    tunnel.inbound._handlers[frame](payload)


UNASKED = {
    "REFRESHED": (Frame.REFRESHED, bytes(wire.REFRESHED_SIZE)),
    "DISCONNECT_DONE": (Frame.DISCONNECT_DONE, bytes(32)),
    "a DISCONNECT that is long": (Frame.DISCONNECT, b"\0"),
    "an OPEN that is short": (Frame.OPEN, b"\1\0"),
    "an OPEN that is not UTF-8": (Frame.OPEN, b"\1\0\1\xff"),
    "an END without a stream": (Frame.END, b""),
}


@pytest.mark.parametrize(("frame", "payload"), UNASKED.values(), ids=UNASKED)
def test_violations(frame: Frame, payload: bytes, roles: Roles) -> None:
    with pytest.raises(Violation):
        receive(roles.server, frame, payload)


@pytest.mark.parametrize("frame", [Frame.OPEN, Frame.LISTEN])
def test_no_stream_behind_disconnect(frame: Frame, roles: Roles) -> None:
    receive(roles.server, Frame.DISCONNECT)
    with pytest.raises(Violation, match="after DISCONNECT"):
        receive(roles.server, frame, frames.open_(Target(1, "h", 1), frame)[1:])


def test_no_disconnect_amid_a_stream(roles: Roles) -> None:
    roles.known = None  # answered at once, but not sent
    receive(roles.server, Frame.OPEN, frames.open_(Target(1, "h", 1))[1:])
    with pytest.raises(Violation, match="DISCONNECT before the stream was over"):
        receive(roles.server, Frame.DISCONNECT)


def test_a_wrong_disconnect_done(roles: Roles) -> None:
    receive(roles.server, Frame.DISCONNECT)
    with pytest.raises(Violation, match="DISCONNECT_DONE is wrong"):
        receive(roles.server, Frame.DISCONNECT_DONE, bytes(32))


def test_a_second_disconnect_draws_no_other_r2(roles: Roles) -> None:
    """The client answers the first DISCONNECT_ACK, and that must do."""
    server = roles.server
    server.outcome = None  # as while it is connected
    receive(server, Frame.DISCONNECT)
    r2 = server.outbound.mail.release[1:]
    receive(server, Frame.DISCONNECT)
    receive(server, Frame.DISCONNECT_DONE, schedule.hash256(r2))
    assert server.reason == "released"


def test_a_release_without_an_answer_ends_with_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.05)
    roles = Roles()
    with Pairs() as pairs, Threads() as threads:
        near, far = pairs.make()
        threads.start(roles.server.run, far)
        sealed = bytearray(64)
        size = Sealer(roles.client._frame_keys(roles.client.sends)).seal(bytes([Frame.DISCONNECT]), memoryview(sealed))
        near.write_all(bytes(sealed[:size]), now() + BOUND)
        opener, plain = roles.client.opener(roles.client.keys), memoryview(bytearray(1_000))
        said = []
        while not said or said[-1][0] != Frame.ABORT:
            head = near.read_exactly(wire.LENGTH, now() + BOUND)
            frame = head + near.read_exactly(opener.frame_size(head) - wire.LENGTH, now() + BOUND)
            said.append(bytes(plain[: opener.open(memoryview(frame), plain)]))
        near.close()
    assert [each[0] for each in said] == [Frame.DISCONNECT_ACK, Frame.ABORT] and said[1][1] == Abort.NO_ANSWER
    assert (roles.server.outcome, roles.server.reason) == (Outcome.OVER, "the release was not finished")
    roles.close()


def test_a_release_whose_abort_is_not_taken_either_just_ends(roles: Roles) -> None:
    server = roles.server
    server.outcome = None
    receive(server, Frame.DISCONNECT)
    assert server._unanswered(100.0) > 100.0 and server.outcome is None
    assert server._unanswered(101.0) is None and server.outcome is Outcome.OVER
    assert server.reason == "the release was not finished"


def test_no_refresh_behind_disconnect(roles: Roles) -> None:
    receive(roles.server, Frame.DISCONNECT)
    assert roles.server.start_refresh() is None


def test_a_refreshed_that_does_not_open(roles: Roles) -> None:
    assert roles.server.start_refresh() is not None
    with pytest.raises(ProtocolError):
        receive(roles.server, Frame.REFRESHED, os.urandom(wire.REFRESHED_SIZE))


def test_one_refreshed_for_one_refresh(roles: Roles) -> None:
    client, server = roles.both()
    started = server.start_refresh()
    assert started is not None
    client.handlers[Frame.REFRESH](started[1:])
    answer = client.outbound.mail.refreshed[0][1:]
    receive(server, Frame.REFRESHED, answer)
    with pytest.raises(Violation, match="nobody asked for"):
        receive(server, Frame.REFRESHED, answer)


# -- OPEN -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "kind", "known", "reply"),
    [
        (Frame.LISTEN, Kind.TCP, True, Reply.COMMAND),
        (Frame.OPEN, Kind.UDP, True, Reply.COMMAND),
        (Frame.OPEN, 77, True, Reply.COMMAND),
        (Frame.OPEN, Kind.TCP, False, Reply.NOT_PERMITTED),
    ],
)
def test_refusals(frame: Frame, kind: int, known: bool, reply: Reply, roles: Roles) -> None:
    roles.known = roles.known if known else None
    receive(roles.server, frame, frames.open_(Target(kind, "127.0.0.1", 1), frame)[1:])
    stream = roles.server.stream
    while stream.answer is None:
        assert roles.server.outbound.mail.wake.wait({}, BOUND) == {}
        roles.server.outbound.mail.wake.clear()
    assert stream.answer[:2] == bytes([Frame.REFUSED, reply])


def test_a_fault_while_dialling_is_refused(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    def fault(*_: object) -> None:
        raise ValueError("for a test")

    monkeypatch.setattr(module, "reach", fault)
    with World() as world:
        opened = Opened(world.pool(), 1)
        refused = opened.end().refused
        assert refused is not None and refused.code == Reply.GENERAL and refused.text == "an internal error"
        assert "for a test" in caplog.text and len(world.registry) == 1


def test_reset_stops_a_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the dial has reached by then is closed."""
    dialling, go, reached = threading.Event(), threading.Event(), []
    real = module.reach

    def late(*args):
        made = real(*args)
        reached.append(made[0])
        dialling.set()
        assert go.wait(BOUND)
        return made

    monkeypatch.setattr(module, "reach", late)
    with World() as world:
        listener = world.enter_context(socket.create_server(("127.0.0.1", 0)))
        opened = Opened(world.pool(), listener.getsockname()[1])
        assert dialling.wait(BOUND)
        (hosted,) = world.registry.all()
        hosted.tunnel.stop_dial(hosted.tunnel.stream)
        refused = opened.end().refused
        assert refused is not None and refused.text == "reset by the client"
        go.set()
        with listener.accept()[0] as sock:
            sock.settimeout(BOUND)
            assert sock.recv(1) == b"" and reached[0].fileno() == -1


def dial_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "dial"}


def test_one_dial_at_a_time(monkeypatch: pytest.MonkeyPatch, roles: Roles) -> None:
    """A client that opens and resets gets no thread for each; the last one is dialled when the first has ended."""
    dialling, go, reached = threading.Event(), threading.Event(), []

    def slow(target: Target, *_: object) -> None:
        reached.append((target.port, len(dial_threads() - others)))
        dialling.set()
        assert go.wait(BOUND)
        raise Unreached(Reply.EXPIRED, "no answer in time")

    monkeypatch.setattr(module, "reach", slow)
    others, server = dial_threads(), roles.server  # of tests before, and about to end
    for port in range(1, 51):
        if port > 1:
            server.stop_dial(server.stream)
            server.stream.own_ended = True  # as when REFUSED is queued
        receive(server, Frame.OPEN, frames.open_(Target(1, "127.0.0.1", port))[1:])
        assert dialling.wait(BOUND)
    assert server.stream.answer is None
    go.set()
    while server.stream.answer is None:
        assert server.outbound.mail.wake.wait({}, BOUND) == {}
        server.outbound.mail.wake.clear()
    assert reached == [(1, 1), (50, 1)]


def test_a_reset_ends_a_dial_that_nobody_answers(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next stream on this session would have to wait for it."""
    monkeypatch.setattr(limits, "DIAL_TARGET", 10 * BOUND)
    server = roles.server
    with unanswering() as where, socket.create_server(("127.0.0.1", 0)) as good:
        receive(server, Frame.OPEN, frames.open_(Target(Kind.TCP, *where))[1:])
        server.stop_dial(server.stream)
        server.stream.own_ended = True  # as when REFUSED is queued
        receive(server, Frame.OPEN, frames.open_(Target(Kind.TCP, *good.getsockname()))[1:])
        while server.stream.answer is None:
            assert server.outbound.mail.wake.wait({}, BOUND) == {}
            server.outbound.mail.wake.clear()
    assert server.stream.answer[0] == Frame.OPENED


def test_what_waits_for_a_dial_is_forgotten_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    dialling, go, reached, roles = threading.Event(), threading.Event(), [], Roles()

    def slow(target: Target, *_: object) -> None:
        reached.append((target.port, threading.current_thread()))
        dialling.set()
        assert go.wait(BOUND)
        raise Unreached(Reply.EXPIRED, "no answer in time")

    monkeypatch.setattr(module, "reach", slow)
    receive(roles.server, Frame.OPEN, frames.open_(Target(1, "127.0.0.1", 1))[1:])
    assert dialling.wait(BOUND)
    roles.server.stop_dial(roles.server.stream)
    roles.server.stream.own_ended = True
    receive(roles.server, Frame.OPEN, frames.open_(Target(1, "127.0.0.1", 2))[1:])
    roles.close()
    go.set()
    reached[0][1].join(BOUND)
    assert [port for port, _ in reached] == [1]


def test_the_client_is_looked_up_at_every_open() -> None:
    with World() as world:
        pool, port = world.pool(), world.target(echo)
        assert Opened(pool, port).ask(b"x") == b"x"
        world.directory.known.clear()
        opened = Opened(pool, port)
        assert opened.end().refused is not None or opened.end().lost


# -- when a refresh is due --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["sealer", "opener"])
@pytest.mark.parametrize(
    ("field", "value", "due"),
    [("volume", 999, False), ("volume", 1_000, True), ("count", 9, False), ("count", 10, True)],
)
def test_a_refresh_is_due(half: str, field: str, value: int, due: bool) -> None:
    roles = Roles(RefreshPolicy(volume=1_000, count=10))
    server = roles.server
    server.outbound.sealer = roles.client.opener(server.keys)
    setattr(server.outbound.sealer if half == "sealer" else server.inbound.opener, field, value)
    assert server.refresh_due() is due
    roles.close()


def test_the_defaults_are_those_of_the_protocol() -> None:
    policy = RefreshPolicy()
    assert (policy.every, policy.volume, policy.count) == (1_800, 4 << 30, 1 << 20) and limits.REFRESH_MAX == 3_600
