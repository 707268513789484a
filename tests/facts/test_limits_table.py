"""docs/security.md, "What an enrolled client may cost", against facts/limits and the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nitrosocks_lib.facts import limits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## What an enrolled client may cost\n")[2].partition("\n## ")[0]
ROWS = [row for row in SECTION.splitlines() if row.startswith("| ")][1:]
SOURCE = (ROOT / "nitrosocks_lib" / "facts" / "limits.py").read_text(encoding="utf-8")
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "h": 3600, "s": 1, "": 1}
BOUND = re.compile(r"`([A-Z_]+)`, (2\^\d+|[\d,]+)(?: (MiB|GiB|h|s)\b)?")


@pytest.mark.parametrize("row", ROWS)
def test_a_row_states_the_bounds_as_they_are(row: str) -> None:
    stated = BOUND.findall(row)
    assert stated
    for name, digits, unit in stated:
        base, _, power = digits.replace(",", "").partition("^")
        assert getattr(limits, name) == int(base) ** int(power or 1) * UNITS[unit], name


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_are_there(row: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
    assert named
    for path, test in named:
        assert f"def {test}" in (ROOT / path).read_text(encoding="utf-8") if test else (ROOT / path).is_file()


def test_the_table_has_every_bound_of_its_section() -> None:
    """But for those that say how another one is counted or looked at."""
    section = SOURCE.partition("# What a peer can make this side hold")[2].partition("\n\n")[0]
    names = set(re.findall(r"^([A-Z_]+): Final", section, re.MULTILINE))
    others = {"HELD_LOOK", "KEPT_COST", "STREAM_COST", "WARNINGS_AT_ONCE"}
    assert names - others <= {name for row in ROWS for name, _, _ in BOUND.findall(row)}
