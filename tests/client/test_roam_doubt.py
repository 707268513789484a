"""Roam in doubt (protocol 5): PING, and a connection beside the old one, which is left only when it stays silent."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from pools import WatchedPool, begun
from roaming import SOON, Held, Line, Roaming
from roles import receive
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client import roam
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import Frame
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.session.liveness import Liveness
from nitrosocks_lib.session.state import Outcome


def test_a_doubt_sends_ping_and_dials_at_once() -> None:
    line = Line()
    with Roaming(lambda: line) as made:
        made.roam.doubt("the network changed")
        assert made.state.outbox.ping
        assert made.ended.wait(BOUND) and made.state.outcome is Outcome.LEFT and made.state.reason == "it was silent"
        assert made.roam.take() is line


def test_what_is_heard_meanwhile_settles_it() -> None:
    line = Line()
    dial = Held(line)
    with Roaming(dial) as made:
        made.roam.doubt("silent")
        assert made.asked.acquire(timeout=BOUND)
        made.heard()
        dial.go.set()
        assert line.closed.wait(BOUND) and made.state.outcome is None and made.roam.take() is None


def test_what_was_heard_before_settles_nothing() -> None:
    line = Line()
    dial = Held(line)
    with Roaming(dial) as made:
        made.heard()
        made.roam.doubt("silent")
        dial.go.set()
        assert made.ended.wait(BOUND) and made.roam.take() is line


def test_who_types_ends_the_pause_between_two_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt for what is typed in one pause; none where nothing is in doubt, nor behind the end."""
    paused = threading.Semaphore(0)

    def jittered(_: float) -> float:
        paused.release()
        return 10 * BOUND

    def dial() -> Line:
        raise NetworkError("cut")

    monkeypatch.setattr(roam, "jittered", jittered)
    with Roaming(dial) as made:
        made.tunnel.wrote(1)
        made.roam.doubt("silent")
        for count in range(2, 5):
            assert made.asked.acquire(timeout=BOUND) and paused.acquire(timeout=BOUND)
            with made.roam._lock:  # the pause is arranged under it
                assert made.state.hurry is not None
            made.tunnel.wrote(count)
            assert made.state.hurry is None
        made.roam.close()
        made.tunnel.wrote(5)
    assert made.state.hurry is None


def test_a_dial_that_fails_is_tried_again_until_something_is_heard() -> None:
    def dial() -> Line:
        raise NetworkError("cut")

    with Roaming(dial) as made:
        made.roam.doubt("silent")
        for _ in range(2):
            assert made.asked.acquire(timeout=BOUND)
        made.heard()
        made.roam._try_again()  # as the dial under way does
        assert made.state.outcome is None and made.roam._doubted_at == 0


def test_each_doubt_makes_the_next_one_slower() -> None:
    with Roaming(Held(Line())) as made:
        before = made.state.doubt.patience(now())
        made.roam.doubt("silent")
        made.roam.doubt("silent")
        assert made.state.doubt.patience(now()) == 4 * before


def test_a_second_doubt_dials_beside_a_dial_that_hangs_and_a_third_does_not() -> None:
    """An address that is gone gets no answer, and the next one is to be used at once."""
    first, second = Line(), Line()
    hangs, there = threading.Event(), threading.Event()
    ways = [(hangs, first), (there, second)]

    def dial() -> Line:
        go, line = ways.pop(0)
        assert go.wait(BOUND)
        return line

    with Roaming(dial) as made:
        made.roam.doubt("an address went")
        assert made.asked.acquire(timeout=BOUND)
        made.roam.doubt("an address came")
        assert made.asked.acquire(timeout=BOUND)
        made.roam.doubt("again")
        there.set()
        assert made.ended.wait(BOUND)
        hangs.set()
        assert first.closed.wait(BOUND) and made.roam.take() is second
        assert not made.asked.acquire(blocking=False)


def test_silence_behind_a_numbered_frame_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOUBT_LEAST", SOON)
    with Roaming(Line) as made:
        made.tunnel.wrote(1)
        assert made.ended.wait(BOUND) and made.state.reason == "it was silent"


