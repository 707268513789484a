"""Reception: what is not ours gets no answer, what fails is closed, and refusals say why (protocol 3.6)."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

import pytest
from loopback import dial_tcp, is_silent
from world import BOUND, SERVER_KEY, Opened, World, echo

from nitrosocks_lib.crypto.identity import ClientKey, client_fingerprint
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import NetworkError, NotAuthorised, ProtocolError, Refused, Unanswered
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.net.connect import client_context, dial
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import greet
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.server import failures
from nitrosocks_lib.server.connection import SharedNonces
from nitrosocks_lib.server.tarpit import Tarpit

HELLO_END = wire.KNOCK + wire.HELLO  # behind the first Enc


@pytest.fixture
def world():
    with World() as made:
        late(made, 60)
        yield made


def late(world: World, seconds: int) -> Watched:
    """Another time for what is not ours."""
    world.server._tarpit.stop()
    watched = world.server._entrance._exits._tarpit = world.server.reception._tarpit = Watched(seconds)
    world.server._tarpit = world.server._web._tarpit = watched
    return watched


class Watched(Tarpit):
    """Tells how many have come."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.changed, self.came = threading.Condition(), 0

    def add(self, accepted: float, link: Link) -> None:
        super().add(accepted, link)
        with self.changed:
            self.came += 1
            self.changed.notify_all()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.came >= count, BOUND), f"{self.came} of {count}"


def connect(world: World) -> Link:
    link = dial(("127.0.0.1", world.port), client_context(False), socket.AF_INET, BOUND)
    world.callback(link.close)
    return link


def greeting(world: World, hour: int | None = None) -> bytes:
    """GREETING as a client sends it."""
    hour = int(time.time()) // 3600 if hour is None else hour
    said = next(greet.greet(world.credentials(), hour, 1 << 20, os.urandom))
    assert isinstance(said, bytes)
    return said


def unanswered(link: Link) -> bool:
    """Whether the connection ends without an answer."""
    with pytest.raises(NetworkError, match="the connection"):
        link.read_exactly(1, now() + BOUND)
    return True


# -- not ours ---------------------------------------------------------------------------------------------------------

SIZES = [*range(1, 51), 221]


def test_probes_are_not_answered() -> None:
    with World() as world:
        strangers, links = late(world, 1), [connect(world) for _ in SIZES]
        for size, link in zip(SIZES, links, strict=True):
            link.write_all(os.urandom(size), now() + BOUND)
        strangers.wait(len(SIZES))
        assert len(world.server._entrance) == 0
        for link in links:
            assert unanswered(link)


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01" + bytes(600), bytes(40), bytes(9_000)],
    ids=["http", "ssh", "tls", "zeros", "many zeros"],
)
def test_other_protocols_are_read_on_and_not_answered(said: bytes, world: World) -> None:
    link = connect(world)
    link.write_all(said, now() + BOUND)
    world.server._tarpit.wait(1)
    link.write_all(greeting(world), now() + BOUND)  # too late: the first read decided
    assert is_silent(link._sock)


