"""Pauses: how long a session rests between two attempts to reconnect."""

from __future__ import annotations

import pytest

from nitrosocks_lib.client.pauses import Pauses
from nitrosocks_lib.facts import limits

FIRST = limits.BACKOFF_FIRST


def taken(pauses: Pauses, count: int) -> list[float]:
    return [pauses.take() for _ in range(count)]


def test_they_grow_up_to_a_bound() -> None:
    pauses = Pauses()
    pauses.lost(0.0, 0)
    assert taken(pauses, 9) == [0.0, *(FIRST * 2**n for n in range(7)), limits.BACKOFF_MAX]
    assert taken(pauses, 2) == [limits.BACKOFF_MAX] * 2


@pytest.mark.parametrize(("lived", "more"), [(limits.LIVED, 0), (0.0, 1)], ids=["it lived", "it carried"])
def test_behind_a_connection_that_was_of_use_they_begin_anew(lived: float, more: int) -> None:
    pauses = Pauses()
    pauses.lost(0.0, 7)
    taken(pauses, 5)
    pauses.lost(lived, 7 + more)
    assert taken(pauses, 2) == [0.0, FIRST]


def test_behind_one_that_was_of_none_they_go_on_but_keep_nobody_waiting_for_long() -> None:
    pauses, rests = Pauses(), []
    for _ in range(9):
        pauses.lost(0.0, 7)
        rests.append(pauses.take())
    assert rests == [0.0, *(FIRST * 2**n for n in range(4)), *[limits.LIVED] * 4]


def test_one_that_somebody_ended_is_not_followed_by_a_longer_one() -> None:
    pauses = Pauses()
    taken(pauses, 8)
    pauses.anew()
    assert taken(pauses, 2) == [FIRST, 2 * FIRST]
