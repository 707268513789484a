"""Which carrier is tried, and for how long (protocol 6, CA5)."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.protocol.carriers import Known, Turn, behind, order, patience

RAW, WEBSOCKET, HTTP = Carrier
NOW = 1_800_000_000


def test_the_order_is_raw_websocket_http() -> None:
    assert order((HTTP, RAW, WEBSOCKET), None, NOW) == [RAW, WEBSOCKET, HTTP]


@pytest.mark.parametrize("age", [0, 1, limits.CARRIER_KNOWN - 1])
def test_what_worked_is_first(age: float) -> None:
    assert order(tuple(Carrier), Known(HTTP, NOW - int(age)), NOW) == [HTTP, RAW, WEBSOCKET]


@pytest.mark.parametrize("age", [limits.CARRIER_KNOWN, 10 * limits.CARRIER_KNOWN, -1])
def test_what_worked_long_ago_or_in_the_future_is_forgotten(age: float) -> None:
    assert order(tuple(Carrier), Known(HTTP, NOW - int(age)), NOW) == [RAW, WEBSOCKET, HTTP]


def test_what_worked_and_is_not_offered_is_not_tried() -> None:
    assert order((RAW, WEBSOCKET), Known(HTTP, NOW), NOW) == [RAW, WEBSOCKET]
    assert order((WEBSOCKET,), Known(RAW, NOW), NOW) == [WEBSOCKET]


def test_behind_one_that_failed_is_the_next_and_behind_the_last_the_first() -> None:
    ordered = [WEBSOCKET, RAW, HTTP]
    assert [behind(each, ordered) for each in ordered] == [RAW, HTTP, WEBSOCKET]
    assert behind(RAW, [RAW]) is RAW


def test_what_worked_is_tried_behind_each_other_one() -> None:
    turn, tried = Turn(HTTP, HTTP, HTTP), []
    for _ in range(6):
        tried.append((turn.now, turn.hurried([HTTP, RAW, WEBSOCKET])))
        turn = turn.failed([HTTP, RAW, WEBSOCKET])
    assert [each for each, _ in tried] == [HTTP, RAW, HTTP, WEBSOCKET, HTTP, RAW]
    assert [hurried for _, hurried in tried] == [True, True, True, True, False, True]


def test_one_carrier_alone_has_all_the_time() -> None:
    turn = Turn(RAW, RAW, RAW)
    assert turn.failed([RAW]).now is RAW and not turn.hurried([RAW])


@pytest.mark.parametrize(("round_trip", "seconds"), [(0.0, 3.0), (0.75, 3.0), (1.0, 4.0), (2.5, 10.0), (60.0, 10.0)])
def test_patience_is_three_seconds_or_four_round_trips(round_trip: float, seconds: float) -> None:
    assert patience(round_trip) == seconds
