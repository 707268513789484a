"""session/shares: who takes all that he can leaves something for everybody else."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.session.shares import Shares


def filled(shares: Shares, *greedy: bytes) -> list[int]:
    """What each of them gets when all take what they can, in turn."""
    while [each for each in greedy if shares.take(each)]:
        pass
    return [shares._held[each] for each in greedy]


def test_one_alone_gets_half() -> None:
    shares = Shares(100)
    assert filled(shares, b"A") == [50] and shares.taken == 50
    assert shares.take(b"B")


@pytest.mark.parametrize(("greedy", "each"), [(2, 34), (5, 17), (20, 5)])
def test_greedy_ones_share_alike_and_leave_as_much(greedy: int, each: int) -> None:
    shares = Shares(100)
    got = filled(shares, *(bytes([n]) for n in range(greedy)))
    assert max(got) == each and max(got) - min(got) <= 1
    assert filled(shares, b"honest")[0] >= 1


def test_places_that_are_given_back_are_free() -> None:
    shares = Shares(2)
    assert shares.take(b"A") and not shares.take(b"A")
    shares.give_back(b"A")
    assert shares.taken == 0 and shares.take(b"B") and not shares._held[b"A"]


@given(st.integers(0, 20), st.lists(st.tuples(st.sampled_from([b"A", b"B", b"C"]), st.booleans()), max_size=100))
def test_it_counts_right(most: int, steps: list[tuple[bytes, bool]]) -> None:
    shares, held = Shares(most), dict.fromkeys((b"A", b"B", b"C"), 0)
    for client, takes in steps:
        if takes:
            free = most - sum(held.values())
            assert shares.take(client) is (held[client] < free)
            held[client] += held[client] < free
        elif held[client]:
            shares.give_back(client)
            held[client] -= 1
        assert shares.taken == sum(held.values()) <= most
    assert all(shares._held.values()), "who holds nothing is forgotten"


def test_many_threads() -> None:
    shares = Shares(1_000)

    def use(client: bytes) -> None:
        for _ in range(500):
            if shares.take(client):
                shares.give_back(client)

    threads = [threading.Thread(target=use, args=(bytes([n]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shares.taken == 0 and not shares._held


def test_a_client_may_have_a_limit_of_its_own() -> None:
    shares = Shares(100)
    assert [shares.take(b"A", 2) for _ in range(3)] == [True, True, False] and shares.holds(b"A") == 2
    shares.give_back(b"A")
    assert shares.take(b"A", 2) and shares.take(b"A") and shares.holds(b"B") == 0
