"""Timers: order, repetition, cancelling, and an action that fails."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.timers import TIMERS, Timers, jittered, now, sooner

BOUND = 60.0


def ran(timers: Timers, seconds: float = 0.0) -> bool:
    """Whether the timers have come to what is due then."""
    reached = threading.Event()
    timers.after(seconds, lambda _: reached.set())
    return reached.wait(BOUND)


def test_deadlines_decide_the_order() -> None:
    timers, order = Timers(), []
    begin = now() + 0.05
    for n in (5, 1, 4, 2, 3):
        timers.at(begin + n / 100, lambda _, n=n: order.append(n))
    assert ran(timers, 0.2) and order == [1, 2, 3, 4, 5]


def test_equal_deadlines_run_in_the_order_of_their_making() -> None:
    timers, order, at = Timers(), [], now() + 0.02
    for n in range(50):
        timers.at(at, lambda _, n=n: order.append(n))
    assert ran(timers, 0.05) and order == list(range(50))


def test_an_earlier_deadline_is_not_kept_waiting() -> None:
    timers = Timers()
    timers.after(3600, lambda _: None)
    assert ran(timers)


def test_an_action_sees_a_time_at_or_behind_its_deadline() -> None:
    timers, seen = Timers(), []
    deadline = now() + 0.02
    timers.at(deadline, seen.append)
    assert ran(timers, 0.05) and seen[0] >= deadline


def test_a_number_means_again() -> None:
    timers, times, done = Timers(), [], threading.Event()

    def again(at: float) -> float | None:
        times.append(at)
        if len(times) < 5:
            return at + 0.005
        done.set()
        return None

    timers.after(0, again)
    assert done.wait(BOUND) and ran(timers, 0.02)
    assert len(times) == 5 and times == sorted(times)


def test_cancelled_actions_do_not_start() -> None:
    timers, calls = Timers(), []
    timer = timers.after(0.02, calls.append)
    timer.cancel()
    timer.cancel()
    assert ran(timers, 0.05) and calls == []


def test_an_action_may_cancel_itself_and_is_not_repeated() -> None:
    timers, calls = Timers(), []

    def once(at: float) -> float:
        calls.append(at)
        timer.cancel()
        return at

    timer = timers.after(0.02, once)
    assert ran(timers, 0.05) and len(calls) == 1


def test_cancel_amid_the_action_stops_the_repetition() -> None:
    timers, calls, inside, go = Timers(), [], threading.Event(), threading.Event()

    def slow(at: float) -> float:
        calls.append(at)
        inside.set()
        assert go.wait(BOUND)
        return at

    timer = timers.after(0, slow)
    assert inside.wait(BOUND)
    timer.cancel()
    go.set()
    assert ran(timers, 0.02) and len(calls) == 1


def test_an_action_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    timers, calls = Timers(), []

    def fail(_: float) -> None:
        raise ValueError("for a test")

    with caplog.at_level(logging.ERROR):
        timers.after(0, fail)
        timers.after(0.01, calls.append)
        assert ran(timers, 0.02)
    assert len(calls) == 1 and "a timer failed" in caplog.text and "for a test" in caplog.text


def test_an_action_may_set_timers() -> None:
    timers, done = Timers(), threading.Event()
    timers.after(0, lambda _: (timers.after(0, lambda _: done.set()), None)[1])
    assert done.wait(BOUND)


def test_the_clock_runs_while_a_laptop_sleeps() -> None:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    before = time.clock_gettime(clock)
    assert before <= now() <= time.clock_gettime(clock)


def test_jitter_is_within_bounds() -> None:
    drawn = [jittered(10.0) for _ in range(1_000)]
    assert all(10 * (1 - limits.HEARTBEAT_JITTER) <= n <= 10 * (1 + limits.HEARTBEAT_JITTER) for n in drawn)
    assert max(drawn) - min(drawn) > 3


def test_what_was_promised_comes_sooner_and_never_later() -> None:
    drawn = [sooner(10.0) for _ in range(1_000)]
    assert all(10 * (1 - limits.HEARTBEAT_JITTER) <= n <= 10 for n in drawn)
    assert max(drawn) - min(drawn) > 2


def test_without_a_thread_the_next_one_who_comes_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    timers, fired = Timers(), threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError):
            timers.after(0, lambda _: fired.set())
    assert ran(timers) and fired.wait(BOUND)


def test_one_thread_for_all() -> None:
    assert ran(TIMERS)
    assert sum(thread.name == "timers" and thread is TIMERS._thread for thread in threading.enumerate()) == 1
