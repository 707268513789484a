"""How the audit trail tells the end of streams, of both sides."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from datagramming import Echo, ask, sender
from loopback import dial_tcp, unused_port
from remotely import permit, remotes, tcp
from world import Opened, World, echo, read_all

from nitrosocks_lib.client.forward import Forward, Forwarder
from nitrosocks_lib.facts.levels import NOTE
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.quota import Quota


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    return [record.fields for record in caplog.records if getattr(record, "event", "") == name]  # type: ignore[attr-defined]


def test_one_that_the_client_opened(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(NOTE), World() as world:
        pool, port = world.pool(), world.target(echo)
        opened = Opened(pool, port)
        opened.near.shutdown(socket.SHUT_WR)
        opened.end()
        pool.close(5.0)
    (told,) = events(caplog, "stream-ended")
    assert (told["target"], told["reached"]) == (f"127.0.0.1:{port}",) * 2


def test_one_that_came_at_a_listener(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(NOTE), World() as world:
        permit(world, "127.0.0.1:*")
        port = world.target(lambda sock: sock.sendall(b"12345"))
        made, pool = remotes(world, (tcp(0), tcp(port)))
        assert made.remotes[0].at is not None
        with dial_tcp(made.remotes[0].at.port) as sock:
            assert read_all(sock) == b"12345"
        where = made.remotes[0].at.port
        pool.close(5.0)
    (told,) = events(caplog, "accepted-ended")
    assert (told["how"], told["received"]) == ("clean", 5)
    assert str(told["where"]) == f"127.0.0.1:{where}"


def test_one_that_the_client_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(NOTE), World() as world:
        permit(world, "127.0.0.1:*")
        made, pool = remotes(world, (tcp(0), tcp(unused_port())))
        assert made.remotes[0].at is not None
        with dial_tcp(made.remotes[0].at.port) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
        pool.close(5.0)
    (told,) = events(caplog, "accepted-ended")
    assert told["how"] == "refused by client" and "connection refused" in str(told["reason"])


def test_one_of_datagrams_that_made_room(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(NOTE), World() as world, Echo() as target:
        key = world.directory.add(bytes(32), world.token, permit=("udp:127.0.0.1:*",))
        world.key = key
        world.directory.known[key.client_id] = replace(world.directory.known[key.client_id], quota=Quota(streams=2))
        made = Forwarder(world.pool())
        world.callback(made.stop)
        udp = (Target(Kind.UDP, "127.0.0.1", port) for port in (0, target.port))
        port = made.bind(Forward(*udp)).port
        made.start()
        for _ in range(2):
            with sender(port) as near:
                assert ask(near, b"abc") == b"ABC"
        while not (told := events(caplog, "stream-ended")):
            world.entry.tunnel.outbox.waiter.set()
        assert (told[0]["how"], told[0]["reason"]) == ("reset by server", "it was silent longest, and others came")
