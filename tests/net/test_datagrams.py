"""Sockets of datagrams: connected to the first place with a way, and to nobody else."""

from __future__ import annotations

import errno
import socket
import sys

import datagramming
import pytest
from ready import readable

from nitrosocks_lib.net.datagrams import associate, give
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

    class Picked(socket.socket):
        def connect(self, address: object) -> None:
            self.bind(("127.0.0.1", port))
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Picked)
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
