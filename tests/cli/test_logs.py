"""logs: which lines are shown with which options, and in what form."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from nitrosocks_lib.cli import logs
from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.facts.levels import FRAMES, NOTE
from nitrosocks_lib.net.lines import STDERR


class Root:
    """What was set up, in place of the real root."""

    def __init__(self) -> None:
        self.level, self.handler = 0, logging.Handler()

    def __call__(self, level: int, handlers: list[logging.Handler]) -> None:
        (self.handler,), self.level = handlers, level

    def line(self, level: int, text: str, *args: object, **more: object) -> str:
        record = logging.LogRecord("name", level, "", 0, text, args, None)
        vars(record).update(more)
        return self.handler.format(record)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    made, form = Root(), STDERR.form
    monkeypatch.setattr(logging, "basicConfig", made)
    yield made
    STDERR.form = form


@pytest.mark.parametrize(
    ("verbose", "least", "told"),
    [
        (0, logging.NOTSET, NOTE), (0, logging.WARNING, logging.WARNING), (1, logging.NOTSET, logging.INFO),
        (2, logging.NOTSET, logging.DEBUG), (3, logging.NOTSET, FRAMES), (4, logging.NOTSET, FRAMES),
        (2, logging.ERROR, logging.ERROR),
    ],
)  # fmt: skip
def test_levels(verbose: int, least: int, told: int, root: Root) -> None:
    logs.set_up(verbose, least)
    assert root.level == told


def test_text(root: Root) -> None:
    logs.set_up(0, logging.NOTSET, "text")
    assert root.line(NOTE, "a %s", "note") == "nitrosocks: a note" == STDERR.form(NOTE, "a note")


@pytest.mark.parametrize("form", ["xml", "", "a\x1b\nb"])
def test_another_form(form: str, root: Root) -> None:
    with pytest.raises(UsageError) as raised:
        logs.set_up(0, logging.NOTSET, form)
    assert str(raised.value).isprintable() and "text, json" in raised.value.hint


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_a_line_of_json(root: Root) -> None:
    logs.set_up(0, logging.NOTSET, "json")
    line = root.line(NOTE, "a %s", "nöte\x1b\n", created=1_700_000_000.0129)
    assert line.isascii() and json.loads(line) == {
        "time": "2023-11-14T22:13:20.012Z", "level": "note", "event": "message", "message": "a nöte\\x1b\\n",
    }  # fmt: skip


def test_the_fields_of_an_event_follow(root: Root) -> None:
    logs.set_up(2, logging.NOTSET, "json")
    values = json.loads(root.line(logging.WARNING, "said", event="an-event", fields={"client": "a", "count": 3}))
    assert list(values) == ["time", "level", "event", "message", "client", "count"]
    assert (values["level"], values["event"], values["client"], values["count"]) == ("warning", "an-event", "a", 3)


def test_a_traceback_stays_on_the_line(root: Root) -> None:
    logs.set_up(0, logging.NOTSET, "json")
    try:
        raise ValueError("one\ntwo\x1b")
    except ValueError:
        line = root.line(logging.ERROR, "an internal error", exc_info=sys.exc_info())
    assert json.loads(line)["traceback"][-2:] == ["ValueError: one", "two\\x1b"]


def test_a_line_beside_the_log(root: Root) -> None:
    """What ends the program, and that lines were left out."""
    logs.set_up(0, logging.NOTSET, "json")
    values = json.loads(STDERR.form(logging.ERROR, "100 % wrong\r"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", values["time"])
    assert (values["level"], values["event"], values["message"]) == ("error", "message", "100 % wrong\\r")
