"""A client is held to its rates, whatever its sessions and streams do; what its file says now holds for all of them."""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import replace

import pytest
from audited import told
from world import BOUND, Opened, World, read_all, write_until_broken

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.bucket import burst_of
from nitrosocks_lib.protocol.quota import Quota
from nitrosocks_lib.server.rates import Rates

RATE = 512 << 10
SIZE = 180_000  # of each of four streams: 200 KB more than a burst


def limited(world: World, quota: Quota) -> None:
    """The client's file changes, and the server looks at it."""
    (client_id,) = world.directory.known
    world.directory.known[client_id] = replace(world.directory.known[client_id], quota=quota)
    world.server.reception.rates.look()


class Counted:
    """Bytes that arrived on several sockets: at no time more than a rate gives, and a burst."""

    def __init__(self, rate: int) -> None:
        self.size = 0
        self._rate, self._began, self._lock = rate, now(), threading.Lock()

    def read_all(self, sock: socket.socket) -> int:
        size = 0
        while part := sock.recv(1 << 16):
            size += len(part)
            with self._lock:
                self.size += len(part)
                assert self.size <= self._rate * (now() - self._began) + burst_of(self._rate)
        return size


def give(sock: socket.socket) -> None:
    sock.sendall(bytes(SIZE))


def test_what_comes_from_targets_over_all_sessions_and_streams() -> None:
    with World() as world:
        limited(world, Quota(down=RATE))
        counted, port = Counted(RATE), world.target(give)
        opened = [Opened(world.pool(), port) for _ in range(2) for _ in range(2)]
        sizes = list[int]()
        threads = [threading.Thread(target=lambda one=one: sizes.append(counted.read_all(one.near))) for one in opened]
        for thread in threads:
            thread.start()
        for one in opened:
            one.near.shutdown(socket.SHUT_WR)
        for thread in threads:
            thread.join(BOUND)
        assert sizes == [SIZE] * 4 and all(one.clean for one in opened)
        assert len(world.registry) == 4


def test_what_goes_to_targets_over_all_sessions_and_streams() -> None:
    with World() as world:
        limited(world, Quota(up=RATE))
        counted = Counted(RATE)
        port = world.target(lambda sock: sock.sendall(b"%d" % counted.read_all(sock)))
        pools = [world.pool() for _ in range(2)]
        opened = [Opened(pool, port) for pool in pools for _ in range(2)]
        for one in opened:
            threading.Thread(target=one._send, args=[bytes(SIZE)], daemon=True).start()
        assert [read_all(one.near) for one in opened] == [b"%d" % SIZE] * 4
        for one in opened:
            one.near.close()
        assert all(one.clean for one in opened)


def first_window(quota: Quota) -> int:
    with World() as world:
        limited(world, quota)
        pool = world.pool()
        Opened(pool, world.target(read_all)).ask(b"x")
        (session,) = pool.sessions
        return int(session.tunnel.state.send_window)


def test_a_session_of_a_slow_client_begins_with_a_smaller_window() -> None:
    assert first_window(Quota(up=limits.RATE_LEAST)) == limits.WINDOW_MIN
    assert first_window(Quota(up=100_000)) == 100_000
    assert first_window(Quota(up=1 << 30)) == first_window(Quota()) == limits.WINDOW


@pytest.mark.parametrize("change", [Quota(), Quota(up=1 << 30, down=1 << 30)])
def test_a_changed_file_holds_for_streams_that_wait(change: Quota) -> None:
    size = burst_of(limits.RATE_LEAST) + 300_000
    with World() as world:
        limited(world, Quota(up=limits.RATE_LEAST, down=limits.RATE_LEAST))
        up = Opened(pool := world.pool(), world.target(lambda sock: sock.sendall(b"%d" % len(read_all(sock)))))
        down = Opened(pool, world.target(lambda sock: sock.sendall(bytes(size))))
        threading.Thread(target=up._send, args=[bytes(size)], daemon=True).start()
        assert down.near.recv(1 << 16)
        limited(world, change)
        down.near.shutdown(socket.SHUT_WR)
        assert len(read_all(down.near)) > size - (1 << 16)
        assert read_all(up.near) == b"%d" % size


def test_a_limit_that_comes_later_holds_a_stream_that_is_there(caplog: pytest.LogCaptureFixture) -> None:
    broken = threading.Event()
    with caplog.at_level(logging.INFO), World() as world:
        opened = Opened(world.pool(), world.target(lambda sock: write_until_broken(sock, broken)))
        assert opened.near.recv(1 << 16)
        began = now()
        limited(world, Quota(down=limits.RATE_LEAST))
        (stream,) = world.entry.tunnel.state.streams.all()
        before = stream.sent
        while not told(caplog.records, "client-held"):
            assert opened.near.recv(1 << 16)
        under_way = limits.DATA_SIZE
        allowed = burst_of(limits.RATE_LEAST) + under_way
        assert stream.sent - before <= allowed + limits.RATE_LEAST * (now() - began)
        opened.near.close()
        assert broken.wait(BOUND)


# -- Rates -------------------------------------------------------------------------------------------------------------


def rates_of(world: World) -> tuple[Rates, bytes]:
    (client_id,) = world.directory.known
    return world.server.reception.rates, client_id


def test_a_new_session_fills_no_bucket_and_a_client_that_is_gone_is_forgotten() -> None:
    with World() as world:
        limited(world, Quota(up=1_000_000))
        rates, client_id = rates_of(world)
        both = rates.of(client_id)
        assert rates.of(client_id) is both and both[0].rate == 1_000_000 and not both[1].limited
        world.directory.faulty = {**world.directory.known}
        world.directory.known = {}
        rates.look()
        assert rates.of(client_id) is both and both[0].limited  # a slip of the pen changes nothing
        world.directory.faulty = {}
        rates.look()
        assert rates.of(client_id) is not both and not rates.of(client_id)[0].limited


def test_the_log_says_with_v_that_a_client_is_held_and_not_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), World() as world:
        limited(world, Quota(down=limits.RATE_LEAST))
        opened = Opened(world.pool(), world.target(lambda sock: sock.sendall(bytes(1 << 20))))
        got = 0
        while got <= burst_of(limits.RATE_LEAST):  # behind the burst it had to wait
            got += len(opened.near.recv(1 << 16))
    (event,) = told(caplog.records, "client-held")
    assert event == {"client": "alice", "direction": "from targets", "rate": "1K"}
