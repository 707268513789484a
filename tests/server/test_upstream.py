"""Upstream: a connection to the decoy that connects and moves bytes when it is asked to, and never waits."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from loopback import BOUND, reset, unused_port, was_reset

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.outgoing import Outgoing
from nitrosocks_lib.net.race import find
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.server.upstream import Upstream


def made(port: int) -> Upstream:
    return Upstream(Outgoing(find("127.0.0.1", port), now() + BOUND, lambda fd, events: None, lambda fd: None))


def moved(upstream: Upstream) -> Upstream:
    while not upstream.connected:
        upstream.move(now())
    return upstream


@pytest.fixture
def pair() -> Iterator[tuple[Upstream, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = made(listener.getsockname()[1])
        assert not upstream.connected and upstream.fd == -1 and upstream.next_at is not None
        moved(upstream)
        far, _ = listener.accept()
    far.settimeout(BOUND)
    yield upstream, far
    upstream.close()
    far.close()


BUFFER = memoryview(bytearray(1000))


def receive(upstream: Upstream) -> bytes:
    while not (size := upstream.receive(BUFFER)) and upstream.ended is None:
        pass
    return bytes(BUFFER[:size])


def test_bytes_pass_both_ways(pair: tuple[Upstream, socket.socket]) -> None:
    upstream, far = pair
    upstream.push(b"hel")
    upstream.push(b"lo")
    assert upstream.move(now()) and far.recv(10) == b"hello"
    assert not upstream.move(now())
    far.sendall(b"back")
    assert receive(upstream) == b"back"


def test_what_waits_is_sent_before_the_end(pair: tuple[Upstream, socket.socket]) -> None:
    upstream, far = pair
    upstream.push(bytes(8 << 20))
    upstream.finish()
    assert upstream.full
    got = 0
    while got < 8 << 20:
        upstream.move(now())
        got += len(far.recv(1 << 20))
    upstream.move(now())
    assert far.recv(1) == b"" and not upstream.full


def test_its_end_is_kept(pair: tuple[Upstream, socket.socket]) -> None:
    upstream, far = pair
    far.sendall(b"last")
    far.shutdown(socket.SHUT_WR)
    assert receive(upstream) == b"last" and receive(upstream) == b""
    assert upstream.ended is not None and upstream.wants(True) == 0
    upstream.nudge()
    assert far.recv(10) == b"\0" and not upstream.gone


def test_a_nudge_finds_out_that_it_has_let_go(pair: tuple[Upstream, socket.socket]) -> None:
    upstream, far = pair
    far.close()
    receive(upstream)
    upstream.nudge()
    while not upstream.gone:
        pass


def test_a_reset_is_told_and_done(pair: tuple[Upstream, socket.socket]) -> None:
    upstream, far = pair
    reset(far)
    with pytest.raises(NetworkError):
        receive(upstream)


def test_a_visitor_that_reset_resets_it(pair: tuple[Upstream, socket.socket]) -> None:
    upstream, far = pair
    upstream.close(reset=True)
    assert was_reset(far)


def test_nobody_there() -> None:
    upstream = made(unused_port())
    upstream.push(b"x")
    with pytest.raises(NetworkError):
        moved(upstream)
    upstream.close()


def test_no_more_than_its_bound_is_wanted(pair: tuple[Upstream, socket.socket]) -> None:
    upstream, _ = pair
    upstream.push(bytes(limits.RELAYED - 1))
    assert not upstream.full
    upstream.push(b"x")
    assert upstream.full
