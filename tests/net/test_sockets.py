"""What a kernel tells of a socket that is not TLS."""

from __future__ import annotations

import socket
import sys

import pytest
from held import pair
from loopback import read_exactly, reset

from nitrosocks_lib.net import sockets
from nitrosocks_lib.net.sockets import unread

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@linux
@pytest.mark.parametrize("tcp", [True, False])
def test_what_the_other_end_has_not_taken(tcp: bool) -> None:
    near, far = pair(tcp, 4_608)
    with near, far:
        assert unread(far) == 0
        far.setblocking(False)
        sent = 0
        with pytest.raises(BlockingIOError):
            while True:
                sent += far.send(bytes(1_000))
        before = unread(far)
        assert before > 0
        read_exactly(near, sent)
        for _ in range(10_000):
            if not unread(far):
                break
        assert unread(far) == 0


@linux
@pytest.mark.parametrize("tcp", [True, False])
def test_nothing_where_the_other_end_is_gone(tcp: bool) -> None:
    near, far = pair(tcp, 4_608)
    with far:
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                far.send(bytes(1_000))
        reset(near)
        with pytest.raises(OSError):
            while True:
                far.send(b"x")
        assert unread(far) == 0


def test_nothing_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets.sys, "platform", "freebsd14")
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"x")
        assert unread(far) == 0
