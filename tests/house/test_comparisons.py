"""Secrets are compared in constant time: by schedule.equal, and nowhere by ==.

The rule is first shown to fail on a bad sample; then it is applied to every module of the rooms that hold secrets.
"""

from pathlib import Path

import comparisons
import pytest
import rooms

LIBRARY = Path(__file__).resolve().parents[2] / rooms.LIBRARY
MODULES = {
    path.relative_to(LIBRARY).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for room in comparisons.ROOMS
    for path in sorted((LIBRARY / room).glob("*.py"))
}


@pytest.mark.parametrize(
    "source",
    [
        "tag == other", "if theirs != schedule.knock_tag(k, h, n): pass", "fits = [tag == t for t in tags]",
        "salt in refusals", "payload == hash256(self._r2)", "claimed == x", "proof(token, r1, at) == y",
        "x == who.token[:4]", "not self._secret == y", "a == b == resume_secret", "state.switch_value != payload",
    ],
)  # fmt: skip
def test_a_comparison_by_value_is_found(source: str) -> None:
    assert comparisons.compared_by_value("crypto/schedule", source)


@pytest.mark.parametrize(
    "source",
    ["equal(tag, other)", "len(salt) == 32", "kind == Frame.DATA", "tag is None", "for tag in tags: pass", "count < n"],
)
def test_what_is_no_secret_may_be(source: str) -> None:
    assert comparisons.compared_by_value("crypto/schedule", source) == []


def test_no_secret_is_compared_by_value() -> None:
    found = {name: comparisons.compared_by_value(name, text) for name, text in MODULES.items()}
    faults = [f"{name}: {fault}" for name, each in found.items() for fault in each]
    assert not faults, "\n" + "\n".join(faults)


def test_what_may_be_is_still_there() -> None:
    for module, left in comparisons.PUBLIC:
        assert f"{left} " in MODULES[module], (module, left)


def test_equal_is_hmacs_own() -> None:
    assert "return _hmac.compare_digest(a, b)" in MODULES["crypto/schedule"]
    assert not any("compare_digest" in text for name, text in MODULES.items() if name != "crypto/schedule")
