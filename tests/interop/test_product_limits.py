"""Flow control of `serve` and `forward`, tried by the independent peer: limits are obeyed, grow with use, and are kept.

The judge of the peer finds DATA beyond a limit by itself.
"""

import random
import struct
import threading

import hosts
import peer
import visits
from hosts import Host
from peer_streams import BLOCK
from visits import WINDOW, Tap, Visit, Visitor, aborted, exactly, fails, fill, pour, synced, until_acked

served, visit, hosting, alone, visitor, tap = (
    visits.served,
    visits.visit,
    hosts.hosting,
    hosts.alone,
    visits.visitor,
    visits.tap,
)
BUDGET = 64 << 20  # of all promises of a session
WIDEST = 16 << 20


def drained(sock, into: list[int]) -> threading.Thread:
    """Reads all that comes, in a thread; `into` gets how much."""

    def run() -> None:
        while part := sock.recv(1 << 20):
            into.append(len(part))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


# What `serve` grants


def test_a_limit_grows_with_use(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    taken: list[int] = []
    thread = drained(target, taken)
    widest = pour(visitor, number, bytes(96 << 20))
    assert 2 * WINDOW <= widest <= WIDEST
    visitor.end(number)
    thread.join(visits.BOUND)
    assert sum(taken) == 96 << 20


def test_a_target_that_does_not_read_gets_no_more_than_the_widest_window(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    stream = visitor.streams[number]
    for _ in range(2 * WIDEST // BLOCK):
        if stream.sent < stream.may:
            visitor.data(number, bytes(min(BLOCK, stream.may - stream.sent)))
        synced(visitor)
    sent = stream.sent
    assert sent < 2 * WIDEST, "somebody holds what nobody takes"
    thread = drained(target, taken := [])
    pour(visitor, number, bytes(1 << 20))  # and then it goes on
    visitor.end(number)
    thread.join(visits.BOUND)
    assert sum(taken) == sent + (1 << 20)


def test_all_promises_stay_within_a_budget(visitor: Visitor, tap: Tap) -> None:
    """Of 6 streams that could each have the widest window."""
    pairs = [visitor.opens(tap) for _ in range(6)]
    threads = [drained(target, []) for _, target in pairs]
    for number, _ in pairs:
        pour(visitor, number, bytes(24 << 20))
    until_acked(visitor)
    ahead = sum(visitor.streams[number].may - visitor.streams[number].sent for number, _ in pairs)
    assert ahead <= BUDGET
    visitor.end(*(number for number, _ in pairs))
    for thread in threads:
        thread.join(visits.BOUND)


# What it obeys


def test_no_more_comes_than_the_limit(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    data = random.randbytes(10 * WINDOW)
    target.sendall(data)
    visitor.starved.add(number)
    stream = visitor.streams[number]
    for more in (0, 1, 2, 1000, WINDOW, 2 * WINDOW):
        if more:
            visitor.grant(number, w=more)
        visitor.read(lambda: stream.taken == stream.granted)
        for _ in range(3):
            assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}
    visitor.starved.clear()
    visitor.grant(number)
    visitor.read(lambda: stream.taken == len(data))
    assert stream.got == data
    visitor.ends(number, target)


def test_a_lower_limit_and_one_of_what_is_over_change_nothing(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    over, other = visitor.opens(tap)
    visitor.ends(over, other)
    visitor.ack(struct.pack(">IQ", number, 4 * WINDOW))
    visitor.ack(struct.pack(">IQ", number, 0) + struct.pack(">IQ", over, 1 << 40))
    visitor.ack(struct.pack(">IQIQ", number, 2 * WINDOW, number, WINDOW))
    visitor.starved.add(number)
    target.sendall(bytes(5 * WINDOW))
    visitor.read(lambda: visitor.streams[number].taken == 4 * WINDOW)
    assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}


def test_a_limit_may_be_huge(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    visitor.ack(struct.pack(">IQ", number, 2**64 - 1))
    target.sendall(bytes(5 * WINDOW))
    visitor.read(lambda: visitor.streams[number].taken == 5 * WINDOW)
    visitor.ends(number, target)


def test_a_limit_for_a_stream_whose_answer_is_under_way(visit: Visit, visitor: Visitor) -> None:
    held = visit.held()
    number = visitor.open(held.port)
    until_acked(visitor)
    visitor.ack(struct.pack(">IQ", number, 3 * WINDOW))
    visitor.starved.add(number)
    held.let_go()
    held.accept().sendall(bytes(4 * WINDOW))
    visitor.read(lambda: visitor.streams[number].taken == 3 * WINDOW)
    assert {kind for kind, _ in synced(visitor)} <= {peer.ACK}


# A client's


def test_a_clients_limits_grow_and_are_obeyed(hosting: Host) -> None:
    server, number, app = hosting.opened()
    thread = drained(app, taken := [])
    assert 2 * WINDOW <= pour(server, number, bytes(48 << 20)) <= WIDEST
    server.starved.add(number)
    app.sendall(bytes(3 * WINDOW))
    stream = server.streams[number]
    server.read(lambda: stream.taken == WINDOW)
    assert {kind for kind, _ in synced(server)} <= {peer.ACK}
    server.grant(number, w=2 * WINDOW)
    server.read(lambda: stream.taken == 3 * WINDOW)
    server.grant(number)  # else the end of what it may not read goes unnoticed
    server.end(number)
    thread.join(visits.BOUND)
    assert sum(taken) == 48 << 20
    app.close()
    server.closed(number)


def test_a_byte_beyond_a_clients_limit(hosting: Host) -> None:
    """The application does not read."""
    server, number, app = hosting.opened()
    fill(server, number)
    server.data(number, b"x")
    assert aborted(server) == 5
    app.close()


# Reconnection


def test_limits_above_the_window_come_first_on_a_new_connection(visitor: Visitor, tap: Tap) -> None:
    numbers, threads = [], []
    for _ in range(2):
        number, target = visitor.opens(tap)
        threads.append(drained(target, []))
        pour(visitor, number, bytes(8 << 20))
        numbers.append(number)
    idle, far = visitor.opens(tap)
    for _ in range(3):
        raised = {number: visitor.streams[number].may for number in numbers}
        visitor.cut()
        visitor.again()
        synced(visitor)
        assert visitor.unrestated == {}
        assert all(visitor.streams[number].may >= limit for number, limit in raised.items())
    visitor.end(*numbers)
    visitor.ends(idle, far)


def test_limits_that_were_lost_are_stated_again(visitor: Visitor, tap: Tap) -> None:
    """What raises them is never read; without a new statement the stream would be stuck."""
    number, target = visitor.opens(tap)
    visitor.data(number, bytes(WINDOW))
    assert exactly(target, WINDOW) == bytes(WINDOW)
    visitor.cut()
    visitor.again()
    stream = visitor.streams[number]
    visitor.read(lambda: stream.may > stream.sent)
    visitor.data(number, b"goes on")
    assert exactly(target, 7) == b"goes on"
    visitor.ends(number, target)


def test_our_limits_are_known_again_after_a_reconnection(visitor: Visitor, tap: Tap) -> None:
    number, target = visitor.opens(tap)
    visitor.starved.add(number)
    target.sendall(bytes(WINDOW))
    visitor.read(lambda: visitor.streams[number].taken == WINDOW)
    visitor.lose()
    visitor.grant(number, w=3 * WINDOW)  # this is lost
    visitor.again()
    target.sendall(bytes(3 * WINDOW))
    visitor.read(lambda: visitor.streams[number].taken == 4 * WINDOW)
    visitor.grant(number)
    visitor.ends(number, target)


def test_a_client_states_its_limits_again(alone: Host) -> None:
    server, number, app = alone.opened()
    thread = drained(app, [])
    pour(server, number, bytes(8 << 20))
    visits.reset(server.sock)
    server = alone.accept()
    synced(server)
    assert server.unrestated == {}
    pour(server, number, bytes(8 << 20))
    server.end(number)
    thread.join(visits.BOUND)
    app.close()
    server.closed(number)


def test_a_limit_of_a_stream_that_was_never_opened_ends_a_resumption(visitor: Visitor, tap: Tap) -> None:
    visitor.opens(tap)
    visitor.ack = lambda _=b"": visitor.send(peer.ACK, struct.pack(">QIQ", visitor.received, 3, WINDOW))
    visitor.cut()
    visitor.again()
    assert aborted(visitor) == 1
    del visitor.ack
    visitor.over = False
    fails(visitor.again, "refused: 2")
