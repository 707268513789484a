"""Ticket: what several threads may do, one does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from nitrosocks_lib.client.ticket import Ticket

THREADS = 8


def test_whoever_takes_it_first_has_it() -> None:
    ticket = Ticket()
    assert [ticket.take() for _ in range(3)] == [True, False, False]


def test_of_several_at_once_one_has_it() -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(200):
            ticket, together = Ticket(), Barrier(THREADS)
            taken = list(threads.map(lambda _, t=ticket, b=together: (b.wait(), t.take())[1], range(THREADS)))
            assert sorted(taken) == [False] * (THREADS - 1) + [True]
