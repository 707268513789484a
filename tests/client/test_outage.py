"""Outage: one line when the first session is lost for a while, one when all are restored; the short ones are for -v."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from logged import here

from nitrosocks_lib.client import outage as module
from nitrosocks_lib.client.outage import Outage
from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.timers import Timer

LOST, RESTORED = "connection lost (cut), reconnecting", "connection restored after 0.0 s"

ONE = [("begins", "cut"), ("ends", True)]
CASES = {
    "one": (ONE, [LOST, RESTORED]),
    "one after another": (ONE * 2, [LOST, RESTORED] * 2),
    "several at once": ([("begins", "cut")] * 3 + [("ends", True)] * 3, [LOST, RESTORED]),
    "one of two is restored": ([("begins", "cut")] * 2 + [("ends", True)], [LOST]),
    "one is over, and then the other restored": ([("begins", "cut")] * 2 + [("ends", False), ("ends", True)], None),
    "one is restored, and then the other over": ([("begins", "cut")] * 2 + [("ends", True), ("ends", False)], [LOST]),
    "over": ([("begins", "cut"), ("ends", False)], [LOST]),
    "over, and then another one": ([("begins", "cut"), ("ends", False), *ONE], [LOST, LOST, RESTORED]),
    "lost again meanwhile": ([("begins", "cut")] * 2 + [("ends", True), *ONE, ("ends", True)], [LOST, RESTORED]),
}


class Clock:
    """The time, and the timer that an Outage has asked for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timer = Timer(lambda _: None)

    def after(self, seconds: float, action: Callable[[float], float | None]) -> Timer:
        assert seconds == limits.OUTAGE_TOLD
        self.timer = Timer(action)
        return self.timer

    def passes(self, seconds: float) -> None:
        """The timer fires in between, where it is due."""
        began, self.now = self.now, self.now + seconds
        if not self.timer.cancelled and seconds >= limits.OUTAGE_TOLD:
            self.timer.action(began + limits.OUTAGE_TOLD)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "now", lambda: made.now)
    monkeypatch.setattr(module, "TIMERS", made)
    caplog.set_level(logging.INFO)
    return made


def told(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [each.getMessage() for each in here(caplog) if each.levelno >= level]


@pytest.mark.parametrize(("calls", "expected"), CASES.values(), ids=CASES)
def test_what_is_told_with_v(calls, expected, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    for name, value in calls:
        getattr(outage, name)(value)
    assert told(caplog) == ([LOST, RESTORED] if expected is None else expected)
    assert told(caplog, logging.WARNING) == []


def test_people_hear_of_a_long_one_and_how_long_it_took(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    outage.begins("the connection ended")
    outage.begins("another reason")
    clock.passes(14.2)
    outage.ends(True)
    outage.ends(True)
    assert told(caplog, logging.WARNING) == [
        "connection lost 2.0 s ago (the connection ended), reconnecting",
        "connection restored after 14 s",
    ]


def test_nobody_hears_of_a_short_one(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    for _ in range(2):  # one after another make no long one
        outage.begins("cut")
        clock.passes(1.9)
        outage.ends(True)
    assert told(caplog, logging.WARNING) == []
    assert told(caplog) == [LOST, "connection restored after 1.9 s"] * 2


def test_a_timer_that_comes_late_says_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """It fired already when it was cancelled; another outage may have begun."""
    outage = Outage()
    outage.begins("cut")
    late = clock.timer.action
    clock.passes(1.5)
    outage.ends(True)
    late(102.0)
    outage.begins("cut again")
    late(102.0)
    assert told(caplog, logging.WARNING) == []


def test_a_long_one_without_a_timer_is_told_with_v(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> Timer:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(clock, "after", none_left)
    outage = Outage()
    outage.begins("cut")
    clock.passes(14)
    outage.ends(True)
    assert told(caplog) == [LOST, "connection restored after 14 s"]
