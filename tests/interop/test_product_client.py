"""The independent peer as the server of `forward` and `connect`: streams, refresh, and the end.

Reconnection is in test_product_client_resume.py, what a peer must not do in test_product_client_faults.py.
"""

import contextlib
import os
import signal
import socket
import struct
import threading

import hosts
import peer
import pytest
import visits
from hosts import TARGET, Host, Site, ends, over
from peer_judge import PeerError
from peer_streams import BLOCK, at
from visits import WINDOW, exactly, fails, fill, gone, pour, reset, rest, synced, until, until_acked, was_reset

hosting, alone = hosts.hosting, hosts.alone


# Streams


@pytest.mark.parametrize("encrypt_type", [1, 2])
def test_the_terms_and_data_of_all_sizes(tmp_path_factory: pytest.TempPathFactory, encrypt_type: int) -> None:
    with Site(tmp_path_factory.mktemp("terms")) as site, Host(site, encrypt_type=encrypt_type) as host:
        server = host.forward()
        assert (server.encrypt_type, server.client_window, server.offer) == (encrypt_type, WINDOW, 6)
        server, number, app = host.opened()
        for size in (1, 1000, BLOCK - 1, BLOCK, BLOCK + 1):
            up, down = os.urandom(size), os.urandom(size)
            pour(server, number, down)
            app.sendall(up)
            assert exactly(app, size) == down and server.gather(number, size) == up
        ends(server, number, app)


def test_streams_one_after_another_and_at_once(hosting: Host) -> None:
    for count in (1, 1, 20, 100):
        apps = {}
        for _ in range(count):
            server, number, app = hosting.opened()
            apps[number] = app
        for number, app in apps.items():
            app.sendall(struct.pack(">I", number))
            server.data(number, struct.pack(">I", number))
        for number, app in apps.items():
            assert server.gather(number, 4) == exactly(app, 4) == struct.pack(">I", number)
        for number, app in apps.items():
            ends(server, number, app)
        assert not server.alive()


def test_what_an_application_says_at_once_does_not_wait_for_the_answer(hosting: Host) -> None:
    server, number, app = hosting.asked()
    app.sendall(b"early")
    app.shutdown(socket.SHUT_WR)
    assert server.gather(number, 5) == b"early"
    server.read(lambda: peer.C2S in server.streams[number].ended)
    server.opened(number, *TARGET)
    server.data(number, b"answer")
    server.end(number)
    assert rest(app) == b"answer"


def test_early_data_waits_within_the_limit(hosting: Host) -> None:
    server, number, app = hosting.asked()
    server.starved.add(number)
    app.sendall(bytes(2 * WINDOW))
    server.read(lambda: server.streams[number].taken == WINDOW)
    assert {kind for kind, _ in synced(server)} <= {peer.ACK}
    server.opened(number, *TARGET)
    server.starved.clear()
    server.grant(number)
    server.read(lambda: server.streams[number].taken == 2 * WINDOW)
    ends(server, number, app)


def test_each_direction_ends_by_itself(hosting: Host) -> None:
    server, number, app = hosting.opened()
    server.end(number)
    assert rest(app) == b""
    app.sendall(b"late")
    assert server.gather(number, 4) == b"late"
    app.close()
    server.closed(number)
    assert server.streams[number].last == (b"", b"")


@pytest.mark.parametrize("reason", [*range(1, 9), 200])
def test_a_refused_stream(hosting: Host, reason: int) -> None:
    server, number, app = hosting.asked()
    server.refused(number, reason, "be\ncause")
    over(app)
    until_acked(server)
    assert {kind for kind, _ in synced(server)} <= {peer.ACK} and not server.over


@pytest.mark.parametrize("half", ["", "END of the server", "END of the client"])
def test_a_reset_of_the_server(hosting: Host, half: str) -> None:
    server, number, app = hosting.opened()
    if half == "END of the server":
        server.end(number)
        assert rest(app) == b""
    if half == "END of the client":
        app.shutdown(socket.SHUT_WR)
        server.read(lambda: bool(server.streams[number].ended))
    server.reset(number, 3, "idle")
    if half != "END of the server":
        assert was_reset(app)
    until_acked(server)
    assert not [frame for frame in synced(server) if frame[0] != peer.ACK]  # it says nothing more of it


