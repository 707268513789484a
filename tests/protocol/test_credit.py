"""protocol/credit: limits are kept and raised in time, windows grow with use alone and within one budget."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import Violation
from nitrosocks_lib.facts.wire import Abort
from nitrosocks_lib.protocol.credit import Credit, Promises

NOW, ROUND_TRIP = 1_024.0, 0.125  # what floats hold to the bit
MIB = 1 << 20
WINDOW = limits.WINDOW


def credit(window: int = WINDOW, promises: Promises | None = None) -> Credit:
    return Credit(window, promises or Promises(), NOW)


def used(made: Credit, size: int, now: float) -> bool:
    """DATA that the local socket takes at once."""
    made.receive(size)
    return made.take(size, now, ROUND_TRIP)


# The limit


@pytest.mark.parametrize("window", [limits.WINDOW_MIN, WINDOW, limits.WINDOW_MAX])
def test_a_stream_begins_with_the_window_as_its_limit(window: int) -> None:
    made = credit(window)
    assert (made.given, made.received, made.taken) == (window, 0, 0)
    made.receive(window)
    with pytest.raises(Violation) as caught:
        made.receive(1)
    assert caught.value.reason is Abort.LIMIT and made.received == window


@pytest.mark.parametrize("window", [limits.WINDOW_MIN, WINDOW])
def test_the_limit_is_raised_when_half_of_the_window_is_used(window: int) -> None:
    made = credit(window)
    made.receive(window)
    late = NOW + 60
    assert not made.take(window // 2 - 1, late, ROUND_TRIP) and made.given == window
    assert made.take(1, late, ROUND_TRIP) and made.given == window // 2 + window
    assert not made.take(window // 2 - 1, late + 60, ROUND_TRIP)
    assert made.take(1, late + 60, ROUND_TRIP) and made.given == 2 * window


@pytest.mark.parametrize(("window", "step"), [(2 * MIB, MIB), (4 * MIB, MIB), (16 * MIB, 2 * MIB), (64 * MIB, 8 * MIB)])
def test_the_limit_of_a_large_window_is_raised_sooner(window: int, step: int) -> None:
    """The sender has only the rest of the window to go on with until it hears of the next limit."""
    made, late = credit(window), NOW + 60
    made.receive(window)
    assert not made.take(step - 1, late, ROUND_TRIP) and made.given == window
    assert made.take(1, late, ROUND_TRIP) and made.given == step + window


def test_what_no_local_socket_takes_raises_nothing() -> None:
    made = credit()
    made.receive(WINDOW)
    assert not made.take(0, NOW, ROUND_TRIP) and made.given == WINDOW


# Growth


@pytest.mark.parametrize(("seconds", "grows"), [(0.0, True), (2 * ROUND_TRIP, True), (2.01 * ROUND_TRIP, False)])
def test_a_window_grows_where_a_limit_is_used_up_within_two_round_trips(seconds: float, grows: bool) -> None:
    made = credit()
    assert used(made, WINDOW // 2, NOW) and made.window == WINDOW
    assert used(made, WINDOW // 2, NOW + seconds)
    assert made.window == WINDOW * (2 if grows else 1)
    assert made.given == made.taken + made.window


def test_a_sender_that_waits_for_each_limit_makes_it_grow() -> None:
    """It uses the limit up in one round trip and a bit, when its line is fast."""
    made, now = credit(), NOW
    for _ in range(6):
        now += 1.01 * ROUND_TRIP
        used(made, made.given - made.received, now)
    assert made.window == 16 * MIB


def test_one_limit_that_is_used_up_doubles_the_window_once() -> None:
    made = credit()
    used(made, WINDOW, NOW)
    assert made.window == 2 * WINDOW
    used(made, 1, NOW)
    assert made.window == 2 * WINDOW


def test_a_local_socket_that_takes_much_at_once_now_and_then_makes_nothing_grow() -> None:
    made, now = credit(), NOW
    for _ in range(10):
        now += 5
        made.receive(made.given - made.received)
        for _ in range(4):
            made.take(WINDOW // 4, now, ROUND_TRIP)
    assert made.window == WINDOW


def test_a_window_grows_to_16_mib_and_no_further() -> None:
    made, windows = credit(), []
    while not windows or made.window > windows[-1]:
        windows.append(made.window)
        used(made, made.given - made.taken, NOW)
    assert windows == [WINDOW << n for n in range(7)] and windows[-1] == 16 * MIB


def test_a_window_above_16_mib_does_not_grow() -> None:
    made = credit(32 * MIB)
    used(made, 32 * MIB, NOW)
    assert made.window == 32 * MIB


def test_a_clock_that_goes_back_grows_no_window_for_ever() -> None:
    made = credit()
    for now in (NOW - 3600, NOW - 3540, NOW - 3480):
        used(made, made.given - made.received, now)
    assert made.window == 2 * WINDOW and made.given == made.taken + made.window


def test_growth_keeps_within_the_budget_and_first_windows_are_no_part_of_it() -> None:
    """Protocol 10.27: what the streams begin with is theirs, however many there are."""
    promises = Promises(3 * WINDOW)
    made = [credit(promises=promises) for _ in range(4)]
    for one in made:
        used(one, WINDOW, NOW)
    assert [one.window // WINDOW for one in made] == [2, 2, 2, 1] and promises.grown == promises.budget
    made[0].close()
    used(made[1], 2 * WINDOW, NOW)
    assert made[1].window == 2 * WINDOW, "there is half of what it needs to double"
    made[2].close()
    used(made[1], 2 * WINDOW, NOW)
    assert made[1].window == 4 * WINDOW and promises.grown == 3 * WINDOW


def test_a_stream_gives_back_once_what_its_window_grew_by() -> None:
    promises = Promises()
    made = credit(promises=promises)
    used(made, WINDOW, NOW)
    assert promises.grown == WINDOW
    made.close()
    made.close()
    assert promises.grown == 0


class Model(RuleBasedStateMachine):
    """The streams of a session, with any sizes and times; a peer that keeps the limits, and one that tries to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.promises = Promises(4 * MIB)
        self.streams: list[Credit] = []
        self.stated: dict[Credit, list[tuple[int, float]]] = {}  # limits not used up, and since when they stand
        self.now = NOW

    @rule(window=some.sampled_from([limits.WINDOW_MIN, WINDOW, 3 * MIB]))
    def open(self, window: int) -> None:
        one = Credit(window, self.promises, self.now)
        self.streams.append(one)
        self.stated[one] = [(window, self.now)]

    @rule(seconds=some.sampled_from([ROUND_TRIP / 8, ROUND_TRIP, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def pick(self, which: int) -> Credit:
        return self.streams[which % len(self.streams)]

    @precondition(lambda self: self.streams)
    @rule(which=some.integers(0), share=some.floats(0, 1))
    def receive(self, which: int, share: float) -> None:
        one = self.pick(which)
        one.receive(int(share * (one.given - one.received)))

    @precondition(lambda self: self.streams)
    @rule(which=some.integers(0), beyond=some.integers(1, 1 << 40))
    def receive_too_much(self, which: int, beyond: int) -> None:
        one = self.pick(which)
        before = one.received
        with pytest.raises(Violation):
            one.receive(one.given - one.received + beyond)
        assert one.received == before

    @precondition(lambda self: self.streams)
    @rule(which=some.integers(0), share=some.floats(0, 1))
    def take(self, which: int, share: float) -> None:
        one = self.pick(which)
        given, window, grown = one.given, one.window, self.promises.grown
        stated = one.take(int(share * (one.received - one.taken)), self.now, ROUND_TRIP)
        if stated:
            assert one.given == one.taken + one.window > given
            self.stated[one].append((one.given, self.now))
        else:
            assert one.given == given
        used_up = [since for limit, since in self.stated[one] if limit <= one.taken]
        self.stated[one] = [row for row in self.stated[one] if row[0] > one.taken]
        if one.window != window:
            assert one.window == min(2 * window, limits.WINDOW_GROWN)
            assert used_up and self.now - min(used_up) <= 2 * ROUND_TRIP, "grown without need"
            assert self.promises.grown == grown + one.window - window

    @precondition(lambda self: self.streams)
    @rule(which=some.integers(0))
    def close(self, which: int) -> None:
        one = self.pick(which)
        self.streams.remove(one)
        one.close()

    @invariant()
    def promises_are_kept(self) -> None:
        for one in self.streams:
            assert one.taken <= one.received <= one.given
            assert one.window // 2 < one.given - one.taken <= one.window, "raised when half is used, at the latest"
        beyond = sum(one.given - one.taken - one._first for one in self.streams)
        assert beyond <= self.promises.grown <= self.promises.budget
        assert self.streams or not self.promises.grown


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40)


# A line


def moved(rate: float, round_trip: float, seconds: float) -> tuple[float, Credit]:
    """What a stream moves over a line of `rate` bytes a second, where only the limit holds its sender back."""
    made, sent, limit, step = credit(), 0, WINDOW, 0.001
    data: deque[tuple[float, int]] = deque()  # DATA on its way: when it is there, and how much
    news: deque[tuple[float, int]] = deque()  # limits on their way back
    for tick in range(int(seconds / step)):
        now = NOW + tick * step
        while news and news[0][0] <= now:
            limit = news.popleft()[1]
        if size := min(int(rate * step), limit - sent):
            data.append((now + round_trip / 2, size))
            sent += size
        while data and data[0][0] <= now:
            size = data.popleft()[1]
            made.receive(size)
            if made.take(size, now, round_trip):
                news.append((now + round_trip / 2, made.given))
    return made.taken / seconds, made


@pytest.mark.parametrize(("rate", "round_trip"), [(100e6, 0.1), (10e6, 0.1), (1e6, 0.5), (500e6, 0.02)])
def test_a_far_stream_gets_what_its_line_can_carry(rate: float, round_trip: float) -> None:
    """100 MB/s at 100 ms, among others; a few round trips are the price of growing."""
    speed, made = moved(rate, round_trip, 10.0)
    assert speed > 0.9 * rate
    assert made.window <= 4 * rate * round_trip or made.window == WINDOW, "no more than it has a use for"


@pytest.mark.parametrize(("rate", "round_trip"), [(8e3, 0.1), (1e6, 0.1), (1e6, 0.02)])
def test_a_stream_that_has_enough_stays_as_it_is(rate: float, round_trip: float) -> None:
    speed, made = moved(rate, round_trip, 10.0)
    assert speed > 0.9 * rate and made.window == WINDOW


def test_each_datagram_raises_the_limit_and_few_are_stated_at_once() -> None:
    credit = Credit(WINDOW, Promises(), 0.0, each=True)
    stated = 0
    for number in range(1, 101):
        credit.receive(WINDOW // 100)
        assert credit.take(WINDOW // 100, 0.0, 0.0) and credit.given == number * (WINDOW // 100) + WINDOW
        stated += credit.presses()
    assert 7 <= stated <= 8  # so a sender that hears of them at once always has seven eighths of a window


def test_a_limit_of_a_stream_of_bytes_is_stated_when_it_is_raised() -> None:
    assert Credit(WINDOW, Promises(), 0.0).presses()
