"""amounts: sizes, times and counts as people write them, and what they read when these are wrong."""

from __future__ import annotations

import pytest
from wrongly import wrong

from nitrosocks_lib.cli import amounts
from nitrosocks_lib.facts.words import foreign

DIGITS = "9" * 5_000  # more than int() takes
BAD = ["", " ", "x", "-1", "+1", "1.5", "1e3", "1KB", "1 K", "K", "s", "²", "٣", "1_000", "0x10", DIGITS]


@pytest.mark.parametrize(
    ("text", "bytes_"), [("0", 0), ("1", 1), ("64K", 65_536), ("2m", 2 << 20), ("4G", 4 << 30), ("1g", 1 << 30)]
)
def test_sizes(text: str, bytes_: int) -> None:
    assert amounts.size("--x", text) == bytes_


@pytest.mark.parametrize("text", [*BAD, DIGITS + "G", "1T", "90s"])
def test_sizes_that_are_none(text: str) -> None:
    told = wrong(lambda: amounts.size("--x", text))
    assert told == f"--x {foreign(text)}: not a size; write bytes, or K, M or G: 65536, 64K or 4M"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("5m", 300), ("2h", 7_200), ("007", 7), ("24h", 86_400)]
)
def test_times(text: str, seconds: int) -> None:
    assert amounts.duration("--x", text, 0, 86_400) == seconds


def test_a_plain_number_may_be_minutes() -> None:
    assert amounts.duration("--x", "5", 60, 600, unit="m") == amounts.duration("--x", "300s", 60, 600, unit="m") == 300


@pytest.mark.parametrize("text", [*BAD, DIGITS + "m", "5M", "1d", "1h30m", "500ms", "4G"])
@pytest.mark.parametrize(("unit", "plain"), [("s", "seconds (90)"), ("m", "minutes (5)")])
def test_times_that_are_none(text: str, unit: str, plain: str) -> None:
    told = wrong(lambda: amounts.duration("--x", text, 0, 86_400, unit))
    assert told == f"--x {foreign(text)}: not a time; write {plain}, or s, m or h: 90s, 5m or 2h"


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(5, 300, "5s to 5m"), (0, 86_400, "0s to 24h"), (1, 90, "1s to 90s"), (60, 3_600, "1m to 1h")],
)
@pytest.mark.parametrize("text", ["100h", "999999"])
def test_times_out_of_range(text: str, low: int, high: int, told: str) -> None:
    assert wrong(lambda: amounts.duration("--x", text, low, high)) == f"--x {text}: out of range; write {told}"


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("10", 10), ("007", 7)])
def test_whole_numbers(text: str, number: int) -> None:
    assert amounts.whole("--x", text, 3, 10) == number


@pytest.mark.parametrize("text", ["2", "11", *BAD])
def test_whole_numbers_that_are_none(text: str) -> None:
    told = wrong(lambda: amounts.whole("--x", text, 3, 10))
    assert told == f"--x {foreign(text)}: not a number from 3 to 10; as in --x 3"
