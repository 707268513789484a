"""The independent peer as a client of our server: sessions, refresh, release and the end of the server, over TLS.

What streams do is in test_peer_streams.py, what a peer must not do in test_peer_faults.py.
"""

import threading
import time
from collections.abc import Iterator

import peer
import pytest
from meeting import (
    BOUND,
    PINGED,
    Tap,
    Visitor,
    aborted,
    answered,
    ended,
    exactly,
    fails,
    gathered,
    gone,
    told,
    until,
    visiting,
)
from world import World, read_all

from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.server.tunnel import RefreshPolicy

SIZES = [1, 65_515, 65_516, 65_517, 65_536]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as shared:
        yield shared


# Sessions


@pytest.mark.parametrize("encrypt_type", EncryptType)
def test_data_of_all_sizes_both_ways(encrypt_type: EncryptType) -> None:
    with World(encrypt_type=encrypt_type, window=1 << 17, resume=77, heartbeat=33) as world:
        visitor, tap = visiting(world), Tap(world)
        assert (visitor.encrypt_type, visitor.server_window, visitor.address) == (encrypt_type, 1 << 17, "")
        assert (visitor.resume_seconds, visitor.heartbeat) == (77, 33)
        assert abs(visitor.server_ms / 1000 - time.time()) < BOUND
        assert visitor.certificate_hash == peer.H(visitor.sock.getpeercert(True))
        for _ in range(2):  # many streams, one after another
            target = visitor.opens(tap)
            for size in SIZES:
                up, down = bytes([size % 251]) * size, bytes([size % 241]) * size
                visitor.send(peer.DATA, up)
                target.sendall(down)
                assert exactly(target, size) == up and gathered(visitor, size) == down
            ended(visitor, target)
        assert visitor.sent == 2 * (1 + len(SIZES) + 1)


@pytest.mark.parametrize(("offer", "chosen"), [(2, 1), (4, 2), (6, 2), (0xFFFFFFFF, 2), (0xFFFFFFFB, 1)])
def test_the_offer_decides(world: World, offer: int, chosen: int) -> None:
    assert visiting(world, offer=offer).encrypt_type == chosen


@pytest.mark.parametrize("offer", [0, 1, 8, 0xFFFFFFF9])
def test_nothing_in_common(world: World, offer: int) -> None:
    fails(Visitor(world, offer=offer).greet, "refused: 4")


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_clocks_differ_by_an_hour(world: World, off: int) -> None:
    visiting(world, now=lambda: time.time() + 3600 * off)


def test_a_revoked_client(world: World) -> None:
    visitor, other = visiting(world), Visitor(world)
    for revoked in (visitor, other):
        del world.directory.known[revoked.client_id]
    fails(other.greet, "refused: 1")
    visitor.send(peer.OPEN, Tap(world).open)  # the session goes on, but opens nothing any more
    assert told(visitor, peer.REFUSED)[:1] == b"\2"
    fails(visitor.again, "refused: 1")
    assert visitor.over and visitor.hosted is None


def test_ping_pong_and_padding(world: World) -> None:
    visitor = visiting(world)
    for payload in (b"", b"x", b"y" * 65_536):
        visitor.send(peer.PAD, payload)
    for size in (8, 31, 32):
        visitor.send(peer.PING, b"p" * size)
        assert until(visitor, peer.PONG) == peer.H(b"p" * size)
    mail = visitor.hosted.tunnel.outbound.mail
    mail.ping = True
    mail.wake.set()
    visitor.answer(peer.PING, until(visitor, peer.PING))
    assert answered(visitor) == []


# Refresh


def heard(visitor: peer.Client) -> tuple[int, bytes]:
    """The next frame; a REFRESH is answered."""
    frame = visitor.recv()
    if frame[0] == peer.REFRESH:
        visitor.answer(peer.REFRESH, frame[1])
    return frame


def rested(visitor: peer.Client) -> None:
    """Reads until all that was sent is answered, and no refresh waits for its SWITCH."""
    visitor.send(peer.PING, PINGED)
    ponged = False
    while not ponged or visitor.next_rk:
        ponged |= heard(visitor)[0] == peer.PONG


@pytest.mark.parametrize("encrypt_type", EncryptType)
def test_refreshes_amid_data_both_ways(encrypt_type: EncryptType) -> None:
    with World(encrypt_type=encrypt_type, refresh=RefreshPolicy(volume=65_536)) as world:
        visitor, tap = visiting(world), Tap(world)
        target, roots = visitor.opens(tap), {visitor.rk}
        for n in range(6):
            up, down, got = bytes([n]) * 65_536, bytes([100 + n]) * 65_536, b""
            visitor.send(peer.DATA, up)
            target.sendall(down)
            while len(got) < len(down):
                kind, payload = heard(visitor)
                if kind == peer.DATA:
                    got += payload
                    visitor.ack()
            assert exactly(target, 65_536) == up and got == down
            rested(visitor)
            roots.add(visitor.rk)
        tunnel = visitor.hosted.tunnel
        assert visitor.epoch == tunnel.refreshes == tunnel.keys.epoch >= 3
        assert len(roots) >= 3 and tunnel.keys.root == visitor.rk


