"""`-L udp:`: each sender has its own stream, gets its own answers, and is told nothing; the log is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import datagramming
import pytest
from datagramming import Echo, ask, sender
from logged import by, messages
from world import World

from nitrosocks_lib.client.datagrams import Reports
from nitrosocks_lib.client.forward import LOOPBACK, Forward, Forwarder
from nitrosocks_lib.client.session import OWN_END
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.streams import Ending, Stream

echo = datagramming.echo


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.key = made.directory.add(bytes(32), made.token, permit=("udp:127.0.0.1:*", "127.0.0.1:*"))
        yield made


def forwarder(world: World, port: int) -> tuple[Forwarder, int]:
    made = Forwarder(world.pool())
    world.callback(made.stop)
    at = made.bind(Forward(Target(Kind.UDP, LOOPBACK, 0), Target(Kind.UDP, "127.0.0.1", port)))
    assert at.kind == Kind.UDP
    made.start()
    return made, at.port


def test_each_sender_is_another_one_at_the_target(world: World, echo: Echo) -> None:
    _, port = forwarder(world, echo.port)
    senders = [sender(port) for _ in range(20)]
    for n, each in enumerate(senders * 2):
        assert ask(each, b"abc %d" % n) == b"ABC %d" % n
    assert len(echo.senders) == 20
    for each in senders:
        each.close()


def test_large_ones_pass_whole(world: World, echo: Echo) -> None:
    with sender(forwarder(world, echo.port)[1]) as near:
        for size in (1, 1_500, 9_000, 60_000, 65_507):
            assert ask(near, bytes([size % 26 + 97]) * size) == bytes([size % 26 + 65]) * size


def test_both_loopback_addresses_have_the_port(world: World, echo: Echo) -> None:
    made, port = forwarder(world, echo.port)
    assert port in made.besides
    with sender(port, "::1") as near:
        assert ask(near, b"six") == b"SIX"


def test_a_flow_goes_on_over_a_new_connection(echo: Echo) -> None:
    with World(proxy=True) as world:
        world.key = world.directory.add(bytes(32), world.token, permit=("udp:127.0.0.1:*",))
        with sender(forwarder(world, echo.port)[1]) as near:
            assert ask(near, b"one") == b"ONE"
            assert world.proxy is not None
            world.proxy.cut()
            near.settimeout(0.2)
            for _ in range(300):  # what comes while there is no connection is dropped, so a sender asks again
                try:
                    assert ask(near, b"two") == b"TWO"
                    break
                except TimeoutError:
                    continue
            assert len(echo.senders) == 1


def test_both_sides_end_what_is_silent_and_the_next_one_begins_anew(
    world: World, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DATAGRAMS_IDLE", 0.02)  # of both, so ENDs cross
    made, port = forwarder(world, echo.port)
    with sender(port) as near:
        near.settimeout(0.2)
        for n in range(30):
            for _ in range(300):  # what comes while the stream ends may be lost
                with suppress(TimeoutError):
                    answer = ask(near, b"%d" % n)
                    while answer != b"%d" % n:  # one is late
                        answer = near.recv(100)
                    break
            assert answer == b"%d" % n
            while world.entry.tunnel.load:
                world.entry.tunnel.outbox.waiter.set()
    assert world.entry.tunnel.opened >= 30
    assert not world.entry.tunnel.inbound.delivery.silences


def test_a_refusal_is_logged_and_not_for_each_datagram(
    world: World, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    world.directory.add(bytes(32), world.token, permit=("127.0.0.1:*",))
    made, port = forwarder(world, echo.port)
    with sender(port) as near:
        near.settimeout(0.01)
        for _ in range(3_000):
            near.send(b"no")
            with pytest.raises(TimeoutError):
                near.recv(10)
            if messages(by(caplog, "client.datagrams")) and world.entry.tunnel.opened > 3:
                break
    (line,) = messages(by(caplog, "client.datagrams"))
    assert line.startswith(f"udp:127.0.0.1:{echo.port} is not permitted for this client")


def test_a_port_that_is_taken_is_told(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        made = Forwarder(world.pool())
        port = taken.getsockname()[1]
        with pytest.raises(CannotCreate, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            made.bind(Forward(Target(Kind.UDP, LOOPBACK, port), Target(Kind.UDP, "127.0.0.1", 7)))


def lost(reason: str) -> Stream:
    stream = Stream(Target(Kind.UDP, "host", 7), None)
    stream.end(Ending.LOST, reason)
    return stream


def test_the_same_is_said_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    at = 1_000.0
    monkeypatch.setattr("nitrosocks_lib.client.datagrams.now", lambda: at)
    reports = Reports()
    refused = Stream(Target(Kind.UDP, "host", 7), None)
    refused.end(Ending.REFUSED, "no", Reply.GENERAL)
    for stream in (lost("it rained"), refused, lost(OWN_END), lost("it rained"), refused):
        reports.report(stream)
    assert len(caplog.messages) == 2 and caplog.messages[0] == "udp:host:7: datagrams are lost: it rained"
    at += limits.SAID
    reports.report(refused)
    assert len(caplog.messages) == 3
    for n in range(200):
        reports.report(lost(f"reason {n}"))
    assert len(caplog.messages) < 80
