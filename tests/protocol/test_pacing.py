"""protocol/pacing: little waits unsent, and the line never runs dry, on simulated lines of any speed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.pacing import Pace, Queued

SPAN = 0.1
KIB, MIB = 1 << 10, 1 << 20
KERNEL = 4 * MIB  # bytes that wait unsent at most: then a write takes no more
STEP = 0.002


class Line:
    """A kernel whose queue leaves at `rate(t)` bytes a second, and is acknowledged as it leaves."""

    round_trip = 0.0

    def __init__(self, rate: Callable[[float], float]) -> None:
        self._rate = rate
        self.time = 0.0
        self.written = 0
        self.left = self.arrived = 0.0

    @property
    def unsent(self) -> int:
        return self.written - int(self.left)

    @property
    def queued(self) -> Queued:
        return Queued(self.unsent, self.unsent, self.round_trip)

    @property
    def waiting(self) -> int:
        """Bytes in front of what is written next, wherever they are."""
        return self.written - int(self.arrived)

    def until(self, time: float) -> None:
        while self.time < time:
            step = min(STEP, time - self.time)
            self.left = self.arrived = min(self.written, self.left + self._rate(self.time) * step)
            self.time += step


class Far(Line):
    """One whose slowest place is further on, and a round trip away: TCP sends what its congestion window allows."""

    def __init__(self, rate: float, round_trip: float) -> None:
        super().__init__(lambda _: rate)
        self.round_trip = round_trip
        self._window, self._most = 14_480.0, 8.0 * MIB
        self.acknowledged = 0.0
        self._on_their_way = deque([0.0] * max(1, round(round_trip / STEP)))

    @property
    def queued(self) -> Queued:
        return Queued(self.unsent, self.written - int(self.acknowledged), self.round_trip)

    def until(self, time: float) -> None:
        while self.time < time:
            self.time += STEP
            self.arrived = min(self.left, self.arrived + self._rate(self.time) * STEP)
            self._on_their_way.append(self.arrived)
            before, self.acknowledged = self.acknowledged, self._on_their_way.popleft()
            if 2 * (self.left - before) >= self._window:  # it grows while it is made use of
                self._window = min(self._most, self._window + self.acknowledged - before)
            self.left = min(self.written, max(self.left, self.acknowledged + self._window))


class Sender:
    """Outbound, as far as it is paced: `wants(t)` bytes are to be sent in all by then."""

    def __init__(self, line: Line, wants: Callable[[float], float] = lambda _: float("inf")) -> None:
        self.line, self.wants, self.pace = line, wants, Pace(line.time)
        self.turns: list[tuple[float, int, int]] = []  # when, bytes that wait then, size of the largest frame

    def run(self, seconds: float) -> float:
        """Bytes that arrived in that time."""
        line, before, end = self.line, self.line.arrived, self.line.time + seconds
        time = line.time
        while time < end:
            line.until(time)
            pause = self.pause(self.wants(time) - line.written)
            if not pause:
                self.write(int(min(self.wants(time) - line.written, self.turn)))
            time = line.time + (pause or STEP / 10)
        line.until(end)
        return line.arrived - before

    @property
    def turn(self) -> int:
        return min(limits.BATCH * limits.FRAME_FULL, max(limits.PACE_LEAST, self.pace.allowed // 2))

    def pause(self, wanted: float) -> float:
        line = self.line
        if wanted < 1:
            return SPAN / 10
        if self.pace.free(line.written):
            return 0.0
        pause = self.pace.look(line.written, line.queued, line.time)
        assert 0 <= pause <= SPAN
        return max(pause, 0.001) if pause else 0.0  # as poll rounds it up

    def write(self, size: int) -> None:
        line = self.line
        line.written += size
        self.turns.append((line.time, line.waiting, min(limits.FRAME_FULL, self.turn)))
        while line.unsent > KERNEL:
            line.until(line.time + STEP)

    def longest(self, since: float) -> int:
        """The most bytes that waited."""
        return max((waiting for time, waiting, _ in self.turns if time >= since), default=0)


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
    assert max(frame for time, _, frame in sender.turns if time >= since) <= KIB
    assert sender.longest(since) / 8_000 < 0.25


FAR = [(1e5, 0.5), (1e6, 0.1), (1e7, 0.1), (6e7, 0.1), (2e7, 0.02), (2e7, 0.3), (1e7, 0.6)]


@pytest.mark.parametrize(("rate", "round_trip"), FAR)
def test_a_far_line_is_filled_soon_after_its_congestion_window_allows(rate: float, round_trip: float) -> None:
    alone = Far(rate, round_trip)
    alone.written = 1 << 40
    alone.until(6.0)
    paced = Sender(Far(rate, round_trip))
    paced.run(6.0)
    assert paced.line.arrived > alone.arrived - (0.5 + 3 * round_trip) * rate
    assert paced.run(6.0) > 0.9 * 6.0 * rate


@pytest.mark.parametrize(("rate", "round_trip"), [(8e3, 0.05), (8e3, 0.5), *FAR])
def test_little_queues_at_a_slow_place_further_on(rate: float, round_trip: float) -> None:
    """Beyond what is under way for a round trip."""
    sender = Sender(Far(rate, round_trip))
    sender.run(8.0)
    sender.run(4.0)
    assert sender.longest(8.0) <= 1.3 * max(rate * (SPAN + round_trip), 2 * limits.PACE_LEAST)


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
        pace.look(800 * n, Queued(9_000, 9_000, 0.0), 0.11 * n)
    allowed = pace.allowed
    assert allowed <= 2 * KIB
    assert pace.look(100_000, Queued(0, 0, 0.0), 100.0) == 0 and pace.allowed == allowed


def test_an_idle_line_is_not_taken_for_a_slow_one() -> None:
    sender = Sender(Line(lambda _: 1e7), lambda time: 5e6 if time < 10 else float("inf"))
    sender.run(10.0)
    allowed = sender.pace.allowed
    assert allowed > 500 * KIB
    sender.run(0.05)
    assert sender.pace.allowed >= allowed // 2, "for the end of the last transfer, once"


def test_where_the_system_does_not_tell_what_waits_nothing_is_held_back() -> None:
    pace, written = Pace(0.0), 0
    for n in range(100):
        assert pace.look(written, Queued(0, 0, 0.0), 0.01 * n) == 0
        written += pace.allowed // 2
    assert pace.allowed >= limits.PACE_FIRST


@given(
    some.lists(some.tuples(*[some.integers(0, 1 << 45)] * 3, some.floats(0, 5e3), some.floats(-1e6, 1e9))),
)
def test_whatever_it_is_told_it_stays_within_its_bounds(looks: list[tuple[int, int, int, float, float]]) -> None:
    """Also a clock that goes back, and a kernel that counts what TLS adds."""
    pace = Pace(0.0)
    for written, unsent, unacknowledged, round_trip, now in looks:
        assert 0 <= pace.look(written, Queued(unsent, unacknowledged, round_trip), now) <= SPAN
        assert limits.PACE_LEAST <= pace.allowed <= limits.PACE_MOST


def test_what_was_written_since_the_last_look_counts() -> None:
    """With what was not acknowledged then; what was written before, and is gone, does not."""
    pace = Pace(0.0)
    assert pace.look(100_000, Queued(0, 1_000, 0.0), 1.0) == 0.0
    room = pace.allowed // 2 - 1_000
    assert pace.free(100_000 + room) and not pace.free(100_000 + room + 1)


def test_a_line_that_holds_just_what_it_may_is_not_the_bound() -> None:
    """So what leaves slowly then lowers nothing; a byte more is a pause, and lowers it by half."""
    for excess in (0, 1):
        pace = Pace(0.0)
        allowed, half = pace.allowed, pace.allowed // 2
        queued = Queued(half + excess, half + excess, 0.0)
        paused = pace.look(half + excess, queued, SPAN / 2)
        pace.look(half + excess, queued, SPAN)
        assert (paused > 0, pace.allowed) == (bool(excess), half if excess else allowed)
