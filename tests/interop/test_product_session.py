"""The independent peer as a client of `serve`: greetings, refresh, release, revocation and the end of the server."""

import os
import signal
import struct
import time
from collections.abc import Callable, Iterator

import peer
import pytest
import visits
from hosts import Site
from peer_streams import BLOCK, at
from visits import (
    BOUND,
    CLOSED,
    WINDOW,
    Served,
    Tap,
    Visit,
    Visitor,
    aborted,
    exactly,
    fails,
    gone,
    pour,
    rest,
    synced,
    until,
    was_reset,
)

served, visit = visits.served, visits.visit
KEPT = 16 << 20  # bytes that the server keeps for a peer that does not acknowledge


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    return visit.visitor()


@pytest.fixture
def tap(visit: Visit) -> Tap:
    return visit.tap()


Serve = Callable[..., Visit]


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Makes a server of the test's own, with these options."""
    with Site(tmp_path_factory.mktemp("own")) as site:

        def made(*words: object) -> Visit:
            visit = site.enter_context(Visit(Served(site, *words)))
            site.callback(visit.served.process.popen.kill)
            return visit

        yield made


# Greetings


@pytest.mark.parametrize(("cipher", "encrypt_type"), [("aes-128-gcm", 1), ("aes-256-gcm", 2)])
def test_the_terms_of_a_session(serve: Serve, cipher: str, encrypt_type: int) -> None:
    visitor = serve("--cipher", cipher, "--resume", 77, "--heartbeat", 33).visitor()
    assert (visitor.encrypt_type, visitor.server_window, visitor.address) == (encrypt_type, WINDOW, "")
    assert (visitor.resume_seconds, visitor.heartbeat) == (77, 33)
    assert abs(visitor.server_ms / 1000 - time.time()) < BOUND
    assert visitor.certificate_hash == peer.H(visitor.sock.getpeercert(True))
    visitor.ends(*visitor.opens(visitor.visit.tap()))


@pytest.mark.parametrize(("offer", "chosen"), [(2, 1), (4, 2), (6, 2), (0xFFFFFFFF, 2), (0xFFFFFFFB, 1)])
def test_the_offer_decides(visit: Visit, offer: int, chosen: int) -> None:
    visitor = visit.visitor(offer=offer)
    assert visitor.encrypt_type == chosen
    visitor.ends(*visitor.opens(visit.tap()))


@pytest.mark.parametrize("offer", [0, 1, 8, 0xFFFFFFF9])
def test_nothing_in_common(visit: Visit, offer: int) -> None:
    fails(visit.stranger(offer=offer).greet, "refused: 4")


@pytest.mark.parametrize("version", [0, 2])
def test_another_version(visit: Visit, version: int) -> None:
    fails(visit.stranger(version=version).greet, "refused: 4")


@pytest.mark.parametrize("window", [0, 65_535, (1 << 26) + 1])
def test_a_window_out_of_bounds(visit: Visit, window: int) -> None:
    fails(visit.stranger(client_window=window).greet, CLOSED)


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_clocks_differ_by_an_hour(visit: Visit, off: int) -> None:
    visit.visitor(now=lambda: time.time() + 3600 * off)


def test_a_revoked_client(serve: Serve) -> None:
    visit = serve()
    visitor, stranger = visit.visitor(), visit.stranger()
    visit.served.revoke()
    fails(stranger.greet, "refused: 1")
    fails(visitor.again, "refused: 1")
    visitor.over = False
    fails(visitor.again, "refused: [12]")


# What needs no stream


def test_ping_pong_and_padding(visitor: Visitor) -> None:
    for payload in (b"", b"x", b"y" * 65_536):
        visitor.send(peer.PAD, payload)
    for size in (8, 31, 32):
        visitor.send(peer.PING, b"p" * size)
        assert until(visitor, peer.PONG) == peer.H(b"p" * size)
    visitor.send(peer.PONG, bytes(32))  # nobody asked for it
    assert synced(visitor) == []


def test_of_many_pings_the_last_is_answered(visitor: Visitor) -> None:
    for n in range(500):
        visitor.send(peer.PING, struct.pack(">Q", n))
    while until(visitor, peer.PONG) != peer.H(struct.pack(">Q", 499)):
        pass


# Refresh


@pytest.mark.parametrize("cipher", ["aes-128-gcm", "aes-256-gcm"])
def test_refreshes_amid_data_both_ways(serve: Serve, cipher: str) -> None:
    visit = serve("--cipher", cipher, "--refresh", "64K")
    visitor, tap = visit.visitor(), visit.tap()
    streams, roots = [visitor.opens(tap) for _ in range(3)], {visitor.rk}
    for _ in range(4):
        for number, target in streams:
            up, down = os.urandom(40_000), os.urandom(40_000)
            target.sendall(down)
            pour(visitor, number, up)
            assert exactly(target, 40_000) == up and visitor.gather(number, 40_000) == down
            roots.add(visitor.rk)
    visitor.read(lambda: not visitor.next_rk)
    assert visitor.epoch >= 3 and len(roots) >= 3
    for number, target in streams:
        visitor.ends(number, target)


def test_a_timer_starts_refreshes(serve: Serve) -> None:
    visitor = serve("--refresh", "1s").visitor()
    visitor.read(lambda: visitor.epoch == 2)


