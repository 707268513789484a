"""docs/security.md names tests that exist; each check fails on a bad sample."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")


def missing(page: str) -> list[str]:
    """What the page calls a test, and is none. `::name` alone is one of the file named before it."""
    faults, file = [], ""
    for path, name in re.findall(r"`(tests/[\w/]+(?:\.py)?|)(?:::(\w+))?`", page):
        file = path or file
        place = ROOT / file
        if not place.exists():
            faults.append(file)
        elif name and f"def {name}(" not in place.read_text("utf-8"):
            faults.append(f"{file}::{name}")
    return faults


BAD = ["tests/none.py", "tests/none", "tests/conftest.py::test_x", "tests/conftest.py`, `::test_x"]


@pytest.mark.parametrize("bad", BAD)
def test_a_test_that_does_not_exist_is_found(bad: str) -> None:
    assert missing(f"| promise | `{bad}` |")


def test_what_exists_is_not_named() -> None:
    assert missing("`tests/conftest.py`, `::unexcused`, `tests/house`, `x::y`, `facts/limits`") == []


def test_the_page_names_tests_that_exist() -> None:
    assert len(re.findall(r"`tests/", PAGE)) > 10
    assert missing(PAGE) == []
