"""Tunnel: what streams carry, both ways at once, whole, and how their two directions end; over real servers."""

from __future__ import annotations

import hashlib
import os
import socket
import threading

import pytest
from far import Far
from held import pair
from links import Threads
from loopback import read_exactly, reset
from pools import WatchedPool, burst
from world import BOUND, Opened, World, echo, read_all, write_until_broken

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import EncryptType, Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session.streams import Ending, Stream

MIB = 1 << 20


# -- all of it, in both directions ------------------------------------------------------------------------------------

SIZES = (0, 1, 2, 16_383, 16_384, 16_385, 65_511, 65_512, 65_513, 65_535, 65_536, 65_537, 131_072, 300_001)


def test_payloads_of_all_sizes_one_after_another() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        for size in SIZES:
            data = os.urandom(size)
            opened = Opened(pool, port)
            assert opened.ask(data) == data and opened.clean, size
        pool.idle()
        assert pool.made == 1


@pytest.mark.parametrize("encrypt_type", EncryptType)
@pytest.mark.parametrize("window", [limits.WINDOW_MIN, limits.WINDOW])
def test_both_directions_at_once(encrypt_type: EncryptType, window: int) -> None:
    up, down = os.urandom(8 * MIB), os.urandom(8 * MIB)
    with World(encrypt_type=encrypt_type, window=window) as world, Threads() as threads:
        opened, far = Far(world).open(world.pool(window=window))
        got: dict[str, bytes] = {}
        threads.start(lambda: (far.sendall(down), far.shutdown(socket.SHUT_WR)))
        threads.start(lambda: got.update(up=read_all(far)))
        assert opened.ask(up) == down
        threads.join()
        assert got["up"] == up and opened.clean


def test_single_bytes() -> None:
    data = os.urandom(3_000)
    with World() as world:
        opened, far = Far(world).open(world.pool())
        for at in range(len(data)):
            opened.near.send(data[at : at + 1])
        assert read_exactly(far, len(data)) == data
        for at in range(len(data)):
            far.send(data[at : at + 1])
        assert read_exactly(opened.near, len(data)) == data


def test_each_byte_is_answered_before_the_next() -> None:
    with World() as world:
        opened = Opened(world.pool(), world.target(echo))
        for n in range(500):
            opened.near.send(bytes([n % 256]))
            assert opened.near.recv(2) == bytes([n % 256])


@pytest.mark.parametrize("slice_", [1, 7, 1_000])
def test_a_way_that_hands_on_small_slices(slice_: int) -> None:
    data = os.urandom(30_000 if slice_ < 100 else MIB)
    with World(proxy=True) as world:
        world.proxy.slices(slice_)
        opened = Opened(world.pool(), world.target(echo))
        assert opened.ask(data) == data and opened.clean


def test_refreshes_on_the_way() -> None:
    """Each block wears out a key; how many go by during one refresh is for the scheduler to say."""
    with World(refresh=RefreshPolicy(volume=128 * 1024)) as world:
        opened = Opened(world.pool(), world.target(echo))
        for _ in range(1_000):
            block = os.urandom(200 * 1024)
            opened.near.sendall(block)  # less than the window
            assert read_exactly(opened.near, len(block)) == block
            if world.entry.tunnel.refreshes > 10:
                break
        assert world.entry.tunnel.refreshes > 10
        assert opened.ask(b"") == b"" and opened.clean


def test_stalls_lose_nothing() -> None:
    """A stall is no loss: the same connection goes on."""
    data = os.urandom(16 * MIB)
    with World(proxy=True) as world, Threads() as threads:
        proxy, opened = world.proxy, Opened(world.pool(), world.target(echo))

        def disturb() -> None:
            for n in range(1, 12):
                proxy.wait(lambda n=n: proxy.bytes_down > n * MIB, BOUND)
                proxy.stall()
                proxy.slices((None, 999, 65_536)[n % 3])
                proxy.unstall()

        threads.start(disturb)
        assert opened.ask(data) == data and opened.clean
        threads.join()
        assert proxy.connections == 1


# -- sides that do not read -------------------------------------------------------------------------------------------


def write_until_full(sock: socket.socket, digest) -> int:
    """Writes until nothing is taken for a while; how much was."""
    sock.settimeout(0.3)
    sent, block = 0, os.urandom(65_536)
    try:
        while True:
            n = sock.send(block)
            digest.update(block[:n])
            sent += n
    except TimeoutError:
        sock.settimeout(BOUND)
        return sent


def test_two_sides_that_only_write() -> None:
    """Each direction fills up to its window, and neither stalls the other; then all of it arrives."""
    window = MIB
    with World(window=window) as world, Threads() as threads:
        opened, far = Far(world).open(world.pool(window=window))
        digests = [hashlib.sha256(), hashlib.sha256()]
        sent: dict[int, int] = {}
        writers = [
            threads.start(lambda: sent.update({0: write_until_full(opened.near, digests[0])})),
            threads.start(lambda: sent.update({1: write_until_full(far, digests[1])})),
        ]
        for writer in writers:
            writer.join(BOUND)
        assert all(window <= n < window + 32 * MIB for n in sent.values()), "bounded by the window and two kernels"
        for sock, digest, size in ((far, digests[0], sent[0]), (opened.near, digests[1], sent[1])):
            assert hashlib.sha256(read_exactly(sock, size)).digest() == digest.digest()


