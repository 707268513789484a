"""Inbound: a RESET acts behind an END too (protocol ST5, ST6); the rest of it is in test_tunnel.py."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from far import Far
from links import Threads
from loopback import read_exactly
from pools import WatchedPool
from world import BOUND, Opened, World, echo, write_until_broken

from nitrosocks_lib.facts import limits


@pytest.mark.parametrize("who", ["local", "target"])
def test_a_reset_behind_an_end_ends_the_other_direction(who: str) -> None:
    """One side ends its direction, and goes while the other still writes: that one must hear of it."""
    with World() as world, Threads() as threads:
        pool = WatchedPool(world)
        opened, far = Far(world).open(pool)
        goes, writes = (opened.near, far) if who == "local" else (far, opened.near)
        goes.shutdown(socket.SHUT_WR)
        assert writes.recv(1) == b""
        failed = threading.Event()

        threads.start(write_until_broken, writes, failed)
        read_exactly(goes, 1 << 20)
        goes.close()
        try:
            assert failed.wait(BOUND), "bytes are taken for ever, and lead nowhere"
        finally:
            writes.close()
        assert not opened.end().ended_well
        pool.wait(lambda: pool.free == 1)
        assert Opened(pool, world.target(echo)).ask(b"y") == b"y" and pool.made == 1


@pytest.mark.parametrize("size", [1, limits.COPY_BELOW - 1, limits.COPY_BELOW, 3 << 20])
def test_what_waits_for_a_slow_reader_arrives_before_the_end(size: int) -> None:
    with World(proxy=True) as world:
        opened, far = Far(world).open(world.pool())
        data = os.urandom(size)
        sender = threading.Thread(target=lambda: (opened.near.sendall(data), opened.near.shutdown(socket.SHUT_WR)))
        sender.start()
        got = b"".join(iter(lambda: far.recv(1 + size // 50), b""))
        sender.join(BOUND)
        assert got == data
