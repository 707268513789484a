"""protocol/bucket: over any time no more passes than the rate gives, and a burst; and no less where it is asked for."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.bucket import Bucket, burst_of

RATES = some.integers(limits.RATE_LEAST, 1 << 30)
STEPS = some.lists(some.tuples(some.floats(0, 5), some.integers(0, 1 << 22), some.floats(0, 1)), max_size=40)


@given(RATES, STEPS)
def test_over_any_interval_no_more_passes_than_the_rate_gives_and_a_burst(
    rate: int, steps: list[tuple[float, int, float]]
) -> None:
    """Each step: seconds that go by, how much is asked for, and which part of what was taken does not pass."""
    bucket, now, passed = Bucket(rate, 100.0), 100.0, list[tuple[float, int]]()
    for seconds, most, unused in steps:
        now += seconds
        taken = bucket.take(most, now)
        assert 0 <= taken <= most
        back = int(taken * unused)
        bucket.give_back(back)
        passed.append((now, taken - back))
    times, sums = [at for at, _ in passed], [0, *accumulate(size for _, size in passed)]
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert sums[last + 1] - sums[first] <= rate * (times[last] - times[first]) + bucket.burst + 1


@given(RATES, some.integers(1, 1 << 22), some.floats(0, 10))
def test_it_tells_when_there_will_be_enough(rate: int, size: int, seconds: float) -> None:
    bucket = Bucket(rate, 0.0)
    bucket.take(bucket.burst, 0.0)
    due = bucket.due(size, seconds)
    assert due >= seconds
    enough = min(size, bucket.burst)
    assert bucket.level(due) >= enough - 1
    assert due == seconds or enough / rate == pytest.approx(due, abs=2 / rate)


def test_all_of_the_rate_is_given_to_who_asks_often() -> None:
    bucket = Bucket(100_000, 0.0)
    assert bucket.take(1 << 30, 0.0) == bucket.burst == 100_000
    assert sum(bucket.take(1 << 30, n / 1000) for n in range(1, 1001)) == pytest.approx(100_000, abs=1)


def test_what_is_not_used_is_saved_for_a_second_and_no_longer() -> None:
    bucket = Bucket(1 << 20, 0.0)
    bucket.take(1 << 20, 0.0)
    assert bucket.level(0.5) == 1 << 19 and bucket.level(60.0) == 1 << 20


def test_time_does_not_go_back() -> None:
    bucket = Bucket(1 << 20, 10.0)
    bucket.take(1 << 20, 10.0)
    assert bucket.level(9.0) == 0 and bucket.level(10.5) == 1 << 19


def test_another_rate_holds_from_then_on() -> None:
    bucket = Bucket(1 << 20, 0.0)
    bucket.change(limits.RATE_LEAST, 0.0)
    assert bucket.level(0.0) == bucket.burst == burst_of(limits.RATE_LEAST) == 64 << 10
    bucket.take(1 << 20, 0.0)
    bucket.change(1 << 20, 0.0)
    assert bucket.level(0.0) == 0 and bucket.level(0.25) == 1 << 18
