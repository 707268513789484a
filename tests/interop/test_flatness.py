"""The judge of long runs: what it takes for growth, and what not."""

import pytest
from flatness import growth


def test_what_settles_in_the_first_third_is_no_growth() -> None:
    assert growth([10, 20, 30, 40, 50, 60] + 12 * [60]) == 0


def test_a_steady_leak_is_growth_by_a_third_of_the_run() -> None:
    assert growth(range(300)) == 100


def test_what_comes_and_goes_is_no_growth() -> None:
    assert growth(60 * [8, 14]) == 0


def test_what_falls_is_below_zero() -> None:
    assert growth([9, 9, 6, 6, 3, 3]) == -3


def test_of_values_that_are_no_thirds_the_last_count() -> None:
    assert growth([100, 100, 1, 1, 2, 2, 3, 3]) == 1


@pytest.mark.parametrize("values", [[], [1], [1, 2]])
def test_too_few_values_are_not_judged(values: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be judged"):
        growth(values)
