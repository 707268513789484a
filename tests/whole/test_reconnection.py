"""Sessions outlive their connections (protocol 3.5): nothing lost, nothing doubled, whatever is cut and where."""

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from loopback import dial, is_silent, pem, reset
from pools import WatchedPool
from world import BOUND, Opened, World, echo, read_all

from nitrosocks_lib.demo.interceptor import Interceptor
from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session.liveness import Liveness
from nitrosocks_lib.session.streams import Ending
from nitrosocks_lib.session.tunnel import Tunnel

MANY = 60


def begin(world: World, pool=None) -> Opened:
    """A stream to an echo target that has carried one byte each way."""
    opened = Opened(pool or world.pool(), world.target(echo))
    ping(opened, b"a")
    return opened


def ping(opened: Opened, data: bytes) -> None:
    """`data` there and back."""
    opened.near.sendall(data)
    got = b""
    while len(got) < len(data):
        part = opened.near.recv(1 << 16)
        assert part, "the stream ended early"
        got += part
    assert got == data


@pytest.mark.parametrize("rst", [True, False])
def test_cut_connections_lose_nothing(rst: bool) -> None:
    with World(proxy=True) as world:
        stop = threading.Event()

        def cut() -> None:
            for n in range(1, 30):
                world.proxy.wait(lambda n=n: stop.is_set() or world.proxy.bytes_down > n << 20, BOUND)
                if stop.is_set():
                    return
                world.proxy.cut(rst)

        worker = threading.Thread(target=cut, daemon=True)
        worker.start()
        data = os.urandom(32 << 20)
        opened = Opened(world.pool(), world.target(echo))
        assert opened.ask(data) == data
        stop.set()
        assert opened.clean
        assert world.proxy.connections > 5


def test_many_reconnections_leave_nothing_behind() -> None:
    with World(proxy=True) as world:
        opened = begin(world)
        threads = threading.active_count()
        for n in range(1, MANY):
            world.proxy.cut()
            ping(opened, n.to_bytes(2, "big"))
        assert world.proxy.connections >= MANY
        assert threading.active_count() <= threads + 2  # the last pair may not have gone yet
        assert len(world.registry) == 1


def test_one_byte_slices() -> None:
    with World(proxy=True) as world:
        world.proxy.slices(1)
        opened = begin(world)
        world.proxy.cut()
        ping(opened, os.urandom(3_000))


def test_a_dropped_recovered_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIAL", 1.0)
    with World(proxy=True) as world:
        opened = begin(world)
        world.proxy.hold_answers(2_200)  # TLS passes, RECOVERED does not
        world.proxy.cut()
        assert world.proxy.wait_connections(3, BOUND)
        world.proxy.hold_answers(None)
        ping(opened, b"still here")


def test_a_silent_network_is_noticed() -> None:
    with World(proxy=True, heartbeat=5) as world:
        pool = world.pool()
        opened = begin(world, pool)
        (session,) = pool.sessions
        world.proxy.blackhole()
        opened.near.sendall(b"x" * 1_000)
        look_until_lost(session.tunnel)
        world.proxy.restore()
        got = b""
        while len(got) < 1_000:
            got += opened.near.recv(1_000)
        assert got == b"x" * 1_000


def look_until_lost(tunnel: Tunnel) -> None:
    """Time passes for the liveness of this session alone: three silent periods."""
    watch = Liveness(tunnel.state)
    at = tunnel.state.last_heard
    for _ in range(4):
        at += 7.0
        watch._look(at)
    watch.stop()


def test_a_replayed_resume_changes_nothing(tmp_path: Path) -> None:
    """A box that ends TLS replays what it read: the nonce was seen, so nobody answers and nothing moves."""
    with World() as world:
        box = Interceptor(("127.0.0.1", world.port), *pem("box"), recording=tmp_path)
        box.start()
        world.callback(box.stop)
        opened = begin(world, world.pool(port=box.port))
        box.cut()
        ping(opened, b"after the cut")
        resume = (tmp_path / "connection-2.up").read_bytes()
        with dial(world.port) as tls:
            tls.sendall(resume)
            assert is_silent(tls)
        ping(opened, b"not disturbed")


def test_the_server_forgets_a_session_that_is_not_resumed(caplog: pytest.LogCaptureFixture) -> None:
    with World(proxy=True, resume=0) as world, caplog.at_level(logging.WARNING):
        pool = world.pool()
        opened = begin(world, pool)
        pool.sessions[0].tunnel.state.terms.resume = 60  # else it would give up by itself
        world.proxy.refuse(True)
        world.proxy.cut()
        assert world.registry.wait_empty(lambda _: True, BOUND)
        world.proxy.refuse(False)
        with pytest.raises(ConnectionError):
            while True:
                if not opened.near.recv(1):
                    raise ConnectionResetError
        assert opened.end().ending is Ending.LOST and "no longer knows the session" in opened.end().reason


