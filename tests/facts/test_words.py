"""Words of others: printable, on one line, within their bound, and unchanged where they are harmless."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.words import foreign, quoted, said


@pytest.mark.parametrize("text", ["", "host.example:443", "Zürich 認証", "a b", "C:\\x1b", "x" * limits.WORDS])
def test_what_is_harmless_stays(text: str) -> None:
    assert foreign(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nnitrosocks: ready", "a\\r\\nnitrosocks: ready"),
        ("\0\t\x7f\x85\x9b\xa0", "\\x00\\t\\x7f\\x85\\x9b\\xa0"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("a\udc80\ud800", "a\\udc80\\ud800"),
        ("\ufeff\u200b\u00ad\U000e0041", "\\ufeff\\u200b\\xad\\U000e0041"),
        ("\ue000\U0010ffff", "\\ue000\\U0010ffff"),
    ],
)
def test_what_is_not_is_escaped(text: str, shown: str) -> None:
    assert foreign(text) == shown


BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]


@pytest.mark.parametrize("point", BIDI)
def test_nothing_turns_the_direction_of_writing(point: int) -> None:
    assert foreign(f"a{chr(point)}b") == f"a\\u{point:04x}b"


def test_every_control_and_format_character_is_escaped() -> None:
    for point in range(sys.maxunicode + 1):
        letter = chr(point)
        if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            assert foreign(letter).isascii() and foreign(letter).startswith("\\"), hex(point)


@pytest.mark.parametrize("letter", ["x", "\x1b", "\U000e0041", "é"])
@pytest.mark.parametrize("count", [10_000, limits.WORDS + 1])
def test_what_is_long_is_cut(letter: str, count: int) -> None:
    shown = foreign(letter * count)
    assert len(shown) == limits.WORDS and shown.endswith("…") and shown.isprintable()


def test_it_may_be_done_twice() -> None:
    for text in ("a\x1b\\b\n", "x" * 10_000, "\u202e" * 100):
        assert foreign(foreign(text)) == foreign(text)


def test_a_bound_of_ones_own() -> None:
    assert foreign("abcdef", 4) == "abc…" and foreign("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b", "'a\\x1b'"), ("it's\n", '"it\'s\\n"'), ("x" * 81, f"'{'x' * 80}…'"), ("\u202e", "'\\u202e'")],
)
def test_quotes(text: str, shown: str) -> None:
    assert quoted(text) == shown


def test_quotes_are_bounded() -> None:
    assert len(quoted("\U000e0041" * 10_000)) <= 10 * limits.QUOTED + 3


def test_what_an_exception_says() -> None:
    assert said(ValueError("a\nb")) == "a\\nb" and said(ValueError()) == "ValueError"
    assert len(said(ValueError("x" * 10_000))) == limits.WORDS
