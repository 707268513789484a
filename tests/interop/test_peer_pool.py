"""The independent peer as the server of our pool: streams, refresh and the end, over TLS.

Reconnection is in test_peer_pool_resume.py, what a peer must not do in test_peer_pool_faults.py.
"""

import os
import socket
import threading
from collections.abc import Iterator

import peer
import pytest
from meeting import (
    BOUND,
    CLOSED,
    Host,
    aborted,
    answered,
    at,
    closed,
    exactly,
    fails,
    gathered,
    gone,
    told,
    until,
    until_acked,
)
from world import read_all

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Reply


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


# Streams


@pytest.mark.parametrize("encrypt_type", [1, 2])
def test_data_of_all_sizes_both_ways(encrypt_type: int) -> None:
    with Host(receives=1 << 18, encrypt_type=encrypt_type) as host:
        server, wish = host.opened()
        assert (server.encrypt_type, server.client_window, server.offer) == (encrypt_type, 1 << 18, 6)
        for n in range(3):
            for size in (1, 65_516, 65_536):
                up, down = os.urandom(size), os.urandom(size)
                server.send(peer.DATA, down)
                wish.near.sendall(up)
                assert exactly(wish.near, size) == down and gathered(server, size) == up
            closed(server, wish.near)
            assert wish.end().ended_well and host.pool.made == 1
            if n < 2:  # the session is idle, and carries the next stream
                wish = host.wish(n)
                assert told(server, peer.OPEN) == at(n)
                server.send(peer.OPENED, at()[1:])


def test_each_direction_ends_by_itself(host: Host) -> None:
    server, wish = host.opened()
    server.send(peer.END)
    until_acked(server)
    assert read_all(wish.near) == b""
    wish.near.sendall(b"late")
    assert gathered(server, 4) == b"late"
    wish.near.close()
    assert told(server, peer.END) == b"" and wish.end().ended_well


@pytest.mark.parametrize("reply", [*Reply, 200])
def test_a_refused_stream(host: Host, reply: int) -> None:
    wish = host.wish()
    server = host.accept()
    for n in range(2):
        told(server, peer.OPEN)
        server.send(peer.REFUSED, bytes([reply]) + b"be\ncause")
        stream = wish.end()
        assert stream.refused == (reply, "because") and read_all(wish.near) == b""
        until_acked(server)
        wish = host.wish() if n == 0 else wish
    assert host.pool.made == 1 and answered(server) == []


@pytest.mark.parametrize("half", ["", "END of the server", "END of the client"])
def test_a_reset_of_the_server(host: Host, half: str) -> None:
    server, wish = host.opened()
    if half == "END of the server":
        server.send(peer.END)
        until_acked(server)
    if half == "END of the client":
        wish.near.shutdown(1)
        told(server, peer.END)
    server.send(peer.RESET, b"\3idle")
    if half != "END of the client":
        assert told(server, peer.RESET) == b"\1"
    stream = wish.end()
    assert stream.reset_in == (3, "idle") and not stream.ended_well
    until_acked(server)
    host.wish()
    assert told(server, peer.OPEN)


def test_a_reset_of_the_client_goes_out_before_the_ack_of_what_it_drops(host: Host) -> None:
    server, wish = host.opened()
    held = 0
    while not held:  # the application does not read
        server.send(peer.DATA, bytes(65_536))
        answered(server)
        held = host.tunnel(server).inbound.receiving.held
    sent = server.sent
    wish.near.close()
    assert until(server, peer.RESET) == b"\1" and server.acked < sent
    server.ack()
    for frame in [(peer.DATA, b"dropped"), (peer.RESET, b"\1")]:
        server.send(*frame)
    until_acked(server)
    assert not wish.end().ended_well
    wish = host.wish()
    assert told(server, peer.OPEN)


def test_a_server_that_never_acknowledges_closes_its_window() -> None:
    with Host(server_window=65_536) as host:
        server, wish = host.opened()
        data = os.urandom(1 << 20)
        threading.Thread(target=wish.near.sendall, args=(data,), daemon=True).start()
        got = until(server, peer.DATA)
        assert len(got) >= 32_768 and answered(server) == []
        server.send(peer.DATA, b"the other direction goes on")
        assert exactly(wish.near, 27) == b"the other direction goes on"
        server.ack()
        assert got + gathered(server, len(data) - len(got)) == data
        closed(server, wish.near)


