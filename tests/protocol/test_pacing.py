"""protocol/pacing: little waits unsent, and the line never runs dry, on simulated lines of any speed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.pacing import Pace

SPAN = 0.1
KIB, MIB = 1 << 10, 1 << 20
KERNEL = 4 * MIB  # bytes that wait unsent at most: then a write takes no more
TURN = limits.BATCH * limits.FRAME_FULL
STEP = 0.002


class Line:
    """A kernel whose queue leaves at `rate(t)` bytes a second."""

    def __init__(self, rate: Callable[[float], float]) -> None:
        self._rate = rate
        self.time = 0.0
        self.written = 0
        self.left = 0.0

    @property
    def unsent(self) -> int:
        return self.written - int(self.left)

    def until(self, time: float) -> None:
        while self.time < time:
            step = min(STEP, time - self.time)
            self.left = min(self.written, self.left + self._rate(self.time) * step)
            self.time += step


class Far(Line):
    """One with a congestion window: what is not acknowledged, a round trip later, lets no more leave."""

    def __init__(self, rate: float, round_trip: float) -> None:
        super().__init__(lambda _: rate)
        self._window, self._most = 14_480.0, 8.0 * MIB
        self._arrived = self._acknowledged = 0.0
        self._on_their_way = deque([0.0] * max(1, round(round_trip / STEP)))

    def until(self, time: float) -> None:
        while self.time < time:
            self.time += STEP
            self._arrived = min(self.left, self._arrived + self._rate(self.time) * STEP)
            self._on_their_way.append(self._arrived)
            before, self._acknowledged = self._acknowledged, self._on_their_way.popleft()
            self._window = min(self._most, self._window + self._acknowledged - before)
            self.left = min(self.written, max(self.left, self._acknowledged + self._window))


class Sender:
    """Outbound, as far as it is paced: `wants(t)` bytes are to be sent in all by then."""

    def __init__(self, line: Line, wants: Callable[[float], float] = lambda _: float("inf")) -> None:
        self.line, self.wants, self.pace = line, wants, Pace(line.time)
        self.queues: list[tuple[float, int, int]] = []  # when, bytes unsent, size of the largest frame

    def run(self, seconds: float) -> float:
        """Bytes that left in that time."""
        line, before, end = self.line, self.line.left, self.line.time + seconds
        time = line.time
        while time < end:
            line.until(time)
            want = self.wants(time) - line.written
            pause = self.pace.look(line.written, line.unsent, time) if want >= 1 else SPAN / 10
            assert 0 <= pause <= SPAN
            if not pause:
                self.write(time, int(min(want, TURN, max(limits.PACE_LEAST, self.pace.allowed // 2))))
            time = line.time + (pause or STEP / 10)
        line.until(end)
        return line.left - before

    def write(self, time: float, size: int) -> None:
        self.line.written += size
        frame = min(limits.FRAME_FULL, max(limits.PACE_LEAST, self.pace.allowed // 2))
        self.queues.append((time, self.line.unsent, frame))
        while self.line.unsent > KERNEL:
            self.line.until(self.line.time + STEP)

    def longest(self, since: float) -> int:
        """The most bytes that waited unsent."""
        return max((unsent for time, unsent, _ in self.queues if time >= since), default=0)


@given(exponent=some.floats(3.0, 9.0))
def test_a_line_of_any_speed_is_filled_and_little_waits(exponent: float) -> None:
    rate = 10.0**exponent
    sender = Sender(Line(lambda _: rate))
    sender.run(limits.PACE_FIRST / rate + 1.0)  # what goes out before anything was measured
    since = sender.line.time
    assert sender.run(2.0) > 0.9 * 2.0 * rate
    bound = max(rate * SPAN, limits.PACE_LEAST) + limits.PACE_LEAST
    assert sender.longest(since) <= 1.1 * bound


def test_on_a_line_of_64_kbit_frames_are_small_and_a_keystroke_passes_within_400_ms() -> None:
    sender = Sender(Line(lambda _: 8_000.0))
    sender.run(3.0)
    since = sender.line.time
    assert sender.run(10.0) > 0.99 * 80_000
    assert max(frame for time, _, frame in sender.queues if time >= since) <= KIB
    assert sender.longest(since) / 8_000 < 0.25


@pytest.mark.parametrize(
    ("rate", "round_trip", "seconds"), [(1e5, 0.5, 20), (1e6, 0.1, 5), (1e7, 0.1, 5), (7e7, 0.1, 5), (2e7, 0.02, 2)]
)
def test_a_far_line_is_filled_as_soon_as_its_congestion_window_allows(
    rate: float, round_trip: float, seconds: float
) -> None:
    alone = Far(rate, round_trip)
    alone.written = 1 << 40
    alone.until(seconds)
    paced = Sender(Far(rate, round_trip))
    paced.run(seconds)
    assert paced.line._acknowledged > 0.95 * alone._acknowledged


def test_a_line_that_becomes_slow_and_fast_again() -> None:
    rate = {0: 1e7, 1: 1e4, 2: 1e7}
    sender = Sender(Line(lambda time: rate[min(2, int(time // 10))]))
    sender.run(10.0)
    sender.run(10.0)
    assert sender.longest(20.0 - 9.0) <= 2 * MIB, "what waited when it became slow, and no more"
    assert sender.run(1.0) > 0.9e7


def test_a_line_that_stalled_is_used_again_at_once() -> None:
    """Keystrokes go on meanwhile, and each is a look: what waits must not add up to a long pause."""
    sender = Sender(
        Line(lambda time: 0.0 if 1.0 <= time < 30.0 else 1e7),
        lambda time: 1.05e7 + 20 * time if time < 30.0 else float("inf"),
    )
    sender.run(30.0)
    assert sender.pace.allowed < limits.PACE_FIRST and sender.line.unsent > 100 * KIB
    assert sender.run(1.0) > 0.8e7


def test_what_left_in_a_long_time_is_no_speed() -> None:
    """ACKs of a download leave without a look, and add up."""
    pace = Pace(0.0)
    for n in range(10):  # a line of 8 KB/s
        pace.look(800 * n, 4_000, 0.11 * n)
    allowed = pace.allowed
    assert allowed <= 2 * KIB
    assert pace.look(100_000, 0, 100.0) == 0 and pace.allowed == allowed


def test_an_idle_line_is_not_taken_for_a_slow_one() -> None:
    sender = Sender(Line(lambda _: 1e7), lambda time: 5e6 if time < 10 else float("inf"))
    sender.run(10.0)
    allowed = sender.pace.allowed
    assert allowed > 500 * KIB
    sender.run(0.05)
    assert sender.pace.allowed >= allowed


def test_where_the_system_does_not_tell_what_waits_nothing_is_held_back() -> None:
    pace, written = Pace(0.0), 0
    for n in range(100):
        assert pace.look(written, 0, 0.01 * n) == 0
        written += pace.allowed // 2
    assert pace.allowed >= limits.PACE_FIRST


@given(looks=some.lists(some.tuples(some.integers(0, 1 << 45), some.integers(0, 1 << 45), some.floats(-1e6, 1e9))))
def test_whatever_it_is_told_it_stays_within_its_bounds(looks: list[tuple[int, int, float]]) -> None:
    """Also a clock that goes back, and a kernel that counts what TLS adds."""
    pace = Pace(0.0)
    for written, unsent, now in looks:
        assert 0 <= pace.look(written, unsent, now) <= SPAN
        assert limits.PACE_LEAST <= pace.allowed <= limits.PACE_MOST
