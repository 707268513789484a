"""Admission: each rank has places of its own, newcomers always get one, and who gives way is of whoever has most."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.facts import limits
from nitrosocks_lib.server.admission import Admission, Place, Rank, network, places, turns

FEW = dict.fromkeys(Rank, 4)
OTHERS = b"\x0a\x00\x00"


def admission(most: dict[Rank, int] = FEW, seed: int = 1) -> Admission:
    return Admission(most, random.Random(seed).randrange)


def entered(to: Admission, source: bytes = b"", at: float = 0.0, rank: Rank = Rank.SILENT) -> Place:
    place = Place(source, at)
    to.enter(place)
    if rank is not Rank.SILENT:
        to.advance(place, rank)
    return place


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 4096, 20_000, 1 << 20])
def test_places_fit_the_descriptors(descriptors: int) -> None:
    most, late = places(descriptors)
    assert set(most) == set(Rank) and min(*most.values(), late) >= 12
    with_threads = sum(most[rank] for rank in Rank if rank >= Rank.HEARD)
    assert with_threads <= 224, "and the server's own stay below 320"
    assert sum(most.values()) + late <= max(descriptors // 2, 96 + with_threads)


def test_with_enough_descriptors_limits_are_what_there_is() -> None:
    most, late = places(1 << 20)
    assert (most[Rank.SILENT], most[Rank.TLS], late) == (limits.PLACES_SILENT, limits.PLACES_TLS, limits.TARPIT)


@pytest.mark.parametrize("rank", Rank)
def test_a_newcomer_gets_a_place_and_one_of_the_same_rank_gives_way(rank: Rank) -> None:
    held = admission()
    ranks = [each for each in Rank if each not in (rank, Rank.SILENT)]
    bystanders = [entered(held, rank=each) for each in ranks for _ in range(4)]
    before = [entered(held, rank=rank) for _ in range(4)]
    newest = Place(b"", 0.0)
    gone = held.enter(newest)
    if rank is not Rank.SILENT:
        assert gone not in before
        gone = held.advance(newest, rank)
    assert gone in before and gone.rank is None
    assert newest.rank is rank and held.count(rank) == 4
    assert all(place.rank is not None for place in bystanders)


def test_a_flood_without_a_byte_ends_nobody_who_came_further() -> None:
    held = admission()
    others = [entered(held, rank=rank) for rank in Rank if rank is not Rank.SILENT for _ in range(3)]
    for _ in range(1000):
        entered(held)
    assert all(place.rank is not None for place in others) and held.count(Rank.SILENT) == 4


def test_whose_network_has_most_gives_way() -> None:
    held = admission(dict.fromkeys(Rank, 64))
    honest = entered(held, OTHERS)
    for _ in range(2000):
        entered(held, b"\x0b\x00\x00")
    assert honest.rank is Rank.SILENT


def test_shares_bind_only_when_places_are_scarce() -> None:
    held = admission(dict.fromkeys(Rank, 64))
    many = [entered(held, OTHERS) for _ in range(64)]
    assert all(place.rank is Rank.SILENT for place in many)


def test_a_few_behind_one_address_are_as_good_as_others() -> None:
    """Else a flood from everywhere would end those of the one network that has two."""
    survived = 0
    for seed in range(200):
        held = admission(dict.fromkeys(Rank, 64), seed)
        for n in range(60):
            entered(held, n.to_bytes(3))
        two = [entered(held, OTHERS) for _ in range(2)]
        for n in range(16):
            entered(held, (100 + n).to_bytes(3))
        survived += sum(place.rank is not None for place in two)
    assert survived > 380, "a quarter of the places changed hands, and the oldest went first"


def test_the_oldest_go_first_and_not_always() -> None:
    """One that is quick is nearly never met; and there is no age at which all are gone."""
    quick = slow = 0
    for seed in range(300):
        held = admission(dict.fromkeys(Rank, 64), seed)
        for _ in range(64):
            entered(held)
        place = entered(held)
        for n in range(96):
            entered(held)
            quick += n == 12 and place.rank is not None
        slow += place.rank is not None
    assert quick > 295 and 0 < slow < 200


def test_a_client_shares_with_others_from_where_it_is_known() -> None:
    held = admission(dict.fromkeys(Rank, 32))
    honest = Place(b"net", 0.0)
    held.enter(honest)
    held.advance(honest, Rank.NAMED, b"alice")
    for _ in range(200):
        other = Place(b"net", 0.0)
        held.enter(other)
        held.advance(other, Rank.NAMED, b"mallory")
    assert honest.rank is Rank.NAMED


def test_where_a_descriptor_is_missing_the_least_advanced_goes() -> None:
    held = admission()
    made = [entered(held, rank=rank) for rank in reversed(Rank)]
    assert [held.scarce() for _ in Rank] == list(reversed(made)) and held.scarce() is None and len(held) == 0


def test_who_has_left_has_no_place_to_go_on_from() -> None:
    held = admission()
    place = entered(held)
    assert held.leave(place) and not held.leave(place)
    assert held.advance(place, Rank.TLS) is None and len(held) == 0


def test_overdue_are_those_without_a_thread_in_their_order() -> None:
    held = admission()
    first, second, third = (entered(held, at=float(n)) for n in range(3))
    held.advance(second, Rank.HEARD)
    assert held.overdue(limits.HANDSHAKE - 0.1) is None and held.next_at() == limits.HANDSHAKE
    assert held.overdue(limits.HANDSHAKE) is first
    held.leave(first)
    assert held.overdue(limits.HANDSHAKE + 1.0) is None and held.overdue(limits.HANDSHAKE + 2.0) is third
    held.leave(third)
    assert held.next_at() is None


def test_with_patience_those_before_tls_have_their_own_time() -> None:
    held = Admission(FEW, random.Random(1).randrange, 60.0)
    silent, slow, quick = (entered(held, at=float(n)) for n in range(3))
    assert held.next_at() == 60.0
    held.advance(quick, Rank.TLS)
    held.advance(quick, Rank.UNPROVEN)
    assert held.next_at() == 2.0 + limits.HANDSHAKE and held.overdue(2.0 + limits.HANDSHAKE) is quick
    held.leave(quick)
    slow.began = 59.0  # its TLS took so long
    held.advance(slow, Rank.UNPROVEN)
    assert held.overdue(60.0) is silent
    held.leave(silent)
    assert held.next_at() == 59.0 + limits.HANDSHAKE
    held.advance(slow, Rank.HEARD)
    assert held.next_at() is None


@given(st.lists(st.tuples(st.sampled_from(["enter", *Rank, "leave", "scarce"]), st.integers(0, 40), st.integers(0, 3))))
def test_whatever_happens_counts_are_right(steps) -> None:
    held, made = admission(), [Place(b"", 0.0)]
    for what, at, source in steps:
        place, gone = made[at % len(made)], None
        if what == "enter":
            made.append(Place(bytes([source]), 0.0))
            gone = held.enter(made[-1])
        elif what == "leave":
            held.leave(place)
        elif what == "scarce":
            gone = held.scarce()
        else:
            gone = held.advance(place, what, bytes([source]))
        assert gone is None or gone.rank is None
        for rank in Rank:
            assert held.count(rank) == sum(each.rank is rank for each in made) <= FEW[rank]
            assert held.full(rank) == (held.count(rank) == FEW[rank])
        assert len(held) == sum(each.rank is not None for each in made)


# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("192.0.2.1", "::ffff:192.0.2.9", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "what is no address", True),
    ],
)
def test_networks(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same


# -- turns ------------------------------------------------------------------------------------------------------------


def ready(*of: tuple[bytes, Rank, float]) -> dict[Place, float]:
    held = admission(dict.fromkeys(Rank, 100))
    return {entered(held, source, rank=rank): at for source, rank, at in of}


def test_the_first_goes_first() -> None:
    places = ready((b"a", Rank.TLS, 0.0), (b"a", Rank.TLS, 0.1))
    assert turns(places, 0.1) == list(places) and turns({}, 0.0) == []


def test_who_came_further_goes_before() -> None:
    places = ready((b"a", Rank.TLS, 0.0), (b"a", Rank.UNPROVEN, 0.0), (b"a", Rank.RESUME, 0.0))
    assert turns(places, 0.0) == list(reversed(places))


def test_when_it_is_behind_the_last_goes_first() -> None:
    places = ready(*((b"a", Rank.TLS, 0.1 * n) for n in range(5)))
    assert turns(places, limits.BEHIND + 0.01) == list(reversed(places))


def test_networks_take_turns() -> None:
    many = [(b"many", Rank.UNPROVEN, 0.0)] * 50
    places = ready(*many, (b"one", Rank.TLS, 0.0))
    assert list(places)[-1] in turns(places, 0.0)[:2]