def test_a_reconnection_forgets_a_refresh(serve: Serve) -> None:
    visit = serve("--refresh", "64K")
    visitor = visit.visitor()
    number, target = visitor.opens(visit.tap())
    for answers in (False, True, False):
        target.sendall(bytes(2 * WINDOW))
        while (frame := visitor.recv())[0] != peer.REFRESH:
            if frame[0] == peer.DATA:
                visitor.grant(number)
        if answers:  # and does not wait for SWITCH
            visitor.answer(*frame)
        visitor.cut()
        visitor.again()
        assert visitor.epoch == 0 and not visitor.next_rk
        visitor.gather(number, 2 * WINDOW)
    target.sendall(bytes(2 * WINDOW))
    visitor.read(lambda: visitor.epoch > 0)


def test_a_refreshed_that_does_not_open_ends_the_connection_only(serve: Serve) -> None:
    visit = serve("--refresh", "64K")
    visitor = visit.visitor()
    number, target = visitor.opens(visit.tap())
    target.sendall(bytes(2 * WINDOW))
    while (frame := visitor.recv())[0] != peer.REFRESH:
        if frame[0] == peer.DATA:
            visitor.grant(number)
    visitor.send(peer.REFRESHED, bytes(2384))
    gone(visitor)
    visitor.again()
    visitor.gather(number, 2 * WINDOW)
    visitor.ends(number, target)


# Release


@pytest.mark.parametrize("streams", [0, 1, 20])
def test_a_release_in_three_ways(visitor: Visitor, tap: Tap, streams: int) -> None:
    for number, target in [visitor.opens(tap) for _ in range(streams)]:
        visitor.ends(number, target)
    visitor.release()
    fails(visitor.recv, "the connection ended")
    visitor.over = visitor.leaving = False
    fails(visitor.again, "refused: 2")


def test_a_release_right_behind_resets(visitor: Visitor, tap: Tap) -> None:
    for n in range(5):
        number, _ = visitor.opens(tap)
        visitor.data(number, b"%d" % n)
        visitor.reset(number)
    visitor.release()
    assert visitor.over


def test_a_release_that_is_not_finished_ends_with_the_connection(visitor: Visitor) -> None:
    visitor.send(peer.DISCONNECT)
    while (frame := visitor.recv())[0] != peer.DISCONNECT_ACK:
        pass
    assert len(frame[1]) == 32
    visitor.leaving = False
    fails(visitor.again, "refused: 2")


def test_an_abort_of_the_client(visitor: Visitor, tap: Tap) -> None:
    targets = [visitor.opens(tap)[1] for _ in range(3)]
    visitor.send(peer.ABORT, b"\0enough")
    fails(lambda: visitor.read(lambda: False), CLOSED)
    assert all(was_reset(target) for target in targets)
    visitor.over = False
    fails(visitor.again, "refused: 2")


# The end of the server


def test_a_draining_server_says_so_and_serves_what_runs(serve: Serve) -> None:
    visit = serve("--drain", 20)
    idle, busy, late, tap = visit.visitor(), visit.visitor(), visit.stranger(), visit.tap()
    number, target = busy.opens(tap)
    visit.served.process.signal(signal.SIGTERM)
    assert [0 < int.from_bytes(until(visitor, peer.GOAWAY)) <= 20 for visitor in (idle, busy)] == [True, True]
    fails(late.greet, "refused: 5")
    crossed = idle.open(tap.port)
    idle.answered(crossed)  # served or refused
    listener = idle.listen(0)
    idle.read(lambda: idle.listeners[listener].reply >= 0)
    assert idle.listeners[listener].reply > 0
    busy.again()  # a running stream is resumed
    assert 0 < int.from_bytes(until(busy, peer.GOAWAY)) <= 20
    target.sendall(b"still there")
    assert busy.gather(number, 11) == b"still there"
    busy.ends(number, target)
    if crossed in idle.alive():
        idle.reset(crossed)
    for visitor in (idle, busy):
        visitor.release()
        visitor.sock.close()
    assert visit.served.process.wait() == 0


def test_a_server_that_stops_says_so(serve: Serve) -> None:
    visit = serve("--drain", 1)
    visitor = visit.visitor()
    _, target = visitor.opens(visit.tap())
    visit.served.process.signal(signal.SIGTERM)
    assert until(visitor, peer.GOAWAY) == struct.pack(">I", 1)
    assert aborted(visitor) == 2
    assert was_reset(target)
    visit.served.process.wait()


# A peer that never acknowledges


def test_a_peer_that_never_acknowledges_is_not_kept_everything_for(visitor: Visitor, tap: Tap) -> None:
    """Its limit would let all through; what bounds it is what the server keeps to send it again."""
    number, target = visitor.opens(tap)
    visitor.ack(struct.pack(">IQ", number, 1 << 40))
    target.setblocking(False)
    stream, quiet = visitor.streams[number], 0
    while quiet < 20:
        before = stream.taken
        for _ in range(100):
            try:
                target.send(bytes(BLOCK))
            except BlockingIOError:
                break
        ping(visitor)
        quiet = quiet + 1 if stream.taken == before else 0
        assert stream.taken <= 2 * KEPT
    assert stream.taken >= KEPT // 2
    other = visitor.open(tap.port)
    ping(visitor)
    visitor.ack()
    before = stream.taken
    visitor.read(lambda: stream.taken > before)  # and with it the stream goes on
    visitor.answered(other)
    assert visitor.streams[other].answer == (peer.OPENED, at(tap.port)[1:])
    visitor.reset(number)
    visitor.ends(other, tap.accept())
    assert rest(target) is not None if not was_reset(target) else True


def ping(visitor: Visitor) -> None:
    """PING and its PONG, with nothing acknowledged."""
    payload = os.urandom(8)
    visitor.send(peer.PING, payload)
    while visitor.recv() != (peer.PONG, peer.H(payload)):
        pass