def test_what_came_before_a_reset_is_delivered(hosting: Host) -> None:
    server, number, app = hosting.opened()
    server.data(number, bytes(WINDOW))
    server.reset(number)
    assert exactly(app, WINDOW) == bytes(WINDOW)
    assert was_reset(app)


@pytest.mark.parametrize("held", [False, True])
def test_a_reset_of_an_application(hosting: Host, held: bool) -> None:
    server, number, app = hosting.opened()
    if held:  # it does not read, so that something is dropped
        fill(server, number)
    reset(app)
    server.closed(number)
    assert server.streams[number].last[0] == peer.C2S and server.streams[number].last[1][0] == 1
    server.data(number, b"of what is over")
    server.end(number)
    until_acked(server)
    assert not server.over


def test_an_application_that_does_not_read_holds_up_no_other(hosting: Host) -> None:
    server, number, app = hosting.opened()
    fill(server, number)
    _, other, near = hosting.opened()
    for n in range(10):
        data = bytes([n]) * 50_000
        pour(server, other, data)
        assert exactly(near, len(data)) == data
        near.sendall(data)
        assert server.gather(other, len(data)) == data
    ends(server, other, near)
    reset(app)
    server.closed(number)


def test_an_application_that_is_not_read_holds_up_no_other(hosting: Host) -> None:
    server, number, app = hosting.opened()
    server.starved.add(number)
    app.sendall(bytes(2 * WINDOW))
    _, other, near = hosting.opened()
    near.sendall(bytes(2 * WINDOW))
    server.gather(other, 2 * WINDOW)
    assert server.streams[number].taken == WINDOW
    ends(server, other, near)
    server.reset(number)
    assert was_reset(app)


# Refresh


def refreshed(server) -> None:
    """A whole refresh; nothing numbered may come before SWITCH, as the judge sees."""
    epoch = server.epoch
    server.refresh()
    while server.recv()[0] != peer.REFRESHED:
        pass
    payload = server.heard[-1][1]
    server.send(peer.PING, bytes(8))
    while server.recv()[0] != peer.PONG:
        pass
    server.answer(peer.REFRESHED, payload)
    assert server.epoch == epoch + 1


def test_refreshes(hosting: Host) -> None:
    server, number, app = hosting.opened()
    for _ in range(3):
        server.data(number, b"down")
        app.sendall(b"up")
        refreshed(server)
        assert server.gather(number, 2) == b"up" and exactly(app, 4) == b"down"
    ends(server, number, app)


def test_no_numbered_frame_goes_out_before_switch(hosting: Host) -> None:
    """Not of a stream that is there, nor an OPEN."""
    server, number, app = hosting.opened()
    server.refresh()
    while server.recv()[0] != peer.REFRESHED:
        pass
    app.sendall(b"waits")
    app.shutdown(socket.SHUT_WR)
    other = hosting.app()
    for _ in range(5):
        server.send(peer.PING, bytes(8))
        while (kind := server.recv()[0]) != peer.PONG:
            assert kind == peer.ACK
    server.answer(peer.REFRESHED, b"")
    assert server.gather(number, 5) == b"waits"
    server.read(lambda: bool(server.streams[number].ended) and len(server.alive()) == 2)
    server.end(number)
    (newest,) = server.alive()
    server.opened(newest, *TARGET)
    ends(server, newest, other)


def test_a_wrong_switch_ends_the_connection_only(alone: Host) -> None:
    server, number, app = alone.opened()
    server.refresh()
    while server.recv()[0] != peer.REFRESHED:
        pass
    server.send(peer.SWITCH, bytes(32))
    gone(server)
    again = alone.accept()
    assert again.epoch == 0 and again.session_id == server.session_id
    refreshed(again)
    app.sendall(b"goes on")
    assert again.gather(number, 7) == b"goes on"
    ends(again, number, app)


