"""Loans: buffers come back, and only so many are kept."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.net import buffers
from nitrosocks_lib.net.buffers import Loans


def test_a_loan_that_ended_is_lent_again() -> None:
    loans = Loans(100, 2)
    one, two = loans.take(), loans.take()
    assert one is not two and len(one) == len(two) == 100
    loans.give_back(one)
    assert loans.take() is one


def test_only_so_many_are_kept() -> None:
    loans = Loans(10, 2)
    taken = [loans.take() for _ in range(5)]
    for buffer in taken:
        loans.give_back(buffer)
    again = [loans.take() for _ in range(5)]
    assert sum(any(buffer is old for old in taken) for buffer in again) == 2


@pytest.mark.parametrize(
    ("loans", "size"),
    [
        (buffers.SLOTS, wire.PLAIN_MAX),
        (buffers.FRAMES, wire.FRAME_MAX),
        (buffers.RECEIVED, wire.FRAME_MAX + limits.FIRST_READ),
    ],
)
def test_what_is_lent_holds_what_it_is_for(loans: Loans, size: int) -> None:
    buffer = loans.take()
    assert loans.size == len(buffer) >= size
    loans.give_back(buffer)
