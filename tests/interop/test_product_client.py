"""The independent peer as the server of `forward`: streams.

Refresh and the end are in test_product_client_ends.py, reconnection in test_product_client_resume.py, what a peer must
not do in test_product_client_faults.py.
"""

import os
import socket
import struct
import threading

import hosts
import peer
import pytest
import visits
from hosts import TARGET, Host, Site, ends, over
from peer_streams import BLOCK
from visits import WINDOW, exactly, fill, pour, reset, rest, synced, until, until_acked, was_reset

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
