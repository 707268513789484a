"""The independent peer as the server of `forward` and `connect`: refresh, release and the end."""

import contextlib
import signal
import socket
import struct
import threading

import hosts
import peer
import pytest
from hosts import TARGET, Host, Site, ends, over
from peer_judge import PeerError
from peer_streams import at
from visits import BOUND, exactly, fails, gone, until

hosting, alone = hosts.hosting, hosts.alone


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


class Gathered:
    """In place of a socket: what is written in a block leaves in one piece."""

    def __init__(self, server) -> None:
        self._server, self._data, self.sock = server, b"", server.sock
        self.recv, self.close = server.sock.recv, server.sock.close

    def sendall(self, data: bytes) -> None:
        self._data += data

    def __enter__(self) -> None:
        self._server.sock = self

    def __exit__(self, *_: object) -> None:
        self._server.sock = self.sock
        self.sock.sendall(self._data)


def test_a_refresh_right_behind_another(hosting: Host) -> None:
    """SWITCH and the next REFRESH arrive together, amid an upload; the judge sees that nothing numbered comes amiss."""
    server, number, app = hosting.opened()
    stop = threading.Event()

    def upload() -> None:
        with contextlib.suppress(OSError):  # of the reset at the end
            while not stop.is_set():
                app.sendall(bytes(1000))

    sender = threading.Thread(target=upload, daemon=True)
    sender.start()
    server.refresh()
    for _ in range(200):
        while (frame := server.recv())[0] != peer.REFRESHED:
            if frame[0] == peer.DATA:
                server.grant(number)
        with Gathered(server):
            server.answer(*frame)
            server.refresh()
    stop.set()
    server.read(lambda: not server.secret and not server.next_rk)
    server.grant(number)
    server.reset(number)
    sender.join(BOUND)


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
    server.send(peer.PING, bytes(8))  # when it is answered, the stream is over for the client, too
    while server.recv()[0] != peer.PONG:
        pass
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
        with contextlib.suppress(PeerError):
            while server.recv()[0] != peer.DISCONNECT:
                pass
            server.release()
        assert process.wait() == 255
