"""Carriers: whose turn it is, and what is remembered of it per server and network (protocol 6, CA5, HP7)."""

from __future__ import annotations

import pytest
from kept import Kept

from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.carriers import Known

RAW, WEBSOCKET, HTTP = Carrier
HERE, SERVER, OTHER = "0123456789abcdef", ("server.example", 443), ("other.example", 8443)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def places() -> list[str]:
    """Where the machine is, last."""
    return [HERE]


@pytest.fixture
def carriers(kept: Kept, places: list[str]) -> Carriers:
    return Carriers(tuple(Carrier), kept, lambda: places[-1])


def test_raw_alone_unless_more_are_offered() -> None:
    alone = Carriers(here=lambda: HERE)
    assert alone.order(SERVER) == [RAW] and alone.current(SERVER) is RAW
    alone.failed(SERVER, RAW)
    assert alone.current(SERVER) is RAW


def test_what_worked_comes_first_the_next_time(carriers: Carriers, kept: Kept) -> None:
    assert carriers.order(SERVER) == [RAW, WEBSOCKET, HTTP]
    carriers.worked(SERVER, WEBSOCKET)
    assert carriers.order(SERVER) == [WEBSOCKET, RAW, HTTP] and carriers.current(SERVER) is WEBSOCKET
    assert Carriers(tuple(Carrier), kept, lambda: HERE).order(SERVER) == [WEBSOCKET, RAW, HTTP]
    assert carriers.order(OTHER) == [RAW, WEBSOCKET, HTTP]


def test_what_is_no_news_is_not_written(carriers: Carriers, kept: Kept) -> None:
    carriers.worked(SERVER, RAW)
    assert kept.writes == 0
    for _ in range(3):
        carriers.worked(SERVER, HTTP)
    assert kept.writes == 1 and kept.looks == 1


def test_another_network_is_another_way(carriers: Carriers, kept: Kept, places: list[str]) -> None:
    carriers.worked(SERVER, HTTP)
    places.append("fedcba9876543210")
    assert carriers.current(SERVER) is RAW
    carriers.worked(SERVER, WEBSOCKET)
    assert {way: known.carrier for way, known in kept.known.items()} == {
        ("server.example:443", HERE): HTTP,
        ("server.example:443", "fedcba9876543210"): WEBSOCKET,
    }
    places.append(HERE)
    assert carriers.current(SERVER) is HTTP


def test_the_next_attempt_takes_another_and_what_worked_in_between(carriers: Carriers) -> None:
    carriers.worked(SERVER, WEBSOCKET)
    turns = []
    for _ in range(6):
        turns.append(carriers.current(SERVER))
        carriers.failed(SERVER, turns[-1])
    assert turns == [WEBSOCKET, RAW, WEBSOCKET, HTTP, WEBSOCKET, RAW]
    carriers.worked(SERVER, RAW)
    assert carriers.current(SERVER) is RAW and carriers.order(SERVER) == [RAW, WEBSOCKET, HTTP]


def test_what_worked_is_hurried_until_all_others_have_failed(carriers: Carriers) -> None:
    carriers.worked(SERVER, HTTP, 2.0)
    hurried = []
    for _ in range(7):
        carrier = carriers.current(SERVER)
        hurried.append((carrier, carriers.hurried(SERVER, carrier)))
        carriers.failed(SERVER, carrier)
    assert hurried == [
        (HTTP, True), (RAW, True), (HTTP, True), (WEBSOCKET, True), (HTTP, False), (RAW, True), (HTTP, False),
    ]  # fmt: skip
    carriers.resumed(SERVER, HTTP)
    assert carriers.hurried(SERVER, HTTP) and carriers.hurried(SERVER, RAW)


def test_who_is_hurried_has_four_of_the_round_trips_that_the_greeting_took(carriers: Carriers) -> None:
    for round_trip, seconds in ((0.1, 3.0), (2.0, 8.0)):
        carriers.worked(SERVER, HTTP, round_trip)
        before = now()
        first = carriers.first(SERVER, RAW)
        assert first is not None and before + seconds <= first <= now() + seconds
    alone = Carriers((RAW,), None, lambda: HERE)
    assert alone.first(SERVER, RAW) is None and not alone.hurried(SERVER, RAW)


def test_what_a_session_was_resumed_over_is_for_others_to_resume_and_not_for_new_ones(
    carriers: Carriers, kept: Kept
) -> None:
    """It may have been the network that failed, and not the better carrier."""
    carriers.failed(SERVER, RAW)
    carriers.resumed(SERVER, WEBSOCKET)
    assert carriers.current(SERVER) is WEBSOCKET and carriers.order(SERVER) == [RAW, WEBSOCKET, HTTP]
    assert kept.known == {}
    carriers.worked(SERVER, RAW)
    assert carriers.current(SERVER) is RAW


def test_who_fails_when_it_is_not_its_turn_moves_nothing(carriers: Carriers) -> None:
    """Several sessions lose the same connection's way at once: that is one step."""
    for _ in range(3):
        carriers.failed(SERVER, RAW)
    assert carriers.current(SERVER) is WEBSOCKET


def test_what_was_learnt_long_ago_is_tried_anew(kept: Kept) -> None:
    kept.known["server.example:443", HERE] = Known(HTTP, 1_000)
    carriers = Carriers(tuple(Carrier), kept, lambda: HERE)
    assert carriers.order(SERVER) == [RAW, WEBSOCKET, HTTP]
    carriers.worked(SERVER, HTTP)
    assert kept.known["server.example:443", HERE].since > 1_000 and carriers.order(SERVER)[0] is HTTP


def test_the_size_of_bodies_is_remembered_and_written_when_something_works(carriers: Carriers, kept: Kept) -> None:
    assert carriers.most(SERVER) == limits.BODY
    carriers.worked(SERVER, HTTP)
    carriers.refused(SERVER, 65_536)
    assert carriers.most(SERVER) == 65_536 and kept.writes == 1, "nothing is written where nothing may block"
    carriers.resumed(SERVER, HTTP)
    assert kept.known["server.example:443", HERE][::2] == (HTTP, 65_536)
    carriers.worked(SERVER, WEBSOCKET)
    assert carriers.most(SERVER) == 65_536


def test_what_is_kept_in_memory_is_bounded(carriers: Carriers) -> None:
    for port in range(1, 3 * limits.CARRIERS_KNOWN):
        carriers.failed(("server.example", port), RAW)
        carriers.refused(("server.example", port), 4_096)
    sizes = [len(each) for each in (carriers._known, carriers._unkept, carriers._turns)]
    assert sizes == [limits.CARRIERS_KNOWN] * 3
