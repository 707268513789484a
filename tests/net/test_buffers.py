"""BufferPool: buffers come back, and only so many are kept."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.net import buffers
from nitrosocks_lib.net.buffers import BufferPool


def test_a_loan_that_ended_is_lent_again() -> None:
    pool = BufferPool(100, 2)
    one, two = pool.take(), pool.take()
    assert one is not two and len(one) == len(two) == 100
    pool.give_back(one)
    assert pool.take() is one


def test_only_so_many_are_kept() -> None:
    pool = BufferPool(10, 2)
    taken = [pool.take() for _ in range(5)]
    for buffer in taken:
        pool.give_back(buffer)
    again = [pool.take() for _ in range(5)]
    assert sum(any(buffer is old for old in taken) for buffer in again) == 2


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (buffers.SLOTS, wire.PLAIN_MAX),
        (buffers.FRAMES, wire.FRAME_MAX),
        (buffers.RECEIVED, wire.FRAME_MAX + limits.FIRST_READ),
    ],
)
def test_what_is_lent_holds_what_it_is_for(pool: BufferPool, size: int) -> None:
    buffer = pool.take()
    assert pool.size == len(buffer) >= size
    pool.give_back(buffer)


def test_what_was_free_all_the_time_is_forgotten() -> None:
    pool = BufferPool(10, 4)
    taken = [pool.take() for _ in range(3)]
    assert pool.forget_unused() == 0
    for buffer in taken:
        pool.give_back(buffer)
    assert pool.forget_unused() == 0  # they were lent since the last call
    assert pool.forget_unused() == 3
    assert not any(pool.take() is buffer for buffer in taken)


def test_what_was_lent_meanwhile_is_kept() -> None:
    pool = BufferPool(10, 4)
    taken = [pool.take() for _ in range(3)]
    for buffer in taken:
        pool.give_back(buffer)
    pool.forget_unused()
    again = pool.take()
    pool.give_back(again)
    assert pool.forget_unused() == 2
    assert pool.take() is again


def test_a_pool_that_ran_dry_forgets_nothing() -> None:
    pool = BufferPool(10, 4)
    taken = [pool.take() for _ in range(2)]
    for buffer in taken:
        pool.give_back(buffer)
    pool.forget_unused()
    for buffer in [pool.take() for _ in range(3)]:
        pool.give_back(buffer)
    assert pool.forget_unused() == 0 and pool.forget_unused() == 3
