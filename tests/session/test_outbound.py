"""Outbound: what leaves, in which order, how much of it is kept, and what happens to it over a reconnection."""

from __future__ import annotations

import os
import socket

import pytest
from half import Half
from links import BOUND, Threads
from loopback import read_exactly
from plains import DATA, END, OPEN
from traffic import stuff

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.protocol import frames, refresh
from nitrosocks_lib.protocol.refresh import Started
from nitrosocks_lib.session.state import Outcome

WINDOW = limits.WINDOW
PLENTY = 1 << 40


def writes(threads: Threads, near: socket.socket, data: bytes) -> None:
    """In a thread, to the end, and then an end."""
    threads.start(lambda: (near.sendall(data), near.shutdown(socket.SHUT_WR)))


# -- what a local socket says -----------------------------------------------------------------------------------------


def test_a_stream_goes_up_to_its_limit_and_on_when_it_is_raised() -> None:
    data = os.urandom(3 * WINDOW)
    with Half(False) as half, Threads() as threads:
        near, stream = half.opened()
        writes(threads, near, data)
        assert half.gather(1, WINDOW) == data[:WINDOW]
        half.ack((1, WINDOW + 1))
        assert half.gather(1, 1) == data[WINDOW : WINDOW + 1]
        half.ack((1, WINDOW))  # lower than before: ignored
        assert half.seen() == []
        half.ack((1, PLENTY))
        assert half.gather(1, 2 * WINDOW - 1) == data[WINDOW + 1 :]
        assert half.until(Frame.END) == END(1)[1:] and stream.sent == len(data)


def test_streams_flow_beside_one_that_is_stuck() -> None:
    data = os.urandom(WINDOW)
    with Half(False) as half, Threads() as threads:
        (stuck, _), (free, _) = half.opened(), half.opened()
        threads.start(stuck.sendall, data + b"more")
        assert half.gather(1, WINDOW) == data
        threads.start(free.sendall, data * 4)
        half.ack((3, PLENTY))
        assert half.gather(3, 4 * WINDOW) == data * 4
        half.ack((1, PLENTY))
        assert half.gather(1, 4) == b"more"


def test_the_order_of_opens_is_that_of_the_application() -> None:
    with Half(False) as half:
        pairs = [half.pair() for _ in range(50)]
        for port, (_, far) in enumerate(pairs, 1):
            half.stream(far, port)
        assert [half.next() for _ in pairs] == [OPEN(2 * port - 1, port) for port in range(1, 51)]


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_without_acknowledgements_no_more_is_read_than_may_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_BYTES", WINDOW)
    data, got = os.urandom(8 * WINDOW), b""
    with Half(False) as half, Threads() as threads:
        near, _ = half.opened()
        half.ack((1, PLENTY))
        writes(threads, near, data)
        while len(got) < len(data):
            before = len(got)
            while len(got) < min(before + WINDOW - 10_000, len(data)):
                got += half.until(Frame.DATA)[4:]
            if len(got) < len(data):
                got += b"".join(plain[5:] for plain in half.seen())
                assert len(got) <= before + WINDOW + limits.DATA_SIZE
            half.ack()
        assert got == data and half.until(Frame.END) == END(1)[1:]


def test_frames_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_FRAMES", 10)
    with Half(False) as half:
        near, _ = half.opened()
        got = 0
        for n in range(1, 31):  # OPEN is the first that is kept
            near.sendall(b"x")
            if n < 10:
                assert half.gather(1, 1) == b"x"
        assert half.seen() == []
        while got < 21:
            half.ack()
            got += len(half.until(Frame.DATA)) - 4
        assert got == 21


