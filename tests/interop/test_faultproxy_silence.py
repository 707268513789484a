"""The fault proxy on plain TCP: what it keeps to itself, and whom it does not let in."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest
from faultconnection import BUFFER, Way
from faultproxy import Cut, FaultProxy, Hold, records
from loopback import BOUND, Ends, dial_tcp, goes_through, is_silent, read_all, read_exactly, reset, was_reset


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(BOUND)
        yield sock


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[FaultProxy]:
    with FaultProxy(listener.getsockname()) as made:
        yield made


# blackhole, of live connections only


def test_a_blackhole_that_lets_new_connections_pass(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as dead:
        assert goes_through(dead)
        proxy.blackhole(new=False)
        with Ends(proxy.port, listener) as live:
            dead.client.sendall(b"into the void")
            assert goes_through(live) and is_silent(dead.server)
            assert proxy.restore() == 1 and goes_through(live)


# stall


def test_a_stall_keeps_everything_until_it_is_over(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as live:
        assert goes_through(live)
        proxy.stall()
        live.client.sendall(b"up")
        live.server.sendall(b"down")
        live.client.shutdown(socket.SHUT_WR)
        with dial_tcp(proxy.port) as later:  # a new connection is stalled, too
            later.sendall(b"later")
            assert is_silent(live.client) and is_silent(live.server)
            assert (proxy.bytes_up, proxy.bytes_down) == (4, 4)
            proxy.unstall()
            assert read_all(live.server) == b"up"
            assert read_exactly(live.client, 4) == b"down"
            with listener.accept()[0] as server:
                server.settimeout(BOUND)
                assert read_exactly(server, 5) == b"later"


def test_a_stall_stops_the_writer(proxy: FaultProxy, listener: socket.socket) -> None:
    data = os.urandom(1 << 20)
    with Ends(proxy.port, listener) as ends:
        proxy.stall()
        ends.client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 256 << 20:
                sent += ends.client.send(data[sent % len(data) :])
        assert sent < 256 << 20
        ends.client.settimeout(BOUND)
        proxy.unstall()
        got = read_exactly(ends.server, sent)
        assert got == (data * (sent // len(data) + 1))[:sent]


def test_a_stalled_connection_can_be_cut(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as ends:
        proxy.stall()
        assert proxy.cut() == 1
        assert was_reset(ends.client) and was_reset(ends.server)


# blackhole


def test_a_blackhole_swallows_everything_and_its_connections_are_dead(
    proxy: FaultProxy, listener: socket.socket
) -> None:
    with Ends(proxy.port, listener) as live, Ends(proxy.port, listener) as gone:
        assert goes_through(live)
        proxy.blackhole()
        live.client.sendall(b"never seen, but recorded")
        live.server.sendall(bytes(1 << 20))
        reset(gone.client)
        with dial_tcp(proxy.port) as later:
            later.sendall(b"hello?")
            assert is_silent(live.client) and is_silent(live.server) and is_silent(gone.server) and is_silent(later)
            assert proxy.wait(lambda: proxy.recorded[2].up == b"hello?")
            assert proxy.wait(lambda: proxy.recorded[0].up == b"pingnever seen, but recorded")
            assert (proxy.bytes_up, proxy.bytes_down) == (4, 4)
            assert proxy.restore() == 3 and proxy.live == 0
            assert all(was_reset(sock) for sock in (live.client, live.server, gone.server, later))
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.settimeout(BOUND)
    with Ends(proxy.port, listener) as ends:
        assert goes_through(ends) and proxy.restore() == 0 and goes_through(ends)


def test_the_dead_may_also_end_with_a_fin(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as ends:
        assert goes_through(ends)
        proxy.blackhole()
        with dial_tcp(proxy.port) as later:
            ends.client.sendall(b"x")
            assert proxy.wait_connections(2) and proxy.restore(rst=False) == 2
            assert read_all(ends.client) == read_all(ends.server) == read_all(later) == b""


def test_a_blackhole_swallows_from_one_that_was_stuck(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as ends:
        ends.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ends.client.send(bytes(1 << 20))  # until the server's buffers, the proxy's and its own are full
        ends.client.settimeout(BOUND)
        proxy.blackhole()
        ends.client.sendall(bytes(64 << 20))
        assert proxy.restore() == 1 and was_reset(ends.client)


# slices


def test_a_way_hands_on_slices() -> None:
    near, source = socket.socketpair()
    sink, far = socket.socketpair()
    with near, source, sink, far:
        way = Way("up", source, sink, bytearray(), 0)
        near.sendall(b"1234567")
        way.read()
        for piece in (b"123", b"456", b"7"):
            assert way.write(3, []) == len(piece)
            assert far.recv(100) == piece
        assert way.write(3, []) == 0


def test_slices_arrive_whole_and_can_be_taken_back(proxy: FaultProxy, listener: socket.socket) -> None:
    data = os.urandom(5000)
    with Ends(proxy.port, listener) as ends:
        for n in (1, 7, None):
            proxy.slices(n)
            for source, sink in (ends.both(), ends.both()[::-1]):
                source.sendall(data)
                assert read_exactly(sink, len(data)) == data


# refuse


def test_refusing_closes_new_connections_and_leaves_live_ones(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as live:
        proxy.refuse(True)
        for _ in range(3):
            with dial_tcp(proxy.port) as client:
                assert client.recv(1) == b""
        assert goes_through(live) and proxy.connections == 4 and proxy.live == 1
        proxy.refuse(False)
        with Ends(proxy.port, listener) as ends:
            assert goes_through(ends)


def test_a_proxy_that_does_not_listen_comes_back_at_its_port(proxy: FaultProxy, listener: socket.socket) -> None:
    port = proxy.port
    with Ends(proxy.port, listener) as live:
        for _ in range(2):
            proxy.refuse(True, listening=False)
            with pytest.raises(ConnectionRefusedError):
                dial_tcp(port)
        assert goes_through(live)
        proxy.refuse(False)
        assert proxy.port == port
        with Ends(port, listener) as ends:
            assert goes_through(ends)


def test_stop_resets_and_frees_the_port(listener: socket.socket) -> None:
    with FaultProxy(listener.getsockname()) as proxy, Ends(proxy.port, listener) as ends:
        assert goes_through(ends)
        proxy.stop()
        proxy.stop()
        assert was_reset(ends.client) and was_reset(ends.server)
        with pytest.raises(ConnectionRefusedError):
            dial_tcp(proxy.port)


# hold_answers


@pytest.mark.parametrize("n", [0, 1, 1000, BUFFER + 1])
def test_answers_are_held_after_n_bytes(proxy: FaultProxy, listener: socket.socket, n: int) -> None:
    data = os.urandom(n + 5000)
    proxy.hold_answers(n)
    with Ends(proxy.port, listener) as ends:
        ends.server.sendall(data)
        assert read_exactly(ends.client, n) == data[:n]
        ends.client.sendall(data)
        assert read_exactly(ends.server, len(data)) == data
        assert is_silent(ends.client) and proxy.bytes_down == n
        proxy.hold_answers(None)
        ends.server.sendall(b"after a gap nothing makes sense")
        assert is_silent(ends.client)
        ends.server.shutdown(socket.SHUT_WR)
        assert ends.client.recv(1) == b""
    with Ends(proxy.port, listener) as ends:
        assert goes_through(ends)


def test_answers_of_a_live_connection_are_held(proxy: FaultProxy, listener: socket.socket) -> None:
    with Ends(proxy.port, listener) as one, Ends(proxy.port, listener) as two:
        assert goes_through(one)
        proxy.hold_answers(2)
        for ends in (one, two):
            ends.server.sendall(b"pong")
        assert read_exactly(two.client, 2) == b"po"
        assert is_silent(one.client) and is_silent(two.client)
        assert proxy.wait(lambda: proxy.recorded[0].down == b"pingpong" and proxy.recorded[1].down == b"pong")


def test_a_plan_may_hold_answers_and_then_cut(listener: socket.socket) -> None:
    plans = {0: [Hold(4), Cut(6, "down", rst=False)], 1: []}
    with FaultProxy(listener.getsockname(), plans.__getitem__) as proxy:
        with Ends(proxy.port, listener) as ends:
            ends.server.sendall(b"123456789")
            assert read_all(ends.client) == b"1234"
        with Ends(proxy.port, listener) as ends:
            assert goes_through(ends)


def test_tls_records_are_counted() -> None:
    hello, data = b"\x16\x03\x01\x00\x03abc", b"\x17\x03\x03\x40\x00" + bytes(16384)
    assert records(b"") == records(hello[:4]) == []
    assert records(hello + data + data) == [(22, 3), (23, 16384), (23, 16384)]
    assert records(hello + data[:100]) == [(22, 3), (23, 16384)]
