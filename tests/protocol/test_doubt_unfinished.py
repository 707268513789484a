"""protocol/doubt, Unfinished: a slow line moves every frame, and a fast one does not wait for a wrong length."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.protocol.doubt import Unfinished

BEGAN = 10_000.0
LONG = 1_000.0  # of silence: not what is looked at


def given_up(made: Unfinished, rate: float, chunk: int = 1) -> bool:
    """Whether the largest frame is given up on a line that moves so many bytes a second, and shows `chunk` at once."""
    at, size = BEGAN, chunk
    while size < wire.FRAME_MAX:
        at += chunk / rate  # the next piece is there: just before
        if at >= made.due(BEGAN, size, BEGAN, LONG, at):
            return True
        size += chunk
    return False


@pytest.mark.parametrize("chunk", [1, 1_400, 16_384])
def test_a_line_of_64_kbit_moves_the_largest_frame(chunk: int) -> None:
    """Of 8,000 bytes a second, 5 % are heads of packets and records."""
    assert not given_up(Unfinished(), 7_600, chunk) and given_up(Unfinished(), limits.FRAME_RATE / 2, 1)


@pytest.mark.parametrize("rate", [4_400 / 8, 1_000, 3_000])
def test_a_slower_line_moves_it_after_a_few(rate: float) -> None:
    """Down to what `FRAME_TIME` allows, four times at most in an hour."""
    made, times = Unfinished(), 0
    while given_up(made, rate):
        made.doubled(BEGAN)
        times += 1
    assert 1 <= times <= 4


def test_a_frame_of_which_little_came_has_5_s() -> None:
    for size in (1, 1_000, 32_500):
        assert Unfinished().due(BEGAN, size, BEGAN + 4.9, LONG, BEGAN) == BEGAN + limits.FRAME_WHOLE


def test_silence_within_a_frame() -> None:
    assert Unfinished().due(BEGAN, 20, BEGAN + 0.5, 1.0, BEGAN) == BEGAN + 1.5


def test_the_time_doubles_for_an_hour() -> None:
    made = Unfinished()
    made.doubled(BEGAN)
    made.doubled(BEGAN)
    assert made.due(BEGAN, 20, BEGAN, LONG, BEGAN + 10) == BEGAN + 20
    later = BEGAN + limits.FRAME_DOUBLED
    assert made.due(later, 20, later, LONG, later) == later + 5
