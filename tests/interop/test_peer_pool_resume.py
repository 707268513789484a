"""The independent peer as the server of our pool, and a reconnection amid a stream, over TLS."""

import os
import socket
import threading
from collections.abc import Iterator

import peer
import pytest
from meeting import (
    BOUND,
    Blocked,
    Host,
    answered,
    at,
    closed,
    exactly,
    fails,
    gathered,
    reset,
    told,
    until,
    until_acked,
)
from peer_judge import PeerError
from world import Opened

from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.outbound import Outbound


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


def test_nothing_is_lost_or_doubled(host: Host) -> None:
    server, wish = host.opened()
    up, down = os.urandom(500_000), os.urandom(500_000)
    threading.Thread(target=wish.near.sendall, args=(up,), daemon=True).start()
    got = b""
    for n in range(5):
        for at_ in range(n * 100_000, (n + 1) * 100_000, 50_000):
            server.send(peer.DATA, down[at_ : at_ + 50_000])
        if n % 2:
            kind, payload = server.recv()
            got += payload if kind == peer.DATA else b""
        reset(server.sock)
        j, server = server.j, host.accept()
        assert server.j == j + 1
    while len(got) < len(up):
        got += told(server, peer.DATA)
    assert got == up and exactly(wish.near, len(down)) == down
    closed(server, wish.near)
    assert wish.end().ended_well


@pytest.mark.parametrize("where", ["_read", "_signed_part", "_salt_part", "_move"])
def test_an_attempt_that_fails_is_made_anew(host: Host, where: str) -> None:
    """The connection ends within RESUME, after it, before RECOVERED, or before the first frame is read."""
    server, wish = host.opened()
    server.send(peer.DATA, b"down")
    reset(server.sock)
    attempt = host.arrival()

    def stop(*_: object) -> None:
        raise PeerError("stopped")

    setattr(attempt, where, stop)
    fails(attempt.accept, "stopped")
    again = host.accept()
    assert again.j == 2
    closed(again, wish.near) if exactly(wish.near, 4) == b"down" else None


@pytest.mark.parametrize("reason", [3, 4, 5])
def test_a_refused_attempt_is_made_anew(host: Host, reason: int) -> None:
    server, wish = host.opened()
    reset(server.sock)
    attempt = host.arrival()
    attempt.refuse = reason
    fails(attempt.accept, f"refused: {reason}")
    closed(host.accept(), wish.near)


class OverTcp(Opened):
    """With a local socket that is TCP."""

    def __init__(self, pool: Pool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.near = socket.create_connection(listener.getsockname(), BOUND)
            far = listener.accept()[0]
        self.over, self.stream = threading.Event(), None
        pool.open(Target(1, "127.0.0.1", 7), far, self._finished)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_what_an_application_sent_before_it_closed_still_arrives(host: Host, kind: str) -> None:
    """Its socket has ended both ways by then: what it wrote is under way, or still to be read."""
    wish = host.wish() if kind == "unix" else OverTcp(host.pool)
    server = host.accept()
    told(server, peer.OPEN)
    server.send(peer.OPENED, at()[1:])
    server.send(peer.END)
    until_acked(server)
    wish.near.sendall(b"the last words")
    assert wish.near.recv(1) == b""
    wish.near.close()
    reset(server.sock)
    attempt = host.arrival()
    attempt.refuse = 3
    fails(attempt.accept, "refused: 3")
    again = host.accept()
    assert gathered(again, 14) == b"the last words" and told(again, peer.END) == b""
    assert wish.end().ended_well


@pytest.mark.parametrize("reason", [1, 2])
def test_a_session_that_the_server_forgot_is_over(host: Host, reason: int) -> None:
    server, wish = host.opened()
    reset(server.sock)
    attempt = host.arrival()
    attempt.refuse = reason
    fails(attempt.accept, f"refused: {reason}")
    stream = wish.end()
    assert stream.lost and not stream.ended_well and ("revoked" in stream.lost) == (reason == 1)


def test_a_stream_that_carried_nothing_moves_to_a_new_session(host: Host) -> None:
    wish = host.wish()
    server = host.accept()
    until(server, peer.OPEN)
    reset(server.sock)
    attempt = host.arrival()
    attempt.refuse = 2
    fails(attempt.accept, "refused: 2")
    again = host.accept()
    assert told(again, peer.OPEN) == at() and again.session_id != server.session_id
    again.send(peer.OPENED, at()[1:])
    closed(again, wish.near)


@pytest.mark.parametrize("received", [0, 99])
def test_a_count_that_cannot_be_ends_the_session(host: Host, received: int) -> None:
    server, wish = host.opened()
    server.received = received  # the client sent 1, which was acknowledged
    reset(server.sock)
    attempt = host.arrival()
    fails(attempt.accept, "the session is over")
    assert attempt.over and attempt.j == 1 and wish.end().lost


def test_the_first_ack_does_not_cover_what_a_lost_reset_drops(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    server, wish = host.opened()
    receiving = host.tunnel(server).inbound.receiving
    while not receiving.held:
        server.send(peer.DATA, bytes(65_536))
        answered(server)
    sent, queued = server.sent, Blocked(monkeypatch, Outbound, "_reset")
    queued.go.set()
    wish.near.close()
    queued.entered.get(timeout=BOUND)
    for _ in range(2):  # lost, and lost again
        reset(server.sock)
        server = host.accept()
        assert server.acked < sent
    assert until(server, peer.RESET) == b"\1" and server.acked < sent
    server.send(peer.RESET, b"\1")
    until_acked(server)
