"""Inbound: what it bears, how limits grow, and when it acknowledges."""

from __future__ import annotations

import os
import threading

import pytest
from alone import Alone, Asked
from half import Half
from links import BOUND, Threads
from loopback import read_exactly
from plains import DATA, OPEN, PING, REFUSED, RESET

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.seal import Sealer
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import EncryptType, Frame, Kind, Reply
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.dialling import Unreached
from nitrosocks_lib.session.state import Outcome

WINDOW, AES_256 = limits.WINDOW, EncryptType.AES_256_GCM


def server(**options) -> Half:
    return Half(True, held=True, **options)


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_the_1025th_stream_is_refused() -> None:
    assert limits.STREAMS == 1_024
    with server() as half:
        half.send(*[OPEN(number) for number in range(1, 2 * limits.STREAMS, 2)])
        assert half.seen() == [] and half.tunnel.load == limits.STREAMS
        half.send(OPEN(2_049), DATA(2_049, b"early"))
        assert half.until(Frame.REFUSED) == REFUSED(2_049, Reply.GENERAL, "1024 streams are open")[1:]
        half.dials.decide(1, Unreached(Reply.EXPIRED, "late"))
        assert half.until(Frame.REFUSED) == REFUSED(1, Reply.EXPIRED, "late")[1:]
        half.gone()
        half.send(OPEN(2_051))
        assert half.seen() == [] and half.tunnel.load == limits.STREAMS


def test_a_stream_counts_until_its_backlog_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS", 2)
    with server() as half:
        far = half.reached(1, buffer=4_608)
        half.send(OPEN(3), *[DATA(1, bytes(65_000))] * 4, RESET(1), OPEN(5))
        assert half.until(Frame.REFUSED)
        read_exactly(far, 260_000)
        half.gone()
        half.send(OPEN(7))
        assert half.seen() == []


def test_streams_are_shared_with_other_clients() -> None:
    """One client gets half of what a server carries in all; a place comes back with the end of a stream."""
    with server() as half:
        shared = half.roles.server._shared
        shared.most = 4
        half.send(OPEN(1), OPEN(3), OPEN(5))
        text = "the server carries as many streams as it can for this client"
        assert half.until(Frame.REFUSED) == REFUSED(5, Reply.GENERAL, text)[1:] and shared.taken == 2
        assert shared.take(b"another")
        half.dials.decide(1, Unreached(Reply.EXPIRED, "late"))
        assert half.until(Frame.REFUSED) == REFUSED(1, Reply.EXPIRED, "late")[1:]
        half.gone()
        half.send(OPEN(7), OPEN(9))
        assert half.until(Frame.REFUSED) == REFUSED(9, Reply.GENERAL, text)[1:] and shared.taken == 3
    assert shared.taken == 1, "with the session all of them"


def test_look_ups_that_nobody_waits_for_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS", 2)
    with server() as half:
        half.dials.left = 1
        half.send(OPEN(1), OPEN(3))
        assert half.until(Frame.REFUSED)[:4] == b"\0\0\0\3"


class Slow(Asked):
    """A dial that is to be looked at again and again."""

    def __init__(self, looks: list[float]) -> None:
        self._looks = looks

    def __len__(self) -> int:
        return 1

    def due(self, now: float) -> float | None:
        self._looks.append(now)
        return now + 0.25


class Flood:
    """A link that is never dry: PAD without an end."""

    def __init__(self, half: Alone, reads: int) -> None:
        self.end, self.reads, self.dry = half.tunnel.state.end, reads, False
        self.fd = half.near.fileno()
        self._sealer = Sealer(schedule.frame_keys(half.tunnel.state.keys.root, half.tunnel.receives, AES_256))
        self._rest = b""

    def read_some(self, buffer: memoryview, enough: int) -> int:
        out = memoryview(bytearray(wire.FRAME_MAX))
        while len(self._rest) < len(buffer):
            self._rest += out[: self._sealer.seal(bytes([Frame.PAD]) + bytes(65_000), out)]
        buffer[:], self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        self.reads -= 1
        if not self.reads:
            self.end(Outcome.LOST, "enough")
        return len(buffer)


def test_what_is_due_is_done_also_while_the_link_is_never_dry() -> None:
    """Else a dead first address of one stream would wait for the end of another one's upload."""
    with Alone(False) as half:
        inbound, looks = half.tunnel.inbound, []
        half.tunnel.state.begin()
        inbound.dialling = Slow(looks)
        inbound.run(Flood(half, 64))  # type: ignore[arg-type]
        assert len(looks) >= 4


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "buffer"), [(WINDOW, 4_608), (16 << 20, 65_536)])
def test_a_limit_that_is_used_up_is_raised_when_the_local_socket_takes_bytes(window: int, buffer: int) -> None:
    """Nothing else leaves meanwhile: all that was received is acknowledged, and nobody sends."""
    with server(window=window) as half, Threads() as threads:
        half.tunnel.state.round_trip = 0.0
        far = half.reached(1, buffer=buffer)
        half.ack()
        half.pour(1, bytes(window))
        half.until_acked()
        assert half.seen() == [] and half.limits == {}
        threads.start(read_exactly, far, 2 * window)
        half.pour(1, bytes(window))
        threads.join()