def test_a_direction_that_nobody_reads_does_not_stall_the_other() -> None:
    with World(window=MIB) as world:
        opened, far = Far(world).open(world.pool(window=MIB))
        write_until_full(opened.near, hashlib.sha256())  # the target does not read
        data = os.urandom(8 * MIB)
        threading.Thread(target=far.sendall, args=(data,), daemon=True).start()
        assert read_exactly(opened.near, len(data)) == data


def test_two_sides_that_only_read() -> None:
    with World(heartbeat=5) as world:
        opened, far = Far(world).open(world.pool())
        for sock in (opened.near, far):
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(BOUND)
        opened.near.sendall(b"at last")
        assert read_exactly(far, 7) == b"at last"


# -- how directions end -----------------------------------------------------------------------------------------------

BEFORE = pytest.mark.parametrize("size", [0, 1, 200_000])


@BEFORE
def test_the_local_side_ends_first(size: int) -> None:
    with World() as world:
        opened, far = Far(world).open(world.pool())
        data = os.urandom(size)
        opened.near.sendall(data)
        opened.near.shutdown(socket.SHUT_WR)
        assert read_all(far) == data
        far.sendall(data * 2)
        assert read_exactly(opened.near, 2 * size) == data * 2
        far.close()
        assert opened.near.recv(1) == b"" and opened.clean


@BEFORE
def test_the_target_ends_first(size: int) -> None:
    with World() as world:
        opened, far = Far(world).open(world.pool())
        data = os.urandom(size)
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        assert read_all(opened.near) == data
        opened.near.sendall(data * 2)
        assert read_exactly(far, 2 * size) == data * 2
        opened.near.close()
        assert far.recv(1) == b"" and opened.clean


def test_the_target_is_reset() -> None:
    with World() as world:
        pool = WatchedPool(world)
        opened, far = Far(world).open(pool)
        opened.near.sendall(b"x")
        assert far.recv(1) == b"x"
        reset(far)
        assert opened.end().ending is Ending.RESET_THERE
        pool.idle()  # the session goes on
        assert Opened(pool, world.target(echo)).ask(b"y") == b"y" and pool.made == 1


def test_the_local_side_is_reset() -> None:
    with World() as world:
        pool = WatchedPool(world)
        (near, local), over, far = pair(), threading.Event(), Far(world)
        ended: list[Stream] = []
        pool.open(Target(Kind.TCP, "127.0.0.1", far.port), local, lambda stream: (ended.append(stream), over.set()))
        sock = far.accept()
        near.sendall(b"x")
        assert sock.recv(1) == b"x"
        reset(near)
        assert over.wait(BOUND) and ended[0].ending is Ending.RESET_HERE
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        pool.idle()
        assert Opened(pool, world.target(echo)).ask(b"y") == b"y" and pool.made == 1


@pytest.mark.parametrize("who", ["local", "target"])
def test_a_close_amid_a_transfer(who: str) -> None:
    """What the other side still sends ends abruptly there, and the session carries the next stream."""
    with World() as world, Threads() as threads:
        pool = WatchedPool(world)
        opened, far = Far(world).open(pool)
        closes, writes = (opened.near, far) if who == "local" else (far, opened.near)
        failed = threading.Event()

        threads.start(write_until_broken, writes, failed)
        read_exactly(closes, 3 * MIB)
        closes.close()
        assert failed.wait(BOUND)
        writes.close()
        assert opened.end().ending is not Ending.CLEAN
        pool.idle()
        assert Opened(pool, world.target(echo)).ask(b"y") == b"y" and pool.made == 1


# -- nothing is left --------------------------------------------------------------------------------------------------


def left() -> tuple[int, set[threading.Thread]]:
    """Descriptors and threads."""
    return len(os.listdir("/proc/self/fd")), set(threading.enumerate())


def nothing_more_than(before: tuple[int, set[threading.Thread]]) -> bool:
    """The target's threads may take a moment to close their sockets."""
    return any(left()[0] <= before[0] or os.sched_yield() for _ in range(10_000))


def test_of_many_short_streams_nothing_is_left() -> None:
    with World() as world:
        pool, port = WatchedPool(world), world.target(echo)
        burst(pool, port, 1)
        entry, before = world.entry, left()
        for _ in range(300):
            assert burst(pool, port, 1) == [b"question 0"]
        for _ in range(4):
            assert burst(pool, port, 50) == [b"question %d" % n for n in range(50)]
        client, server = pool.session.tunnel, entry.tunnel
        while server.load:
            os.sched_yield()
        assert client.load == server.load == client.inbound.delivery.held == server.inbound.delivery.held == 0
        assert pool.made == 1 and nothing_more_than(before)


def test_nothing_is_left_of_sessions() -> None:
    with World() as world:
        port = world.target(echo)
        for n in range(30):
            pool = WatchedPool(world)
            assert burst(pool, port, 3) == [b"question 0", b"question 1", b"question 2"]
            pool.close(BOUND)
            assert pool.alive == 0 and world.registry.wait_empty(lambda _: True, BOUND)
            if n == 2:
                before = left()
        for thread in left()[1] - before[1]:
            thread.join(BOUND)
        assert nothing_more_than(before)