CHANGES = {
    "cut into the knock": lambda said: [said[: wire.KNOCK - 1], said[wire.KNOCK - 1 :]],
    "another tag": lambda said: [said[:39] + bytes([said[39] ^ 1]) + said[40:]],
    "another first Enc": lambda said: [said[:100] + bytes([said[100] ^ 1]) + said[101:]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_greetings_that_were_changed_are_not_ours(change, world: World) -> None:
    link = connect(world)
    for part in change(greeting(world)):
        link.write_all(part, now() + BOUND)
        world.server._tarpit.wait(1)
    assert is_silent(link._sock)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_greeting_of_another_hour_is_not_ours(hours: int, world: World) -> None:
    link = connect(world)
    link.write_all(greeting(world, int(time.time()) // 3600 + hours), now() + BOUND)
    world.server._tarpit.wait(1)


def test_a_replayed_greeting_is_not_ours(world: World) -> None:
    said, links = greeting(world), [connect(world) for _ in range(3)]
    for n, link in enumerate(links):
        link.write_all(said, now() + BOUND)
        if n == 0:
            assert len(link.read_exactly(wire.SALT, now() + BOUND)) == wire.SALT
    world.server._tarpit.wait(2)
    assert is_silent(links[1]._sock) and is_silent(links[2]._sock)


# -- deadlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, wire.KNOCK, HELLO_END - 1])
def test_silence_before_the_first_enc_is_not_ours(size: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE", 0.3)
    link = connect(world)
    link.write_all(greeting(world)[:size], now() + BOUND)
    world.server._tarpit.wait(1)
    assert is_silent(link._sock)


@pytest.mark.parametrize("size", [HELLO_END, HELLO_END + 500, -1])
def test_silence_behind_it_is_closed(size: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE", 0.3)
    link = connect(world)
    link.write_all(greeting(world)[:size], now() + BOUND)
    assert unanswered(link) and world.server._tarpit.came == 0


def test_silence_behind_the_challenge_is_closed_and_gives_its_place_back(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE", 0.3)
    link = connect(world)
    link.write_all(greeting(world), now() + BOUND)
    with pytest.raises(NetworkError, match="the connection"):
        link.read_exactly(1 << 20, now() + BOUND)
    assert not world.registry._per_client
    assert "client alice" in caplog.text and "it did not answer CHALLENGE in time" in caplog.text


def test_a_session_is_in_the_registry_before_its_client_hears_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a client that resumes at once would be told that its session is unknown."""
    add = world.registry.add

    def added(hosted, link: Link) -> None:
        add(hosted, link)
        link.abort()  # SESSION does not get through

    monkeypatch.setattr(world.registry, "add", added)
    with pytest.raises(ProtocolError, match="ended the handshake"):
        world.dialler().greet()
    assert world.registry.wait_empty(lambda hosted: hosted.expiry is None, BOUND) and len(world.registry) == 1


def test_a_client_without_tls_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE", 0.2)
    with dial_tcp(world.port) as sock:
        assert sock.recv(1) == b""


# -- failures and refusals --------------------------------------------------------------------------------------------


def test_an_unknown_kind_is_closed_at_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It opened, so it is one of ours that errs: no decoy, and no fault of the server's."""
    link = connect(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "KIND_GREETING", 3)
        said = greeting(world)
    with caplog.at_level(logging.INFO):
        link.write_all(said, now() + BOUND)
        assert unanswered(link)
        assert Opened(world.pool(), world.target(echo)).ask(b"x") == b"x"
    assert world.server._tarpit.came == 0 and "internal error" not in caplog.text


@pytest.mark.parametrize(
    ("credentials", "error"),
    [
        (lambda world: Credentials(SERVER_KEY.public, ClientKey(bytes(32)), world.token), NotAuthorised),
        (lambda world: Credentials(SERVER_KEY.public, world.key, bytes(32)), ProtocolError),
    ],
    ids=["unknown client", "another Token"],
)
def test_clients_that_are_not_authorised(credentials, error, world: World) -> None:
    dialler = world.dialler()
    dialler.credentials = credentials(world)
    with pytest.raises((error, NotAuthorised, Refused)):
        dialler.greet()
    assert len(world.registry) == 0


def test_who_hangs_up_at_challenge_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with another Token cannot open CHALLENGE; all that the server sees of it is that it leaves."""
    warned, lines = threading.Event(), []
    monkeypatch.setattr(failures, "tell", lambda name, **values: (lines.append((name, values)), warned.set()))
    dialler = world.dialler()
    dialler.credentials = Credentials(SERVER_KEY.public, world.key, bytes(32))
    with pytest.raises(NotAuthorised):
        dialler.greet()
    assert warned.wait(BOUND)
    ((event, values),) = lines
    assert (event, values["client"], values["file"]) == ("login-failed", "alice", "alice.toml")
    assert values["fingerprint"] == client_fingerprint(world.key.client_id)
    assert values["reason"].endswith("it ended the handshake after CHALLENGE: its Token differs, or bytes were changed")


def test_who_is_not_ours_is_worth_a_debug_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        link = connect(world)
        link.write_all(b"GET / HTTP/1.1\r\n\r\n", now() + BOUND)
        world.server._tarpit.wait(1)
    (record,) = [each for each in caplog.records if each.name.endswith("server.entrance")]
    assert record.levelno == logging.DEBUG and record.getMessage().endswith(": not ours: fewer bytes than a knock")


def test_another_servers_key_is_not_answered() -> None:
    with World() as world:
        late(world, 1)
        dialler = world.dialler()
        dialler.credentials = Credentials(ClientKey(bytes(32)).public[: wire.KEM_PUBLIC], world.key, world.token)
        with pytest.raises(Unanswered, match="did not answer the greeting"):
            dialler.greet()


REFUSED = {
    Refusal.FULL: lambda world, patch: patch.setattr(limits, "SESSIONS_PER_CLIENT", 0),
    Refusal.DRAINING: lambda world, patch: patch.setattr(world.server.reception, "draining", now() + BOUND),
}


@pytest.mark.parametrize(("reason", "make"), REFUSED.items(), ids=lambda value: getattr(value, "name", ""))
def test_refusals_of_a_greeting(reason: Refusal, make, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make(world, monkeypatch)
    with pytest.raises(Refused) as refused:
        world.dialler().greet()
    assert refused.value.reason is reason


def test_nonces_are_put_in_once_by_many_threads() -> None:
    nonces, meeting, new = SharedNonces(), threading.Barrier(8), []

    def put() -> None:
        for n in range(200):
            meeting.wait(BOUND)
            try:
                new.append(nonces.put(7, bytes([n]), 7))
            except ProtocolError:
                continue

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert new == [True] * 200 and nonces.seen(7, b"\0") and not nonces.seen(8, b"\0")