def test_silence_behind_a_ping_of_the_heartbeat_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle connection that died is replaced long before three periods are over."""
    monkeypatch.setattr(limits, "DOUBT_LEAST", SOON)
    with Roaming(Line) as made:
        liveness = Liveness(made.state)
        made.state.last_heard = now() - 1.5 * made.state.terms.heartbeat
        liveness._look(now())
        liveness.stop()
        assert made.ended.wait(BOUND) and made.state.reason == "it was silent"


def test_what_is_answered_in_time_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with Roaming(Line) as made:
        made.state.doubt.wrote(1, now())
        made.state.doubt.pinged(now())
        later = now() + BOUND
        assert made.roam._look(now()) is not None
        receive(made.tunnel, Frame.PONG, bytes(32))
        made.state.doubt.acknowledged(1, now())
        assert made.roam._look(later) is None and not made.asked.acquire(blocking=False)
        made.tunnel.wrote(2)
        assert made.roam._armed, "the next frame is watched again"


@pytest.mark.parametrize(("taken", "doubts"), [(0, True), (500, False), (1_000, True)])
def test_a_line_that_takes_what_was_written_is_slow_and_not_dead(taken: int, doubts: bool) -> None:
    """What it took whole proves nothing: a box on the way did."""
    line = Line(1_000)
    with Roaming(Held(Line())) as made:
        made.tunnel.link = line  # type: ignore[assignment]
        made.tunnel.outbound.written = 5_000
        made.tunnel.wrote(1)
        line.waits -= taken
        made.roam._look(now() + limits.DOUBT_LEAST + SOON)
        assert made.state.outbox.ping is doubts
        made.tunnel.link = None


def test_a_frame_that_is_not_whole_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is unanswered: a byte of its length may have been changed, and it waits for what nobody sends."""
    monkeypatch.setattr(limits, "DOUBT_LEAST", SOON)
    with Roaming(Line) as made:
        made.state.partial(30, now())
        assert made.ended.wait(BOUND) and made.state.outcome is Outcome.LEFT


def test_bytes_that_a_frame_swallows_settle_no_doubt() -> None:
    line = Line()
    dial = Held(line)
    with Roaming(dial) as made:
        made.state.partial(30, now())
        made.roam.doubt("a frame is not whole")
        made.heard()
        dial.go.set()
        assert made.ended.wait(BOUND) and made.roam.take() is line


def test_a_frame_that_becomes_whole_settles_it() -> None:
    line = Line()
    dial = Held(line)
    with Roaming(dial) as made:
        made.state.partial(30, now())
        made.roam.doubt("a frame is not whole")
        made.state.partial_since = 0.0
        made.heard()
        made.state.partial(30, now())  # the next one has begun
        dial.go.set()
        assert line.closed.wait(BOUND) and made.state.outcome is None


def test_a_tls_record_that_comes_in_is_no_silence() -> None:
    """On a slow line one takes seconds, and nothing of it is seen before it is whole."""
    line = Line()
    with Roaming(Held(Line())) as made:
        made.tunnel.link = line  # type: ignore[assignment]
        made.tunnel.wrote(1)
        later = now() + limits.DOUBT_LEAST + SOON
        line.silence = 0.5
        made.roam._look(later)
        assert not made.state.outbox.ping
        line.silence = math.inf
        made.roam._look(later + limits.DOUBT_LEAST)
        assert made.state.outbox.ping
        made.tunnel.link = None


# -- with a session ---------------------------------------------------------------------------------------------------


def ping(opened: Opened) -> None:
    opened.near.sendall(b"x")
    assert opened.near.recv(1) == b"x"


def test_a_connection_that_is_swallowed_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody types, and the old connection says nothing: the new one carries all of it, and nobody is told."""
    monkeypatch.setattr(limits, "DOUBT_LEAST", 0.1)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))
        world.proxy.blackhole(new=False)
        opened.near.sendall(b"typed")
        assert opened.near.recv(5) == b"typed"
        assert pool.made == 1 and not any("connection lost" in each.getMessage() for each in caplog.records)
        world.proxy.restore()


def test_a_connection_that_was_slow_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers while the new connection is made: that one is closed, and nothing is sent on it."""
    monkeypatch.setattr(limits, "DOUBT_LEAST", 0.1)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        real, made, go = pool._dialler.connect, threading.Event(), threading.Event()

        def connect(server: tuple[str, int]) -> Any:
            link = real(server)
            made.set()
            assert go.wait(BOUND)
            return link

        opened = begun(pool, world.target(echo))
        pool._dialler.connect = connect  # type: ignore[method-assign]
        pool.doubt("the network changed")
        assert made.wait(BOUND)
        ping(opened)
        go.set()
        world.proxy.wait(lambda: world.proxy.live == 1, BOUND)
        ping(opened)
        assert pool.session._attempts == 0
