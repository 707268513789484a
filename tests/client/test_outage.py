"""Outage: one line when the first session is lost, one when all are restored."""

from __future__ import annotations

import pytest

from nitrosocks_lib.client import outage as module
from nitrosocks_lib.client.outage import Outage

LOST, RESTORED = "connection lost (cut), reconnecting", "connection restored after 0.0 s"

ONE = [("begins", "cut"), ("ends", True)]
CASES = {
    "one": (ONE, [LOST, RESTORED]),
    "one after another": (ONE * 2, [LOST, RESTORED] * 2),
    "several at once": ([("begins", "cut")] * 3 + [("ends", True)] * 3, [LOST, RESTORED]),
    "one of two is restored": ([("begins", "cut")] * 2 + [("ends", True)], [LOST]),
    "one is over, and then the other restored": ([("begins", "cut")] * 2 + [("ends", False), ("ends", True)], None),
    "one is restored, and then the other over": ([("begins", "cut")] * 2 + [("ends", True), ("ends", False)], [LOST]),
    "over": ([("begins", "cut"), ("ends", False)], [LOST]),
    "over, and then another one": ([("begins", "cut"), ("ends", False), *ONE], [LOST, LOST, RESTORED]),
    "lost again meanwhile": ([("begins", "cut")] * 2 + [("ends", True), *ONE, ("ends", True)], [LOST, RESTORED]),
}


@pytest.mark.parametrize(("calls", "told"), CASES.values(), ids=CASES)
def test_what_people_hear(calls, told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "now", lambda: 100.0)
    outage = Outage()
    for name, value in calls:
        getattr(outage, name)(value)
    assert [each.getMessage() for each in caplog.records] == ([LOST, RESTORED] if told is None else told)


def test_how_long_it_took(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    outage, times = Outage(), iter([100.0, 103.25])
    monkeypatch.setattr(module, "now", lambda: next(times))
    outage.begins("the connection ended")
    outage.begins("another reason")
    outage.ends(True)
    outage.ends(True)
    assert [each.getMessage() for each in caplog.records] == [
        "connection lost (the connection ended), reconnecting",
        "connection restored after 3.2 s",
    ]
