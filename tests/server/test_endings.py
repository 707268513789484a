"""How the audit trail tells the end of streams, of both sides."""

from __future__ import annotations

import socket

import pytest
from loopback import dial_tcp, unused_port
from remotely import permit, remotes, tcp
from world import Opened, World, echo, read_all

from nitrosocks_lib.facts.levels import NOTE


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
