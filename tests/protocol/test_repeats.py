"""protocol/repeats: what is due, what is under way, and three repeats of what fails (HP7)."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import CarrierLost
from nitrosocks_lib.protocol.repeats import Repeats


def under_way(*numbers: int) -> Repeats:
    made = Repeats()
    for n in numbers:
        made.add(n)
        made.began(n, float(n))
    return made


def test_a_request_is_due_until_it_is_on_its_way() -> None:
    made = Repeats()
    made.add(0)
    made.add(1)
    assert made.due == [0, 1] and made.next_at(5) is None
    made.began(0, 10.0)
    assert made.due == [1] and made.next_at(5) == 15.0 and not made.fresh(0)
    made.over(0)
    assert made.due == [1] and made.next_at(5) is None


def test_one_that_failed_is_due_again_before_new_ones() -> None:
    made = under_way(0, 1)
    made.add(2)
    made.failed(1)
    made.failed(0)
    assert made.due == [0, 1, 2]
    assert [made.fresh(n) for n in (0, 1, 2)] == [True, True, False]


def test_it_is_repeated_three_times_then_the_carrier_is_lost() -> None:
    made = under_way(0)
    for _ in range(limits.REPEATED):
        made.failed(0)
        made.began(0, 0.0)
    with pytest.raises(CarrierLost):
        made.failed(0)
    assert limits.REPEATED == 3


def test_failures_count_for_each_request_alone() -> None:
    made = under_way(0, 1)
    for _ in range(limits.REPEATED):
        for n in (0, 1):
            made.failed(n)
            made.began(n, 0.0)
    made.over(0)
    with pytest.raises(CarrierLost):
        made.failed(1)


def test_a_failure_of_what_is_not_under_way_is_none() -> None:
    """Its connection ended when the answer was there, or it was given up for its time-out a moment before."""
    made = under_way(0)
    made.failed(0)
    made.failed(0)
    assert made.due == [0] and made.fresh(0)
    made.over(0)
    made.failed(0)
    assert made.due == [] and not made.fresh(0)


def test_overdue() -> None:
    made = under_way(0, 3)
    assert made.overdue(4.9, 5) == [] and made.overdue(5.0, 5) == [0] and made.overdue(8.0, 5) == [0, 3]
    assert made.next_at(5) == 5.0