# Refresh


def refreshed(server: peer.Server) -> None:
    """A whole refresh; nothing but ACK and PONG may come before SWITCH."""
    server.refresh()
    until(server, peer.REFRESHED)
    answered(server)
    server.answer(peer.REFRESHED, b"")


def test_refreshes(host: Host) -> None:
    server, wish = host.opened()
    tunnel = host.tunnel(server)
    for epoch in (1, 2, 3):
        before = tunnel.keyed_at
        server.send(peer.DATA, b"down")
        refreshed(server)
        wish.near.sendall(b"up")
        assert gathered(server, 2) == b"up" and exactly(wish.near, 4) == b"down"
        assert server.epoch == tunnel.keys.epoch == epoch and tunnel.keys.root == server.rk
        assert tunnel.keyed_at > before  # else it would give the connection up after 2 h
    closed(server, wish.near)


def test_no_numbered_frame_goes_out_before_switch(host: Host) -> None:
    server, wish = host.opened()
    server.refresh()
    until(server, peer.REFRESHED)
    wish.near.sendall(b"waits")
    wish.near.shutdown(1)
    for _ in range(3):
        assert set(answered(server)) <= {peer.ACK}
    server.answer(peer.REFRESHED, b"")
    assert gathered(server, 5) == b"waits" and told(server, peer.END) == b""


def test_a_wrong_switch_ends_the_connection_only(host: Host) -> None:
    server, wish = host.opened()
    server.refresh()
    until(server, peer.REFRESHED)
    server.send(peer.SWITCH, bytes(32))
    gone(server)
    again = host.accept()
    assert again.epoch == 0
    refreshed(again)
    wish.near.sendall(b"goes on")
    assert gathered(again, 7) == b"goes on"
    closed(again, wish.near)


# The end


def closing(host: Host) -> threading.Thread:
    """The pool closes meanwhile."""
    close = threading.Thread(target=host.pool.close, args=(BOUND,), daemon=True)
    close.start()
    return close


def test_a_release_in_three_ways(host: Host) -> None:
    server, wish = host.opened()
    closed(server, wish.near)
    close = closing(host)
    until(server, peer.DISCONNECT)
    server.refresh()  # this is ignored: the release goes on under the old keys
    server.release()
    fails(server.recv, "the connection ended")
    close.join(BOUND)
    assert server.over and not close.is_alive()


def test_a_release_that_nobody_answers_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.05)
    server, wish = host.opened()
    closed(server, wish.near)
    close = closing(host)
    until(server, peer.DISCONNECT)
    assert told(server, peer.ABORT)[:1] == b"\4"  # no answer
    fails(server.recv, CLOSED)
    close.join(BOUND)
    assert not close.is_alive()


def test_an_abort_of_the_server(host: Host) -> None:
    server, wish = host.opened()
    server.send(peer.ABORT, b"\2")
    gone(server)
    assert wish.end().lost == "the other side ended the session: the server stops"
    assert read_all(wish.near) == b""
    other = host.wish()
    assert told(host.accept(), peer.OPEN) and other.stream is None


def test_what_runs_ends_with_an_abort_when_the_pool_closes(host: Host) -> None:
    server, wish = host.opened()
    host.pool.close(0.0)
    assert aborted(server) == 0 and wish.end().lost


def test_a_draining_server_gets_no_new_streams(host: Host) -> None:
    server, wish = host.opened()
    server.send(peer.GOAWAY, b"\0\0\0\x1e")
    server.send(peer.DATA, b"goes on")
    assert exactly(wish.near, 7) == b"goes on"
    host.wish()
    other = host.accept()
    assert told(other, peer.OPEN)
    wish.near.shutdown(socket.SHUT_WR)
    told(server, peer.END)
    server.send(peer.END)
    while server.recv()[0] != peer.DISCONNECT:  # released as soon as it is idle
        pass
    server.release()


def test_ping_pong_and_padding(host: Host) -> None:
    server, _ = host.opened()
    for payload in (b"", b"x", b"y" * 65_536):
        server.send(peer.PAD, payload)
    for size in (8, 31, 32):
        server.send(peer.PING, b"p" * size)
        assert until(server, peer.PONG) == peer.H(b"p" * size)
    mail = host.tunnel(server).outbound.mail
    mail.ping = True
    mail.wake.set()
    server.answer(peer.PING, until(server, peer.PING))
    assert answered(server) == []
