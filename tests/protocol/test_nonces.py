"""protocol/nonces: a compact set that behaves as one of whole nonces, hour by hour."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import NotOurs
from nitrosocks_lib.protocol.nonces import Carried, Nonces, _Hour

KEY = bytes(range(32))
FIRST, SECOND, THIRD = (bytes([n]) * wire.NONCE for n in range(3))
MANY = 1 << 14


def put(nonces: Nonces, hour: int, nonce: bytes, now_hour: int) -> bool | None:
    """As `put`; None where it was there."""
    try:
        return nonces.put(hour, nonce, now_hour)
    except NotOurs:
        return None


@given(st.lists(st.tuples(st.integers(5, 9), st.integers(0, 30), st.integers(0, 2)), max_size=200), st.integers(1, 20))
def test_it_behaves_as_a_set_of_whole_nonces(steps: list[tuple[int, int, int]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "NONCES_PER_HOUR", most)
        made, plain, at, unstored = Nonces(KEY), dict[int, set[bytes]](), 0, 0
        for hour, number, ahead in steps:
            at, nonce = max(at, hour + ahead - 1), number.to_bytes(wire.NONCE)
            plain = {each: kept for each, kept in plain.items() if abs(each - at) <= 1}
            kept = plain.setdefault(hour, set())
            expected = None if nonce in kept else len(kept) < most
            if expected:
                kept.add(nonce)
            unstored += expected is False
            assert put(made, hour, nonce, at) is expected
            assert made.seen(hour, nonce) is (nonce in kept)
            assert made.kept == sum(map(len, plain.values())) and made.unstored == unstored


def test_nonces_per_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.NONCES_PER_HOUR == 2**20
    monkeypatch.setattr(limits, "NONCES_PER_HOUR", 2)
    nonces = Nonces(KEY)
    assert [nonces.put(7, nonce, 7) for nonce in (FIRST, SECOND, THIRD, THIRD)] == [True, True, False, False]
    assert [nonces.seen(7, nonce) for nonce in (FIRST, SECOND, THIRD)] == [True, True, False]
    with pytest.raises(NotOurs):
        nonces.put(7, FIRST, 7)
    assert nonces.put(8, FIRST, 7), "another hour has a set of its own"


@pytest.mark.parametrize(("now_hour", "kept"), [(6, [6, 7]), (7, [6, 7, 8]), (8, [7, 8]), (9, [8]), (10, [])])
def test_old_nonces_go_with_their_hour(now_hour: int, kept: list[int]) -> None:
    nonces = Nonces(KEY)
    for hour in (6, 7, 8):
        nonces.put(hour, FIRST, 7)
    nonces.put(now_hour, SECOND, now_hour)
    assert [hour for hour in (6, 7, 8) if nonces.seen(hour, FIRST)] == kept


def test_many_take_little_memory() -> None:
    """12 bytes each, and what 4,096 growing pieces add: three full hours stay below 64 MiB (tests/attack/bounds.py)."""
    nonces = Nonces(KEY)
    tracemalloc.start()
    try:
        for number in range(4 * MANY):
            assert nonces.put(7, number.to_bytes(wire.NONCE), 7)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / nonces.kept < (64 << 20) / (3 * limits.NONCES_PER_HOUR) + 10


def test_where_a_nonce_goes_depends_on_the_key() -> None:
    """Else who knows the server's key could fill one place of the set."""
    assert len({_Hour(bytes([n]) * 32)._place(FIRST) for n in range(50)}) == 50


# Ids of carriers (TK4)

ONE, OTHER = Carried(b"1" * wire.CARRIER_ID, 7), Carried(b"2" * wire.CARRIER_ID, 7)


def test_an_id_begins_a_carrier_once() -> None:
    nonces = Nonces(KEY)
    assert nonces.may_begin(ONE) and nonces.put(7, FIRST, 7, ONE)
    assert not nonces.may_begin(ONE) and nonces.may_begin(OTHER)
    with pytest.raises(NotOurs):
        nonces.put(7, SECOND, 7, ONE)
    assert not nonces.seen(7, SECOND), "nothing is put in then"
    assert nonces.put(7, SECOND, 7, OTHER)


def test_a_nonce_that_was_seen_brings_no_id() -> None:
    nonces = Nonces(KEY)
    nonces.put(7, FIRST, 7)
    with pytest.raises(NotOurs):
        nonces.put(7, FIRST, 7, ONE)
    assert nonces.may_begin(ONE)


@pytest.mark.parametrize("hour", [6, 7, 8])
def test_an_id_is_known_in_every_hour(hour: int) -> None:
    """A repeat may have the token of another hour."""
    nonces = Nonces(KEY)
    nonces.put(7, FIRST, 7, ONE)
    assert not nonces.may_begin(Carried(ONE.id, hour))


@pytest.mark.parametrize(("now_hour", "known"), [(6, True), (8, True), (9, False)])
def test_an_id_goes_with_its_hour(now_hour: int, known: bool) -> None:
    nonces = Nonces(KEY)
    nonces.put(8, FIRST, 7, ONE)
    nonces.put(now_hour, SECOND, now_hour)
    assert nonces.may_begin(ONE) is not known


def test_when_the_set_of_ids_is_full_none_may_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NONCES_PER_HOUR", 1)
    nonces = Nonces(KEY)
    nonces.put(7, FIRST, 7, ONE)
    assert not nonces.may_begin(OTHER) and nonces.may_begin(Carried(OTHER.id, 8)), "another hour has a set of its own"
    with pytest.raises(NotOurs):
        nonces.put(7, SECOND, 7, OTHER)
    assert nonces.unstored == 0


def test_an_id_is_stored_where_the_nonces_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NONCES_PER_HOUR", 1)
    nonces = Nonces(KEY)
    nonces.put(7, FIRST, 7)
    assert nonces.put(7, SECOND, 7, ONE) is False
    assert not nonces.may_begin(ONE) and nonces.kept == 1