def test_it_grows_with_use_up_to_16_mib() -> None:
    assert limits.WINDOW_GROWN == 16 << 20 and WINDOW == 256 << 10
    with server() as half, Threads() as threads:
        half.tunnel.state.round_trip = BOUND  # whatever is used is used within one
        far = half.reached(1)
        size = 48 << 20
        threads.start(read_exactly, far, size)
        sent, most = 0, 0
        block = bytes(1 << 20)
        while sent < size:
            half.pour(1, block)
            sent += len(block)
            most = max(most, half.limits.get(1, WINDOW) - sent)
        threads.join()
        credit = half.tunnel.state.streams.by_number[1].credit
        assert credit is not None and credit.window == 16 << 20 and 8 << 20 < most <= 16 << 20


def test_what_idle_ones_were_promised_stays_within_the_budget() -> None:
    with server() as half, Threads() as threads:
        half.tunnel.state.round_trip = BOUND
        half.tunnel.state._promises.budget = 2 << 20
        for number in (1, 3, 5):
            far = half.reached(number)
            threads.start(read_exactly, far, 8 << 20)
            half.pour(number, bytes(8 << 20))
        credits = [stream.credit for stream in half.tunnel.state.streams.all()]
        assert sum(credit.window - WINDOW for credit in credits if credit) <= 2 << 20
        threads.join()


# -- acknowledgements -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1] * limits.ACK_FRAMES, [65_532] * 17])
def test_an_ack_is_due_behind_so_many_frames_or_bytes(sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACK_DELAY", 10 * BOUND)
    with server(window=4 << 20) as half, Threads() as threads:
        far = half.reached(1)
        half.ack()
        threads.start(read_exactly, far, sum(sizes))
        half.send(*[DATA(1, bytes(size)) for size in sizes])
        while half.acked < 10:
            assert half.read()[0] == Frame.ACK


def test_else_within_100_ms() -> None:
    assert limits.ACK_DELAY == 0.1
    with server() as half:
        half.send(OPEN(1))
        assert half.read() == frames.ack(1)


def test_or_in_front_of_what_leaves_anyhow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACK_DELAY", 10 * BOUND)
    with server() as half:
        half.send(*[OPEN(number) for number in range(1, 2 * limits.ACK_RIDES, 2)], PING())
        assert half.read() == frames.ack(limits.ACK_RIDES) and half.read()[0] == Frame.PONG


def test_of_pings_that_wait_only_the_last_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    taking, go = threading.Event(), threading.Event()
    with server() as half:
        real = half.tunnel.outbound._take_mail

        def late() -> None:
            taking.set()
            assert go.wait(BOUND)
            real()

        monkeypatch.setattr(half.tunnel.outbound, "_take_mail", late)
        half.send(PING(b"first___"), PING(b"last____"), OPEN(1, port=0))
        assert taking.wait(BOUND)
        while not half.tunnel.outbox.received:
            os.sched_yield()
        go.set()
        assert half.until(Frame.PONG) and half.until(Frame.REFUSED) and half.seen() == []


def test_a_frame_that_is_not_whole_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Liveness counts from the first bytes of it; a whole one ends that."""
    with server() as half:
        sealed = half.seal(PING())
        half.link.write_all(sealed[:10], now() + BOUND)
        state = half.tunnel.state
        while not state.partial_since:
            os.sched_yield()
        since = state.partial_since
        half.link.write_all(sealed[10:15], now() + BOUND)
        half.link.write_all(sealed[15:], now() + BOUND)
        assert half.until(Frame.PONG) and not state.partial_since and state.last_heard >= since


def test_target_of_a_unix_socket_is_parsed() -> None:
    with server() as half:
        half.send(OPEN(1, 0, "/run/socket", Kind.UNIX), OPEN(3, 9, "::1", Kind.UDP))
        assert half.seen() == []
        assert half.dials.under_way == {1: Target(Kind.UNIX, "/run/socket", 0), 3: Target(Kind.UDP, "::1", 9)}


@pytest.mark.parametrize(
    "target", [("", 7, Kind.TCP), ("host", 0, Kind.TCP), ("host", 0, Kind.UDP), ("", 0, Kind.UNIX)]
)
def test_a_target_that_is_none_is_refused(target: tuple[str, int, Kind]) -> None:
    host, port, kind = target
    with server() as half:
        half.send(OPEN(1, port, host, kind))
        assert half.until(Frame.REFUSED)[:5] == b"\0\0\0\1\1" and half.dials.under_way == {}
