"""protocol/doubt: D, what is unanswered, and both of them while two threads and the timers are at it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from interleaved import each_order, each_order_of_two

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.doubt import Doubt

NOW = 1_024.0
MINUTE = 60.0


def sampled(*rows: tuple[float, float]) -> Doubt:
    """Frames that were acknowledged: when, and how long after they were written."""
    made = Doubt()
    for count, (at, seconds) in enumerate(rows, 1):
        made.wrote(count, at - seconds)
        made.acknowledged(count, at)
    return made


# D


@pytest.mark.parametrize(
    ("seconds", "patience"),
    [(0.0, 1.0), (0.001, 1.0), (0.25, 1.0), (0.5, 2.0), (8.25, 33.0), (30.0, 120.0), (31.0, 120.0), (1e9, 120.0)],
)
def test_d_is_four_times_the_longest_time_to_an_acknowledgement(seconds: float, patience: float) -> None:
    assert sampled((NOW, seconds)).patience(NOW) == patience


def test_d_before_anything_was_measured() -> None:
    assert Doubt().patience(NOW) == limits.DOUBT_LEAST == 1.0


def test_the_longest_time_of_the_last_minute_counts() -> None:
    made = sampled((NOW, 5.0), (NOW + 1, 1.0), (NOW + 30, 3.0), (NOW + 40, 2.0))
    ages = [(0, 20.0), (59.9, 20.0), (60.1, 12.0), (89.9, 12.0), (90.1, 8.0), (99.9, 8.0), (100.1, 1.0)]
    assert [made.patience(NOW + age) for age, _ in ages] == [patience for _, patience in ages]


def test_samples_are_few_however_many_frames_there_are() -> None:
    made = Doubt()
    for n in range(1, 20_000):  # ever shorter times: the longest are all to be kept for a minute
        made.wrote(n, NOW + 0.02 * n)
        made.acknowledged(n, NOW + 0.02 * n + 1 / n)
    assert len(made._longest) <= MINUTE + 2
    assert len(made._marks) == 0


@pytest.mark.parametrize("doublings", range(12))
def test_d_doubles_with_each_doubt_or_reconnection(doublings: int) -> None:
    made = sampled((NOW, 0.5))
    for _ in range(doublings):
        made.doubled()
    assert made.patience(NOW) == min(2.0 * 2**doublings, 120.0)


def test_until_a_frame_is_newly_acknowledged() -> None:
    made = Doubt()
    made.wrote(2, NOW)  # two frames at once
    made.doubled()
    assert made.patience(NOW) == 2.0
    made.acknowledged(1, NOW + 0.125)  # one of them
    assert made.patience(NOW + 0.125) == 1.0


# What is unanswered


def test_all_is_answered() -> None:
    made = Doubt()
    assert made.due(NOW, NOW) == 0
    assert made.wrote(1, NOW)
    made.acknowledged(1, NOW)
    assert made.due(NOW, NOW) == 0


@pytest.mark.parametrize(("heard", "due"), [(-100.0, 1.0), (0.0, 1.0), (0.5, 1.5), (7.0, 8.0)])
def test_silence_is_counted_from_the_writing_or_from_what_was_heard_behind_it(heard: float, due: float) -> None:
    made = Doubt()
    made.wrote(1, NOW)
    assert made.due(NOW + heard, NOW) == NOW + due


def test_it_is_counted_from_the_oldest_frame_that_is_unanswered() -> None:
    made = Doubt()
    assert [made.wrote(n, NOW + n) for n in (1, 2, 3)] == [True, False, False]
    assert made.due(0.0, NOW) == NOW + 2
    made.acknowledged(1, NOW + 1)
    assert made.due(0.0, NOW + 1) == NOW + 2 + 1
    made.acknowledged(2, NOW + 2)
    assert made.due(0.0, NOW + 2) == NOW + 3 + 1


def test_frames_of_one_moment_share_a_mark_and_the_last_of_them_is_waited_for() -> None:
    made = Doubt()
    for n in range(1, 5):
        assert made.wrote(n, NOW + 0.001 * n) == (n == 1)
    assert len(made._marks) == 1
    made.acknowledged(3, NOW + 1)
    assert made.due(0.0, NOW + 1) == NOW + 0.001 + 1
    made.acknowledged(4, NOW + 1)
    assert made.due(0.0, NOW + 1) == 0


def test_marks_are_bounded_and_no_frame_is_forgotten() -> None:
    made = Doubt()
    for n in range(1, 2_000):
        made.wrote(n, NOW + n)
    assert len(made._marks) == limits.DOUBT_MARKS
    made.acknowledged(1_998, NOW + 2_000)
    assert made.due(0.0, NOW + 2_000) > 0
    made.acknowledged(1_999, NOW + 2_000)
    assert made.due(0.0, NOW + 2_000) == 0


def test_a_ping_is_answered_by_pong_alone() -> None:
    """What is heard may have arrived before the network was gone."""
    made = Doubt()
    made.pinged(NOW)
    assert made.due(NOW - 5, NOW) == NOW + 1
    assert made.due(NOW + 0.5, NOW) == NOW + 0.5 + 1
    made.wrote(1, NOW - 3)
    assert made.due(NOW - 5, NOW) == NOW - 3 + 1, "the frame has waited for longer"
    made.ponged()
    assert made.due(NOW + 0.5, NOW) == NOW + 0.5 + 1, "the frame is still unanswered"
    made.acknowledged(1, NOW)
    assert made.due(NOW + 0.5, NOW) == 0


def test_on_a_new_connection_nothing_is_unanswered_until_it_is_written_there() -> None:
    made = sampled((NOW, 0.5))
    made.wrote(2, NOW)
    made.pinged(NOW)
    made.doubled()
    made.begin()
    assert made.due(NOW - 5, NOW) == 0
    assert made.wrote(2, NOW + 10), "sent again"
    assert made.due(NOW, NOW + 10) == NOW + 10 + 4, "what was measured and doubled stays"


# Threads: outbound writes, inbound hears acknowledgements, the timer looks


class Watched:
    """A Doubt with its watch: armed by the first frame that is unanswered, gone when the timer finds none."""

    def __init__(self, *written: float) -> None:
        self.doubt, self.armed, self.count, self.acknowledged = Doubt(), False, 0, 0
        for later in written:
            self.write(later)

    def write(self, later: float) -> None:
        self.count += 1
        if self.doubt.wrote(self.count, NOW + later):
            self.armed = True

    def hear(self, count: int) -> None:
        self.doubt.acknowledged(count, NOW + 1)
        self.acknowledged = count

    def look(self) -> None:
        if not self.doubt.due(0.0, NOW + 1):
            self.armed = False

    def check(self) -> None:
        unanswered = self.count > self.acknowledged
        assert bool(self.doubt.due(0.0, NOW + 1)) == unanswered
        assert self.armed or not unanswered, "a frame is unanswered, and nobody will doubt"


SOON, LATER = 0.001, 0.5  # within a mark, and behind it
Scene = Callable[[], tuple[Callable, Callable, Callable]]


@pytest.mark.parametrize("later", [SOON, LATER])
@pytest.mark.parametrize("before", [[0.0], [-1.0, 0.0]])
def test_an_acknowledgement_comes_while_a_frame_is_marked(before: list[float], later: float) -> None:
    def scene() -> tuple[Callable, Callable, Callable]:
        watched = Watched(*before)
        return lambda: watched.write(later), lambda: watched.hear(len(before)), watched.check

    assert each_order(scene) > 20


@pytest.mark.parametrize("later", [SOON, LATER])
@pytest.mark.parametrize("before", [[0.0], [-1.0, 0.0]])
def test_a_frame_is_marked_while_an_acknowledgement_comes(before: list[float], later: float) -> None:
    def scene() -> tuple[Callable, Callable, Callable]:
        watched = Watched(*before)
        return lambda: watched.hear(len(before)), lambda: watched.write(later), watched.check

    assert each_order(scene) > 20


@pytest.mark.parametrize("later", [SOON, LATER])
def test_the_timer_looks_amid_both(later: float) -> None:
    def writing() -> tuple[Callable, Callable, Callable, Callable]:
        watched = Watched(0.0)
        return lambda: watched.write(later), lambda: watched.hear(1), watched.look, watched.check

    def hearing() -> tuple[Callable, Callable, Callable, Callable]:
        watched = Watched(0.0)
        return lambda: watched.hear(1), lambda: watched.write(later), watched.look, watched.check

    assert each_order_of_two(writing) > 20 and each_order_of_two(hearing) > 20


@pytest.mark.parametrize("seconds", [0.1, 3.0])
def test_d_is_asked_for_while_it_is_measured(seconds: float) -> None:
    """It is one of before or of behind, never one of amid."""

    def scene(first: bool) -> tuple[Callable, Callable, Callable]:
        made, seen = sampled((NOW, 1.0), (NOW + 5, 0.5)), []
        made.wrote(3, NOW + 10)
        before = made.patience(NOW + 20)

        def measure() -> None:
            made.acknowledged(3, NOW + 10 + seconds)

        def ask() -> None:
            seen.append(made.patience(NOW + 20))
            made.due(NOW, NOW + 20)

        def check() -> None:
            assert seen in ([before], [made.patience(NOW + 20)])

        return (measure, ask, check) if first else (ask, measure, check)

    assert each_order(lambda: scene(True)) > 20 and each_order(lambda: scene(False)) > 20


# The page's figures


class Fixed(Doubt):
    """A D that is not measured, or not doubled."""

    def __init__(self, measured: bool, doubled: bool) -> None:
        super().__init__()
        self._measures, self._doubles = measured, doubled

    def _sample(self, seconds: float, now: float) -> None:
        if self._measures:
            super()._sample(seconds, now)

    def doubled(self) -> None:
        if self._doubles:
            super().doubled()


def reconnections(doubt: Doubt, hours: float = 1.0) -> tuple[int, int]:
    """An upload over 64 kbit/s in frames of 64 KiB, nothing of which is heard before it is whole at the other side.

    How often the client reconnects, after which the frame under way begins anew, and how many frames get through.
    """
    frame, again = 65_536 / 8_000, 3600 / 936 - 1  # seconds for a frame, and for what a doubt begins
    now, heard, count, made = NOW, NOW, 1, 0
    doubt.wrote(count, now)
    arrives = now + frame
    while now < NOW + hours * 3600:
        due = doubt.due(heard, now)
        assert due, "a frame is under way"
        if arrives <= due:
            now = heard = arrives
            doubt.acknowledged(count, now)
            count += 1
        else:
            doubt.doubled()
            made += 1
            now = heard = due + again
            doubt.doubled()
            doubt.begin()
        doubt.wrote(count, now)
        arrives = now + frame
    return made, count - 1


def test_what_measuring_and_doubling_are_for() -> None:
    """Protocol 5, Doubt: 936 reconnections an hour with neither, 3 with both."""
    assert reconnections(Fixed(False, False))[0] == 936
    assert reconnections(Fixed(True, False)) == (936, 0), "nothing to measure: no frame gets through"
    assert reconnections(Fixed(False, True))[0] > 100
    made, through = reconnections(Doubt())
    assert made <= 3 and through > 0.98 * 3600 * 8_000 / 65_536
    assert reconnections(Doubt(), 24.0)[0] == made, "once and for all"
