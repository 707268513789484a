"""The independent peer as a client of `serve`: greetings, refresh, and what needs no stream."""

import os
import struct
import time

import peer
import pytest
import visits
from visits import (
    BOUND,
    CLOSED,
    WINDOW,
    Serve,
    Visit,
    Visitor,
    exactly,
    fails,
    gone,
    pour,
    synced,
    until,
)

served, visit, serve, visitor = visits.served, visits.visit, visits.serve, visits.visitor


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
