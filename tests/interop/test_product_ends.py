"""The independent peer as a client of `serve`: release, the end of the server, and what it keeps for who never acks."""

import os
import signal
import struct

import peer
import pytest
import visits
from peer_streams import BLOCK, at
from visits import CLOSED, Serve, Tap, Visitor, aborted, fails, until, was_reset

served, visit, serve, visitor, tap = visits.served, visits.visit, visits.serve, visits.visitor, visits.tap
KEPT = 16 << 20  # bytes that the server keeps for a peer that does not acknowledge


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
    assert was_reset(target)


def ping(visitor: Visitor) -> None:
    """PING and its PONG, with nothing acknowledged."""
    payload = os.urandom(8)
    visitor.send(peer.PING, payload)
    while visitor.recv() != (peer.PONG, peer.H(payload)):
        pass