def test_local_sockets_that_may_not_be_read_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are readable: it would look again and again."""
    monkeypatch.setattr(limits, "KEPT_FRAMES", 3)
    looks: list[float | None] = []
    with Half(False) as half:
        near, _ = half.opened()
        for _ in range(2):
            near.sendall(b"x")
            half.until(Frame.DATA)
        near.sendall(b"more")
        assert half.seen() == []
        look = half.tunnel.outbound._reading.look
        monkeypatch.setattr(
            half.tunnel.outbound._reading, "look", lambda timeout: (looks.append(timeout), look(timeout))
        )
        assert half.seen() == half.seen() == [] and len(looks) < 20
        half.ack()
        assert half.gather(1, 4) == b"more"


def test_answers_that_are_never_acknowledged_end_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_FRAMES", 100)
    with Half(True) as half:
        half.send(*[OPEN(number, port=0) for number in range(1, 400, 2)])
        assert len([half.until(Frame.REFUSED) for _ in range(200)]) == 200
        assert half.seen() == [], "twice the bound is still borne"
        half.send(OPEN(401, port=0))
        assert half.aborted() == Abort.LIMIT
        assert "does not acknowledge" in half.tunnel.state.reason


def test_a_peer_that_does_not_read_either_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """outbound is held up in a write; the mail is taken all the same, and so the bound is seen."""
    monkeypatch.setattr(limits, "KEPT_BYTES", 1 << 20)
    monkeypatch.setattr(limits, "RELEASE", 0.1)
    text = "x" * limits.TEXT_MAX
    with Half(True, held=True, buffer=32_768) as half, Threads() as threads:
        outbox = half.tunnel.outbox
        threads.start(half.thread.join, BOUND)
        while half.tunnel.state.outcome is None:
            outbox.frames.append(frames.refusal(Frame.LISTENING, 1, 1, text))  # type: ignore[arg-type]
            outbox.waiter.set()
        threads.join()
        assert half.outcomes == [Outcome.OVER]
        assert half.tunnel.outbound.resend.kept_bytes < 64 << 20


# -- over a reconnection ----------------------------------------------------------------------------------------------


def test_what_was_not_received_is_sent_again_in_order_behind_an_ack() -> None:
    with Half(False) as half:
        near, _ = half.opened()
        for letter in b"abcdef":
            near.sendall(bytes([letter]))
            half.gather(1, 1)
        before, half.got = half.got, half.got[:3]
        near.sendall(b"g")
        half.again()
        assert half.read() == frames.ack(1) and [half.read() for _ in range(5)] == [*before[3:], DATA(1, b"g")]
        half.again(received=len(before))
        assert half.read() == frames.ack(1) and half.read() == DATA(1, b"g")
        half.ack()
        half.again()
        assert half.read() == frames.ack(1) and half.seen() == []


def test_a_limit_that_was_raised_is_restated() -> None:
    with Half(True, held=True) as half, Threads() as threads:
        far, _ = half.reached(1), half.reached(3)
        threads.start(read_exactly, far, 2 * WINDOW)
        half.pour(1, bytes(2 * WINDOW))
        half.until_acked()
        threads.join()
        half.seen()
        given, half.limits = half.limits, {}
        half.again()
        assert half.read()[0] == Frame.ACK and half.limits == given and set(given) == {1}


def test_frames_of_streams_that_are_over_are_sent_again_too() -> None:
    with Half(True) as half:
        half.send(OPEN(1, port=0))
        refused = half.next()
        half.got.clear()
        half.again()
        assert [half.read(), half.read()] == [frames.ack(1), refused]


def test_a_write_that_was_cut_is_begun_anew_under_the_new_keys() -> None:
    data = os.urandom(4 << 20)
    with Half(False, buffer=32_768) as half, Threads() as threads:
        near, _ = half.opened()
        half.ack((1, PLENTY))
        writes(threads, near, data)
        got = b""
        for n in range(1, 6):
            while len(got) < n << 19:
                got += half.until(Frame.DATA)[4:]
            half.again()
        while len(got) < len(data):
            got += half.until(Frame.DATA)[4:]
            half.ack()
        assert got == data and half.until(Frame.END) == END(1)[1:]


def test_nothing_is_held_for_a_connection_that_is_gone() -> None:
    """But for what the peer has not acknowledged."""
    with Half(False, buffer=32_768) as half:
        near, _ = half.opened()
        half.ack((1, PLENTY))
        stuff(near)  # more than the link takes
        while not half.tunnel.state.stuck_since:
            os.sched_yield()
        half.leave()
        outbound, inbound = half.tunnel.outbound, half.tunnel.inbound
        assert len(outbound._unsent) == len(outbound._loan) == len(inbound._slot) == 0 and inbound._buffer is None


# -- refresh ----------------------------------------------------------------------------------------------------------


def test_numbered_frames_wait_behind_refreshed_for_switch() -> None:
    with Half(False) as half:
        near, stream = half.opened()
        server = half.roles.server
        plain = server.start_refresh()
        assert plain is not None and isinstance(server.state.refreshing, Started)
        half.send(plain)
        refreshed = half.until(Frame.REFRESHED)
        keys, _ = refresh.finish(server.state.keys, server.state.refreshing, refreshed, server._key)
        half.rekey(keys, opener=True)
        near.sendall(b"held")
        assert half.seen() == [] and stream.took == 0
        half.send(bytes([Frame.SWITCH]) + schedule.switch_value(keys.root))
        half.rekey(keys, sealer=True)
        assert half.gather(1, 4) == b"held"
        near.sendall(b"more")
        assert half.gather(1, 4) == b"more" and half.seen() == []


def test_a_connection_that_ends_amid_a_refresh_takes_the_numbered_frames_along() -> None:
    with Half(False) as half:
        near, _ = half.opened()
        plain = half.roles.server.start_refresh()
        assert plain is not None
        half.send(plain)
        half.until(Frame.REFRESHED)
        near.sendall(b"held")
        half.again()
        assert half.read()[0] == Frame.ACK and half.gather(1, 4) == b"held"
        assert half.tunnel.state.refreshing is None
