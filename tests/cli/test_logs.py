"""logs: which lines are shown with which options, and in what form."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from nitrosocks_lib.cli import logs
from nitrosocks_lib.facts.levels import NOTE


@pytest.mark.parametrize(("quiet", "verbose", "told"), [(False, 0, True), (True, 0, False), (False, 1, True)])
def test_notes_are_left_out_by_q(quiet: bool, verbose: int, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {}
    monkeypatch.setattr(logging, "basicConfig", lambda **given: settings.update(given))
    logs.set_up(verbose, quiet)
    (handler,) = settings["handlers"]
    record = logging.LogRecord("name", NOTE, "", 0, "a note", (), None)
    assert (settings["level"] <= NOTE) is told and handler.format(record) == "nitrosocks: a note"
