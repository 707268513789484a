"""The fault proxy on plain TCP: what passes, and each way to cut. A test holds both ends, so it needs few threads."""

import contextlib
import hashlib
import os
import random
import socket
import threading
from collections.abc import Iterator

import pytest
from faultproxy import Cut, FaultProxy
from loopback import (
    BOUND,
    SILENCE,
    Ends,
    dial_tcp,
    goes_through,
    read_all,
    read_exactly,
    reset,
    unused_port,
    was_reset,
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        sock.settimeout(BOUND)
        yield sock


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[FaultProxy]:
    with FaultProxy(listener.getsockname()) as made:
        yield made


# Without faults


def test_20_megabytes_both_ways_at_once(proxy: FaultProxy, listener: socket.socket) -> None:
    size, sums = 20 << 20, {}

    def send(sock: socket.socket, seed: int) -> None:
        data = random.Random(seed).randbytes(size)
        sums["sent", seed] = hashlib.sha256(data).digest()
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def receive(sock: socket.socket, seed: int) -> None:
        sums["got", seed] = hashlib.sha256(read_all(sock)).digest()

    with Ends(proxy.port, listener) as ends:
        work = [(send, ends.client, 1), (receive, ends.server, 1), (send, ends.server, 2), (receive, ends.client, 2)]
        threads = [threading.Thread(target=target, args=args) for target, *args in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sums["sent", 1] == sums["got", 1] and sums["sent", 2] == sums["got", 2]
    assert (proxy.bytes_up, proxy.bytes_down) == (size, size)
    assert proxy.wait(lambda: proxy.live == 0)


def test_ends_pass_as_they_are(proxy: FaultProxy, listener: socket.socket) -> None:
    for turn in (1, -1):
        with Ends(proxy.port, listener) as ends:
            one, other = ends.both()[::turn]
            one.sendall(b"last words")
            one.shutdown(socket.SHUT_WR)
            assert read_all(other) == b"last words"
            other.sendall(b"answer")
            assert read_exactly(one, 6) == b"answer"
            reset(other)
            assert was_reset(one)
    assert proxy.wait(lambda: proxy.live == 0)


def test_an_upstream_that_is_down_is_a_reset() -> None:
    with FaultProxy(("127.0.0.1", unused_port())) as proxy:
        with pytest.raises(ConnectionResetError), dial_tcp(proxy.port) as client:  # perhaps while it connects
            client.recv(1)
        assert proxy.wait(lambda: proxy.connections == 1 and proxy.live == 0)


def test_connections_are_counted_and_can_be_waited_for(proxy: FaultProxy, listener: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        proxy.wait_connections(1, SILENCE)
    threads = [threading.Thread(target=lambda: dial_tcp(proxy.port).close()) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert proxy.wait_connections(20)
    for thread in threads:
        thread.join()
    assert proxy.connections == 20


def test_the_first_bytes_are_recorded_and_can_be_replayed(listener: socket.socket) -> None:
    with FaultProxy(listener.getsockname(), keep=1000) as proxy:
        up, down = os.urandom(3000), os.urandom(999)
        with Ends(proxy.port, listener) as ends, Ends(proxy.port, listener) as other:
            for source, sink, data in ((ends.client, ends.server, up), (ends.server, ends.client, down)):
                source.sendall(data)
                assert read_exactly(sink, len(data)) == data
            assert goes_through(other)
            assert bytes(proxy.recorded[0].up) == up[:1000]
            assert bytes(proxy.recorded[0].down) == down
            assert proxy.recorded[1].up == proxy.recorded[1].down == b"ping"
            with Ends(proxy.port, listener) as replay:
                replay.client.sendall(proxy.recorded[0].up)
                assert read_exactly(replay.server, 1000) == up[:1000]


# cut, cut_after, plan


def test_a_cut_resets_both_ends(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as one, Ends(proxy.port, listener) as two:
        assert goes_through(one) and proxy.live == 2
        assert proxy.cut() == 2 and proxy.live == 0
        assert all(was_reset(sock) for sock in (*one.both(), *two.both()))
    with Ends(proxy.port, listener) as three:
        assert goes_through(three) and proxy.cut() == 1


def test_a_cut_with_a_fin_is_no_reset_even_for_one_that_goes_on_sending(
    proxy: FaultProxy, listener: socket.socket
) -> None:
    with Ends(proxy.port, listener) as ends:
        proxy.stall()
        ends.client.sendall(b"never read by the proxy")
        assert proxy.cut(rst=False) == 1 and proxy.live == 0 and proxy.cut(rst=False) == 0
        for sock in ends.both():
            sock.sendall(bytes(1 << 20))
            assert read_all(sock) == b""
            sock.sendall(bytes(32 << 20))
            sock.shutdown(socket.SHUT_WR)
    proxy.unstall()
    with Ends(proxy.port, listener) as ends:
        assert goes_through(ends)


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("after", [0, 1, 1000, 300_000])
def test_cut_after_is_exact(proxy: FaultProxy, listener: socket.socket, after: int, direction: str) -> None:
    proxy.cut_after(after, direction, rst=False)
    for expected in (after, 400_000):  # it is armed for one connection only
        with Ends(proxy.port, listener) as ends:
            source, sink = ends.both()[:: 1 if direction == "up" else -1]
            source.sendall(data := os.urandom(400_000))
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_WR)
            assert read_all(sink) == data[:expected]


def test_cut_after_nothing_is_at_once(proxy: FaultProxy) -> None:
    proxy.cut_after(0, rst=False)
    with dial_tcp(proxy.port) as client:
        assert client.recv(1) == b""


def test_cut_after_with_a_reset_on_each_connection_until_disarmed(proxy: FaultProxy, listener: socket.socket) -> None:
    proxy.cut_after(10, "down", which="each")
    for _ in range(3):
        with Ends(proxy.port, listener) as ends:
            ends.server.sendall(b"123456789")
            assert read_exactly(ends.client, 9) == b"123456789"
            ends.server.sendall(b"ab")
            assert was_reset(ends.server)
            with contextlib.suppress(ConnectionResetError):
                assert ends.client.recv(10) == b"a"
                assert was_reset(ends.client)
    with Ends(proxy.port, listener) as ends:
        proxy.disarm()
        assert goes_through(ends) and goes_through(ends) and goes_through(ends)


def test_cut_after_on_live_connections_counts_from_now(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as ends:
        assert goes_through(ends)
        proxy.cut_after(3, "up", rst=False, which="live")
        ends.client.sendall(b"12345")
        assert read_all(ends.server) == b"123"


def test_thousands_of_cuts_can_be_planned(listener: socket.socket) -> None:
    count, chance, planned = 1000, random.Random(7), []

    def plan(number: int) -> list[Cut]:
        assert number == len(planned)
        planned.append(Cut(chance.randrange(1, 5000), chance.choice(["up", "down"]), rst=chance.random() < 0.5))
        return planned[-1:]

    with FaultProxy(listener.getsockname(), plan) as proxy:
        for number in range(count):
            with Ends(proxy.port, listener) as ends:
                cut = planned[number]
                source, sink = ends.both()[:: 1 if cut.direction == "up" else -1]
                source.sendall(bytes(cut.after + 1))
                if cut.rst:
                    assert was_reset(source)
                else:
                    assert len(read_all(sink)) == cut.after
        assert (proxy.connections, len(proxy.recorded)) == (count, count)
        assert proxy.bytes_up == sum(cut.after for cut in planned if cut.direction == "up")
        assert proxy.bytes_down == sum(cut.after for cut in planned if cut.direction == "down")
