"""The names of steps on docs/protocol.md: each stands for one rule, and whoever cites one finds it."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
STEP = r"[A-Z]{1,2}\d{1,2}"
NOT_STEPS = {"R1", "R2", "R3", "N2", "N3"}  # secrets of messages
STEPS = Counter(re.findall(rf"^(?:\* )?`({STEP})`", PAGE, re.MULTILINE))
READINGS = Counter(re.findall(r"^\* \*\*(10\.\d+)\*\*", PAGE, re.MULTILINE))


def cited(text: str) -> set[str]:
    """Steps in code quotes, or behind the word protocol as comments cite them: (protocol 5, ST5; protocol RL3)."""
    quoted = set(re.findall(rf"`({STEP})`", text))
    for behind in re.findall(rf"protocol ((?:\d(?:\.\d)?|{STEP}|[,; `]|to|and)+)", text):
        quoted |= set(re.findall(STEP, behind))
    return quoted - NOT_STEPS


def texts() -> list[Path]:
    return sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("nitrosocks_lib/**/*.py"), *ROOT.glob("tests/**/*.py")])


@pytest.mark.parametrize("names", [STEPS, READINGS], ids=["steps", "readings"])
def test_a_name_stands_for_one_rule(names: Counter[str]) -> None:
    assert len(names) > 30 and set(names.values()) == {1}


def test_every_step_that_is_cited_is_on_the_page() -> None:
    missing = {(str(path.relative_to(ROOT)), step) for path in texts() for step in cited(path.read_text()) - set(STEPS)}
    assert not missing


def test_every_reading_that_is_cited_is_on_the_page() -> None:
    assert set(re.findall(r"\b(10\.\d+)\.$", PAGE, re.MULTILINE)) <= set(READINGS)


def test_readings_are_numbered_in_their_order() -> None:
    assert list(READINGS) == [f"10.{number}" for number in range(1, len(READINGS) + 1)]