# The end


def test_a_release_in_three_ways(alone: Host) -> None:
    server, number, app = alone.opened()
    ends(server, number, app)
    assert alone.process is not None
    alone.process.signal(signal.SIGTERM)
    while server.recv()[0] != peer.DISCONNECT:
        pass
    server.refresh()  # this is ignored: the release goes on under the old keys
    server.release()
    fails(server.recv, "the connection ended")
    assert server.over and alone.process.wait() == 0


def test_an_abort_of_the_server(alone: Host) -> None:
    server, _, app = alone.opened()
    other = alone.opened()[2]
    server.send(peer.ABORT, b"\2")
    over(app)
    over(other)
    server, number, app = alone.opened()
    assert number == 1
    ends(server, number, app)


def test_a_draining_server_gets_no_new_streams(alone: Host) -> None:
    server, number, app = alone.opened()
    server.send(peer.GOAWAY, struct.pack(">I", 30))
    server.data(number, b"goes on")
    assert exactly(app, 7) == b"goes on"
    alone.server = None  # the next stream is on a new session
    other, first, near = alone.opened()
    assert other.session_id != server.session_id and first == 1
    app.shutdown(socket.SHUT_WR)
    server.read(lambda: bool(server.streams[number].ended))
    server.end(number)
    while server.recv()[0] != peer.DISCONNECT:  # released as soon as it is idle
        pass
    server.release()
    ends(other, first, near)


def test_ping_pong_and_padding(hosting: Host) -> None:
    server = hosting.opened()[0]
    for payload in (b"", b"x", b"y" * 65_536):
        server.send(peer.PAD, payload)
    for size in (8, 31, 32):
        server.send(peer.PING, b"p" * size)
        assert until(server, peer.PONG) == peer.H(b"p" * size)
    server.send(peer.PONG, bytes(32))  # nobody asked for it
    assert {kind for kind, _ in synced(server)} <= {peer.ACK}


def test_an_upload_to_a_server_that_never_acknowledges(hosting: Host) -> None:
    server, number, app = hosting.opened()
    server.ack(struct.pack(">IQ", number, 1 << 40))
    data = os.urandom(1 << 20)
    sender = threading.Thread(target=app.sendall, args=(data,), daemon=True)
    sender.start()
    stream = server.streams[number]
    while stream.taken < len(data):  # an ACK does not matter to it within what it may keep
        server.recv()
    assert stream.got == data
    sender.join(visits.BOUND)
    server.ack()
    ends(server, number, app)


# connect


def test_connect_is_one_stream_in_one_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Site(tmp_path_factory.mktemp("connect")) as site, Host(site) as host:
        process = site.connect(host.profile, TARGET[1], TARGET[0], stdin=-1)
        server = host.accept()
        number = int.from_bytes(until(server, peer.OPEN)[:4])
        assert number == 1 and server.streams[number].named == at(*TARGET)
        process.popen.stdin.write(b"question")
        assert server.gather(number, 8) == b"question"
        server.opened(number, *TARGET)
        server.data(number, b"answer\n")
        assert process.out.wait("answer") == "answer"
        process.popen.stdin.close()
        server.read(lambda: bool(server.streams[number].ended))
        server.end(number)
        while server.recv()[0] != peer.DISCONNECT:
            pass
        server.release()
        assert process.wait() == 0


@pytest.mark.parametrize("how", ["refused", "reset"])
def test_connect_says_how_it_ended(tmp_path_factory: pytest.TempPathFactory, how: str) -> None:
    with Site(tmp_path_factory.mktemp("connect")) as site, Host(site) as host:
        process = site.connect(host.profile, TARGET[1], TARGET[0], stdin=-1)
        server = host.accept()
        until(server, peer.OPEN)
        if how == "refused":
            server.refused(1, 5, "nobody there")
        else:
            server.opened(1, *TARGET)
            server.reset(1, 4, "stopping")
        until_acked(server)
        with contextlib.suppress(PeerError):
            while server.recv()[0] != peer.DISCONNECT:
                pass
            server.release()
        assert process.wait() == 255