def test_a_restarted_server_is_used_again() -> None:
    with World() as world:
        pool = world.pool()
        pool.start()
        first = begin(world, pool)
        port = world.port
        world.server.stop()
        assert first.end().ending is Ending.LOST
        world.start(port)
        ping(begin(world, pool), b"new ones go on at once")


def test_a_local_side_that_resets_during_an_outage_ends_at_once() -> None:
    with World(proxy=True) as world:
        pool = WatchedPool(world)
        done = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            pool.open(Target(1, "127.0.0.1", world.target(echo)), listener.accept()[0], lambda _: done.set())
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        world.proxy.refuse(True)
        world.proxy.cut()
        (session,) = pool.sessions
        assert world.proxy.wait(lambda: not session.tunnel.connected, BOUND)  # it has noticed, and tries again
        reset(near)
        assert done.wait(BOUND)
        pool.wait(lambda: pool.alive == 0)


def test_a_local_side_that_hung_up_does_not_hurry_the_attempts() -> None:
    """Both directions of the local socket are shut, and poll says so at once, for ever. Its last words still go out."""
    got: queue.Queue[bytes] = queue.Queue()

    def serve(sock: socket.socket) -> None:
        sock.sendall(b"that is all")
        sock.shutdown(socket.SHUT_WR)
        got.put(read_all(sock))

    with World(proxy=True) as world:
        pool, done = world.pool(), threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname(), BOUND)
            pool.open(Target(1, "127.0.0.1", world.target(serve)), listener.accept()[0], lambda _: done.set())
        assert read_all(near) == b"that is all"
        (session,) = pool.sessions
        world.proxy.refuse(True)
        before, began = world.proxy.connections, now()
        world.proxy.cut()
        assert world.proxy.wait(lambda: not session.tunnel.connected, BOUND)
        with near:
            near.sendall(b"last words")
        assert world.proxy.wait_connections(before + 5, BOUND)
        pauses = limits.BACKOFF_FIRST * (1 + 2 + 4)
        assert now() - began >= pauses * (1 - limits.HEARTBEAT_JITTER)
        world.proxy.refuse(False)
        assert done.wait(BOUND)
        assert got.get(timeout=BOUND) == b"last words"


def test_closing_during_an_outage_is_quick() -> None:
    with World(proxy=True) as world:
        pool = world.pool()
        opened = begin(world, pool)
        world.proxy.refuse(True)
        world.proxy.cut()
        pool.close(BOUND)
        assert opened.end().ending is Ending.LOST
        assert not pool.sessions


def test_redial_moves_a_live_session() -> None:
    with World(proxy=True) as world:
        opened = begin(world, world.pool(redial=0.3))
        for connections in range(2, 6):
            assert world.proxy.wait_connections(connections, BOUND)
            ping(opened, os.urandom(100_000))


def test_a_window_full_of_data_survives() -> None:
    """Both sides have sent all they may, nobody reads, and the connection is cut."""
    with World(proxy=True, window=4 << 20) as world:
        go = threading.Event()

        def serve(sock: socket.socket) -> None:
            sender = threading.Thread(target=sock.sendall, args=(bytes(9 << 20),), daemon=True)
            sender.start()
            go.wait(BOUND)
            got = read_all(sock)
            sender.join(BOUND)
            sock.sendall(len(got).to_bytes(4, "big"))

        opened = Opened(world.pool(window=4 << 20), world.target(serve))
        sender = threading.Thread(target=opened._send, args=(bytes(9 << 20),), daemon=True)
        sender.start()
        assert world.proxy.wait(lambda: world.proxy.bytes_up > 4 << 20 and world.proxy.bytes_down > 4 << 20, BOUND)
        for _ in range(3):
            before = world.proxy.connections
            world.proxy.cut()
            assert world.proxy.wait_connections(before + 1, BOUND)
        go.set()
        answer = read_all(opened.near)
        assert len(answer) == (9 << 20) + 4
        assert int.from_bytes(answer[-4:], "big") == 9 << 20


def test_refreshes_under_traffic_and_cuts() -> None:
    with World(proxy=True, refresh=RefreshPolicy(every=limits.REFRESH, volume=64 * 1024)) as world:
        opened = begin(world)
        for _ in range(3):
            for _ in range(20):
                ping(opened, os.urandom(200_000))
            world.proxy.cut()
        (hosted,) = world.registry.all()
        assert hosted.tunnel.refreshes > 30


def test_a_short_run_of_the_long_one() -> None:
    script = Path(__file__).parents[1] / "long" / "cuts.py"
    words = ["--bytes", str(16 << 20), "--cuts", "40", "--releases", "5"]
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