def test_a_timer_starts_refreshes_and_each_makes_the_keys_young_again() -> None:
    with World(refresh=RefreshPolicy(every=0.01)) as world:
        visitor = visiting(world)
        for epoch in (1, 2, 3):
            asked = until(visitor, peer.REFRESH)
            tunnel = visitor.hosted.tunnel
            before = tunnel.keyed_at
            visitor.answer(peer.REFRESH, asked)
            until(visitor, peer.SWITCH)
            assert visitor.epoch == epoch
            assert tunnel.keyed_at > before  # else it would refresh without end, and end the connection after 2 h


def test_a_reconnection_forgets_a_refresh() -> None:
    with World(refresh=RefreshPolicy(count=3)) as world:
        visitor = visiting(world)
        for answers in (False, True, False):
            for _ in range(3):
                visitor.send(peer.PING, PINGED)
            while (frame := visitor.recv())[0] != peer.REFRESH:
                pass
            if answers:  # and does not wait for SWITCH
                visitor.answer(peer.REFRESH, frame[1])
            visitor.again()
            assert visitor.epoch == 0
        for _ in range(3):
            visitor.send(peer.PING, PINGED)
        while not visitor.epoch:
            heard(visitor)


# Release


def test_a_release_in_three_ways(world: World) -> None:
    visitor, tap = visiting(world), Tap(world)
    ended(visitor, visitor.opens(tap))
    owner = visitor.hosted.owner
    visitor.release()
    fails(visitor.recv, "the connection ended")
    owner.join(BOUND)
    assert visitor.hosted is None
    visitor.over = visitor.leaving = False
    fails(visitor.again, "refused: 2")


def test_a_release_that_is_not_finished_ends_with_the_connection(world: World) -> None:
    visitor = visiting(world)
    visitor.send(peer.DISCONNECT)
    assert len(until(visitor, peer.DISCONNECT_ACK)) == 32
    visitor.leaving = False
    fails(visitor.again, "refused: 2")


def test_an_abort_of_the_client(world: World) -> None:
    visitor, tap = visiting(world), Tap(world)
    target = visitor.opens(tap)
    visitor.send(peer.ABORT, b"\0enough")
    gone(visitor)
    with pytest.raises(ConnectionResetError):
        read_all(target)
    fails(visitor.again, "refused: 2")



# The end of the server


def test_a_draining_server_says_so_and_serves_what_runs() -> None:
    with World() as world:
        idle, busy, late = visiting(world), visiting(world), Visitor(world)
        tap = Tap(world)
        target = busy.opens(tap)
        drain = threading.Thread(target=world.server.drain, args=(BOUND,), daemon=True)
        drain.start()
        assert [until(visitor, peer.GOAWAY) for visitor in (idle, busy)] == [int(BOUND).to_bytes(4)] * 2
        fails(late.greet, "refused: 5")
        ended(idle, idle.opens(tap))  # its OPEN crossed GOAWAY
        busy.again()  # a running stream is resumed
        assert 0 < int.from_bytes(until(busy, peer.GOAWAY)) <= BOUND
        target.sendall(b"still there")
        assert gathered(busy, 11) == b"still there"
        ended(busy, target)
        for visitor in (idle, busy):
            visitor.release()
            visitor.sock.close()
        drain.join(BOUND)
        assert not drain.is_alive()
        with pytest.raises(ConnectionError):
            visiting(world)


def test_a_server_that_stops_says_so() -> None:
    with World() as world:
        visitor = visiting(world)
        target = visitor.opens(Tap(world))
        stop = threading.Thread(target=world.server.stop, daemon=True)
        stop.start()
        assert aborted(visitor) == 2
        with pytest.raises(ConnectionResetError):
            read_all(target)
        stop.join(BOUND)
        assert not stop.is_alive()


# A peer that never acknowledges


def unacked(visitor: peer.Client) -> list[int]:
    """The sizes of DATA that come without any ACK, until a PONG shows that no more does."""
    sizes, before = [0], 0
    while len(sizes) > before:
        before = len(sizes) if sizes[1:] else 0
        visitor.send(peer.PING, PINGED)
        while (frame := visitor.recv())[0] != peer.PONG:
            sizes += [len(frame[1])] if frame[0] == peer.DATA else []
    return sizes


@pytest.mark.parametrize("window", [65_536, 300_000])
def test_a_peer_that_never_acknowledges_closes_its_window(window: int) -> None:
    with World() as world:
        visitor, tap = visiting(world, client_window=window), Tap(world)
        target, resend = visitor.opens(tap), visitor.hosted.tunnel.outbound.resend
        data = bytes(range(256)) * (1 << 14)
        sender = threading.Thread(target=target.sendall, args=(data,), daemon=True)
        sender.start()
        sizes = unacked(visitor)
        assert window // 2 < sum(sizes) == resend.data_bytes <= window
        visitor.send(peer.DATA, b"the other direction goes on")
        assert exactly(target, 27) == b"the other direction goes on"
        assert peer.DATA not in answered(visitor)
        visitor.ack()  # and with it the stream goes on
        gathered(visitor, len(data) - sum(sizes))
        sender.join(BOUND)
        ended(visitor, target)
