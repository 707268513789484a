"""`forward` reconnects to the independent peer: frames are lost, attempts fail, and no stream notices."""

import contextlib
import os
import threading

import hosts
import peer
import pytest
from hosts import TARGET, Host, ends, over
from peer_judge import PeerError, Server
from visits import BOUND, CLOSED, WINDOW, exactly, fails, pour, reset, rest, synced, until, until_acked

alone = hosts.alone


def lost(host: Host, server: Server) -> Server:
    """The connection is gone, and the client comes back."""
    reset(server.sock)
    again = host.accept()
    assert again.session_id == server.session_id
    return again


@pytest.mark.parametrize("count", [1, 20])
def test_nothing_is_lost_or_doubled(alone: Host, count: int) -> None:
    apps = {}
    for _ in range(count):
        server, number, app = alone.opened()
        apps[number] = app
    ups, downs = (dict.fromkeys(apps, b"") for _ in range(2))
    for n in range(8):
        for number, app in apps.items():
            ups[number] += (up := os.urandom(20_000 // count))
            downs[number] += (down := os.urandom(20_000 // count))
            app.sendall(up)
            pour(server, number, down)
        if n % 2:
            server.recv()
        if n % 3 == 0:  # what was sent from here on is lost
            server.lose()
        j, server = server.j, lost(alone, server)
        assert server.j == j + 1
    for number, app in apps.items():
        assert exactly(app, len(downs[number])) == downs[number]
        assert server.gather(number, len(ups[number])) == ups[number]
        ends(server, number, app)
    assert server.unrestated == {}


def test_bulk_both_ways_through_cuts(alone: Host) -> None:
    server, number, app = alone.opened()
    up, down = os.urandom(3_000_000), os.urandom(3_000_000)
    threading.Thread(target=app.sendall, args=(up,), daemon=True).start()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(exactly(app, len(down))), daemon=True)
    reader.start()
    for begin in range(0, len(down), 300_000):
        pour(server, number, down[begin : begin + 300_000])
        server = lost(alone, server)
    assert server.gather(number, len(up)) == up
    server.read(lambda: not server.kept)
    reader.join(BOUND)
    assert got == [down]
    ends(server, number, app)


@pytest.mark.parametrize("where", ["_read", "_signed_part", "_salt_part", "_move"])
def test_an_attempt_that_fails_is_made_anew(alone: Host, where: str) -> None:
    """The connection ends within RESUME, after it, before RECOVERED, or before the first frame is read."""
    server, number, app = alone.opened()
    server.data(number, b"down")
    reset(server.sock)
    attempt = alone.arrival()

    def stop(*_: object) -> None:
        raise PeerError("stopped")

    setattr(attempt, where, stop)
    fails(attempt.accept, "stopped")
    again = alone.accept()
    assert again.j == 2 and exactly(app, 4) == b"down"
    ends(again, number, app)


@pytest.mark.parametrize("reason", [3, 4, 5])
def test_a_refused_attempt_is_made_anew(alone: Host, reason: int) -> None:
    server, number, app = alone.opened()
    reset(server.sock)
    attempt = alone.arrival()
    attempt.refuse = reason
    fails(attempt.accept, f"refused: {reason}")
    ends(alone.accept(), number, app)


@pytest.mark.parametrize("reason", [1, 2])
def test_a_session_that_the_server_forgot_is_over(alone: Host, reason: int) -> None:
    server, number, app = alone.opened()
    server.data(number, b"carried")
    assert exactly(app, 7) == b"carried"
    reset(server.sock)
    attempt = alone.arrival()
    attempt.refuse = reason
    fails(attempt.accept, f"refused: {reason}")
    over(app)


def test_a_stream_that_carried_nothing_moves_to_a_new_session(alone: Host) -> None:
    server, number, app = alone.asked()
    named = server.streams[number].named
    reset(server.sock)
    attempt = alone.arrival()
    attempt.refuse = 2
    fails(attempt.accept, "refused: 2")
    again = alone.accept()
    assert until(again, peer.OPEN) == number.to_bytes(4) + named and again.session_id != server.session_id
    again.opened(number, *TARGET)
    ends(again, number, app)


@pytest.mark.parametrize("received", [0, 99])
def test_a_count_that_cannot_be_ends_the_session(alone: Host, received: int) -> None:
    server, _, app = alone.opened()
    synced(server)
    server.received = received  # the client sent 1, which was acknowledged
    reset(server.sock)
    attempt = alone.arrival()
    fails(attempt.accept, "the session is over")
    assert attempt.over and attempt.j == 1
    over(app)


@pytest.mark.parametrize("first", [peer.PAD, peer.PING, peer.DATA])
def test_the_servers_first_frame_must_be_an_ack(alone: Host, first: int) -> None:
    server, number, app = alone.opened()
    reset(server.sock)
    attempt = alone.arrival()
    frame = bytes([first]) + number.to_bytes(4) + b"1234"
    attempt.ack = lambda _=b"": attempt.sock.sendall(attempt.keys[peer.S2C].seal(frame))
    attempt.accept()
    while (frame := attempt.recv())[0] != peer.ABORT:
        pass
    assert frame[1][0] == 1
    over(app)


def test_what_an_application_sent_before_it_closed_still_arrives(alone: Host) -> None:
    """Its socket has ended both ways by then: what it wrote is under way, or still to be read."""
    server, number, app = alone.opened()
    server.end(number)
    until_acked(server)
    assert rest(app) == b""
    reset(server.sock)
    app.sendall(b"the last words")
    app.close()
    attempt = alone.arrival()
    attempt.refuse = 3
    fails(attempt.accept, "refused: 3")
    again = alone.accept()
    assert again.gather(number, 14) == b"the last words"
    again.closed(number)
    assert again.streams[number].last == (b"", b"")


def test_an_application_that_comes_while_nobody_is_there_is_served(alone: Host) -> None:
    server, number, app = alone.opened()
    reset(server.sock)
    other = alone.app()
    other.sendall(b"early")
    again = alone.accept()
    again.read(lambda: any(stream.taken for stream in again.streams.values()))
    (newest,) = again.alive().keys() - {number}
    again.opened(newest, *TARGET)
    ends(again, newest, other)
    ends(again, number, app)


def test_a_reset_that_is_lost_comes_again(alone: Host) -> None:
    server, number, app = alone.opened()
    kept, still, near = alone.opened()
    reset(app)
    near.sendall(b"behind it")
    lost_then = lost(alone, server)
    lost_then.closed(number)
    assert lost_then.gather(still, 9) == b"behind it" and kept is server
    ends(lost_then, still, near)


def test_limits_that_were_lost_are_stated_again(alone: Host) -> None:
    server, number, app = alone.opened()
    server.data(number, bytes(WINDOW))
    assert exactly(app, WINDOW) == bytes(WINDOW)
    server = lost(alone, server)
    server.read(lambda: server.streams[number].may > WINDOW)
    server.data(number, b"goes on")
    assert exactly(app, 7) == b"goes on"
    ends(server, number, app)


def test_bytes_that_are_no_frame_end_the_connection_only(alone: Host) -> None:
    server, number, app = alone.opened()
    for bad in (bytes(28), b"\xff" * 100, os.urandom(1000)):
        with contextlib.suppress(OSError):
            server.sock.sendall(bad)
            server.sock.sendall(bytes(70_000))  # the length may be in range: then the rest is waited for
        fails(lambda server=server: server.read(lambda: False), CLOSED)
        server = alone.accept()
    ends(server, number, app)


def test_rubbish_in_place_of_recovered_fails_the_attempt_only(alone: Host) -> None:
    server, number, app = alone.opened()
    reset(server.sock)
    attempt = alone.arrival()

    def rubbish() -> None:
        attempt.sock.sendall(bytes(5000))
        raise PeerError("rubbish")

    attempt._salt_part = rubbish
    fails(attempt.accept, "rubbish")
    ends(alone.accept(), number, app)
