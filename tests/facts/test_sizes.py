"""Numbers of bytes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nitrosocks_lib.facts.sizes import is_number, parsed, shown


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1", 1), ("64K", 65_536), ("2m", 2 << 20), ("4G", 4 << 30), ("1g", 1 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parsed(text) == size


@pytest.mark.parametrize("text", ["", " ", "x", "-1", "1.5", "1KB", "1 K", "K", "²", "1_000", "9" * 5_000, "1T"])
def test_what_is_none(text: str) -> None:
    assert parsed(text) is None and not is_number(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1023, "1023"), (1024, "1K"), (1536 << 10, "1536K"), (1 << 40, "1024G")]
)
def test_they_are_shown_in_their_largest_unit(size: int, text: str) -> None:
    assert shown(size) == text


@given(some.integers(0, 1 << 50))
def test_what_is_shown_is_read_again(size: int) -> None:
    assert parsed(shown(size)) == size
