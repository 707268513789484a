"""Strangled: connections that a box lets begin, and no more."""

from __future__ import annotations

import pytest

from nitrosocks_lib.client.strangled import Strangled
from nitrosocks_lib.facts import limits

BEGUN = limits.STRANGLED_BYTES


def ended(strangled: Strangled, times: int, lived: float = 1.0, moved: int = BEGUN, carried: int = 0) -> list[bool]:
    """What it says of so many more of the same."""
    return [
        strangled.ended(lived, strangled._moved + moved, strangled._carried + carried) for _ in range(times)
    ]  # fmt: skip


def test_several_in_a_row_are_enough() -> None:
    strangled = Strangled()
    assert ended(strangled, 2 * limits.STRANGLED) == 2 * [*[False] * (limits.STRANGLED - 1), True]


@pytest.mark.parametrize(
    "healthy", [{"lived": limits.STRANGLED_LIVED}, {"carried": limits.STRANGLED_FRAMES}], ids=["it lived", "it carried"]
)
def test_one_that_is_none_ends_the_row(healthy: dict) -> None:
    strangled = Strangled()
    ended(strangled, limits.STRANGLED - 1)
    assert ended(strangled, 1, **healthy) == [False]
    assert ended(strangled, limits.STRANGLED) == [*[False] * (limits.STRANGLED - 1), True]


def test_one_over_which_nothing_was_to_go_says_nothing() -> None:
    strangled = Strangled()
    assert not any(ended(strangled, 9, moved=BEGUN - 1))
    ended(strangled, limits.STRANGLED - 1)
    assert ended(strangled, 1, moved=0) == [False]
    assert ended(strangled, 1) == [True]
