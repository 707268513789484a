"""Sockets of datagrams: connected to the first place with a way, and to nobody else."""

from __future__ import annotations

import errno
import socket
import sys

import datagramming
import pytest
from ready import readable

from nitrosocks_lib.net.datagrams import Searching, associate, give
from nitrosocks_lib.net.race import Connected, Place

BOUND = 20.0
target = datagramming.target


def place(target: socket.socket) -> Place:
    return socket.AF_INET, target.getsockname()


def test_it_sends_to_one_address_and_takes_from_that_alone(target: socket.socket) -> None:
    made = associate([place(target)], sys.maxsize)
    assert isinstance(made, Connected) and made.place == place(target)
    with made.sock as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        assert not sock.getblocking()
        sock.send(b"asked")
        asked, asker = target.recvfrom(100)
        stranger.sendto(b"forged", asker)
        target.sendto(b"answer", asker)
        sock.settimeout(BOUND)
        assert (asked, sock.recv(100)) == (b"asked", b"answer")


def test_a_place_without_a_way_gives_way_to_the_next(target: socket.socket) -> None:
    nowhere: Place = (socket.AF_INET, ("255.255.255.255", 7))  # needs a broadcasting socket
    made = associate([nowhere, place(target)], sys.maxsize)
    assert isinstance(made, Connected) and made.place == place(target)
    made.sock.close()
    failed = associate([nowhere], sys.maxsize)
    assert isinstance(failed, list) and [error.errno for error in failed] == [errno.EACCES]


def test_beyond_its_descriptors_there_is_none(target: socket.socket) -> None:
    failed = associate([place(target)], 3)
    assert isinstance(failed, list) and [error.errno for error in failed] == [errno.EMFILE]


def test_it_does_not_talk_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel may pick the target's port for the socket, where nobody has that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def connect(sock: Searching, address: tuple[str, int]) -> None:
        sock.bind(("127.0.0.1", port))
        socket.socket.connect(sock, address)

    monkeypatch.setattr(Searching, "connect", connect)
    failed = associate([(socket.AF_INET, ("127.0.0.1", port))], sys.maxsize)
    assert isinstance(failed, list) and [error.errno for error in failed] == [errno.ECONNREFUSED]


def test_what_became_of_an_earlier_one_does_not_lose_the_next(target: socket.socket) -> None:
    made = associate([place(target)], sys.maxsize)
    assert isinstance(made, Connected)
    with made.sock as sock:
        at = target.getsockname()
        target.close()
        give(sock, b"to nobody")
        assert readable(sock, BOUND)  # the kernel has told it so
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(at)
            again.settimeout(BOUND)
            give(sock, b"to somebody")
            give(sock, bytes(1 << 17))  # is dropped
            give(sock, b"and on")
            assert [again.recv(100), again.recv(100)] == [b"to somebody", b"and on"]


# -- several addresses ------------------------------------------------------------------------------------------------


def nobody(family: socket.AddressFamily, host: str) -> Place:
    """Where nobody listens; the port is free for a moment."""
    with socket.socket(family, socket.SOCK_DGRAM) as free:
        free.bind((host, 0))
        return family, free.getsockname()


def hears(sock: socket.socket) -> bytes:
    """The next one, or nothing where the socket was only told that nobody listens."""
    assert readable(sock, BOUND)
    buffer = bytearray(100)
    try:
        return bytes(buffer[: sock.recv_into(buffer)])
    except OSError:
        return b""


V4, V6 = (socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")


@pytest.mark.parametrize("first", [[V6], [V4], [V4, V6], [V6, V4]], ids=str)
@pytest.mark.parametrize("by", ["the reader", "the sender"])
def test_where_nobody_listens_the_next_address_gets_it(target: socket.socket, first: list, by: str) -> None:
    made = associate([*(nobody(*each) for each in first), place(target)], sys.maxsize)
    assert isinstance(made, Connected)
    with made.sock as sock:
        give(sock, b"asked")
        for _ in first:
            assert readable(sock, BOUND)  # the kernel has told it so
            if by == "the reader":
                assert hears(sock) == b""
            else:
                give(sock, b"asked")
        asked, asker = target.recvfrom(100)
        target.sendto(b"answer", asker)
        assert (asked, hears(sock)) == (b"asked", b"answer")


def test_who_has_answered_is_not_left(target: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(BOUND)
        made = associate([place(target), place(other)], sys.maxsize)
        assert isinstance(made, Connected)
        with made.sock as sock:
            give(sock, b"asked")
            target.sendto(b"answer", target.recvfrom(100)[1])
            assert hears(sock) == b"answer"
            target.close()
            give(sock, b"again")
            assert hears(sock) == b""
            other.sendto(b"me", sock.getsockname())  # from where it is not connected to
            give(sock, b"and again")
            assert hears(sock) == b""


def test_where_nobody_listens_at_all_each_gets_it_once() -> None:
    places = [nobody(socket.AF_INET, host) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")]
    made = associate(places, sys.maxsize)
    assert isinstance(made, Connected)
    with made.sock as sock:
        for _ in range(2):
            give(sock, b"asked")
            for _ in places:
                assert hears(sock) == b""
            assert not readable(sock, 0)
