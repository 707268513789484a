"""What a kernel tells of a socket: what the other end has not taken, and whether TCP is over."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from loopback import reset

from nitrosocks_lib.net.sockets import closed, end_with_reset, guarded, has_more, tcp_pair, unread

BOUND = 20.0
CHUNK = 1 << 16
linux = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces: Linux alone tells")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), BOUND) as near,
        listener.accept()[0] as far,
    ):
        far.settimeout(BOUND)
        yield near, far


def fill(sock: socket.socket) -> int:
    """Sends until no more is taken; how much that was."""
    sock.setblocking(False)
    size = 0
    with suppress(BlockingIOError):
        while True:
            size += sock.send(bytes(CHUNK))
    sock.settimeout(BOUND)
    return size


@linux
def test_what_does_not_fit_the_other_end_is_unread_until_it_reads(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    assert unread(near) == 0
    left = size = fill(near)
    assert 0 < unread(near) <= size
    while left:
        left -= len(far.recv(min(left, CHUNK)))
    far.sendall(b"x")  # the ACK of all that came rides with it
    assert near.recv(1) == b"x" and unread(near) == 0


def test_elsewhere_nothing_is_told(pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    near, _ = pair
    fill(near)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert unread(near) == 0


def test_a_socket_of_which_nothing_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it has no queue of this kind: EINVAL
        assert unread(listener) == 0


@linux
def test_tcp_is_over_when_both_ends_are_done(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    far.shutdown(socket.SHUT_WR)
    assert near.recv(1) == b"" and not closed(near)
    near.shutdown(socket.SHUT_WR)
    assert far.recv(1) == b"" and closed(far)


@linux
def test_a_reset_ends_tcp_though_it_was_told_before(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    reset(far)
    with pytest.raises(ConnectionResetError):
        near.recv(1)
    assert near.recv(1) == b"" and closed(near)


def test_of_unix_sockets_nothing_is_told() -> None:
    near, far = socket.socketpair()
    with near:
        far.close()
        assert not closed(near)


def test_more_is_told_and_not_taken() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert not has_more(near)
        far.send(b"x")
        assert has_more(near) and has_more(near) and near.recv(9) == b"x"
        assert not has_more(near)
        far.close()
        assert has_more(near)


def test_a_guarded_socket_is_reset_unless_it_ended_well() -> None:
    for resets in (True, False):
        near, far = tcp_pair()
        with near, far:
            far.settimeout(BOUND)
            guarded(near).sendall(b"some")
            if not resets:
                end_with_reset(near, False)
            near.close()
            assert far.recv(4) == b"some"
            if resets and sys.platform == "linux":
                with pytest.raises(ConnectionResetError):
                    far.recv(1)
            elif not resets:
                assert far.recv(1) == b""


def test_a_pair_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who is quicker gets no end of it."""
    others: list[socket.socket] = []
    connect = socket.create_connection

    def behind_another(address: tuple[str, int], timeout: float) -> socket.socket:
        others.append(connect(address, BOUND))
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", behind_another)
    near, far = tcp_pair()
    with near, far, others[0] as other:
        near.sendall(b"near")
        far.setblocking(True)
        assert far.recv(4) == b"near" and not near.getblocking()
        assert other.recv(1) == b""


def test_without_a_pair_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def elsewhere(address: tuple[str, int], timeout: float) -> socket.socket:
        """What connects to another port: so nobody comes to ours."""
        made.append(socket.socket())
        return made[0]

    monkeypatch.setattr("nitrosocks_lib.net.sockets._PAIRED", 0.01)
    monkeypatch.setattr(socket, "create_connection", elsewhere)
    with pytest.raises(OSError):
        tcp_pair()
    assert made[0].fileno() == -1
