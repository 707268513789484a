"""audit: every event has a sentence, its fields, and a row in docs/logging.md; what others said is harmless in both."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from audited import told
from logged import here, messages

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.levels import NOTE
from nitrosocks_lib.server.audit import EVENTS, Event, tell

PAGE = (Path(__file__).parents[2] / "docs" / "logging.md").read_text(encoding="utf-8")
FOR_ALL = {"time", "level", "event", "message", "traceback"}
LEVELS = {logging.INFO: "info", NOTE: "note", logging.WARNING: "warning", logging.ERROR: "error"}
NUMBERS = {"session", "duration", "streams", "received", "sent", "count", "seconds", "kept"}


def values(event: Event, **others: str | int) -> dict[str, str | int]:
    return {field: 7 if field in NUMBERS else field.upper() for field in event.fields} | others


# -- sentences --------------------------------------------------------------------------------------------------------


def test_a_part_without_its_value_is_left_out() -> None:
    event = Event(NOTE, "{who} came[ from {where}][, with {what}]: {why}", ("more",))
    assert event.fields == ("who", "where", "what", "why", "more")
    said = {"who": "a", "where": "[::1]:2", "what": "", "why": "{x}", "more": ""}
    assert event.said(said) == "a came from [::1]:2: {x}"
    assert event.said(said | {"where": "", "what": 0}) == "a came, with 0: {x}"


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_says_all_that_its_sentence_names(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    event = EVENTS[name]
    tell(name, **values(event))
    (record,) = here(caplog)
    assert record.levelno == event.level and told([record], name) == [values(event)]
    assert all(str(values(event)[field]) in record.getMessage() for field in event.fields if field not in event.more)
    assert not set("[]{}") & set(record.getMessage())


def test_a_field_that_is_missing_or_too_many_is_found(caplog: pytest.LogCaptureFixture) -> None:
    some = values(EVENTS["logins-failed"])
    for wrong in (some | {"other": ""}, {key: some[key] for key in list(some)[1:]}):
        with pytest.raises(AssertionError, match="logins-failed has the fields"):
            tell("logins-failed", **wrong)


def test_what_is_below_the_level_costs_nothing_and_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    tell("session-started", no="fields")
    assert not here(caplog)


def test_words_of_others_are_escaped_and_cut_in_the_sentence_and_in_the_field(caplog: pytest.LogCaptureFixture) -> None:
    bad = "/x/ev\x1b[2J\nnitrosocks: forged\r.toml"
    tell("login-failed", **values(EVENTS["login-failed"], file=bad, client="a" * 5_000, reason="\u202e"))
    (fields,) = told(here(caplog), "login-failed")
    assert fields["file"] == r"/x/ev\x1b[2J\nnitrosocks: forged\r.toml" and fields["reason"] == r"\u202e"
    assert len(fields["client"]) == limits.WORDS and fields["client"].endswith("…")
    message = messages(here(caplog))[0]
    assert message.isprintable() and all(fields[field] in message for field in ("file", "client", "reason"))


# -- docs/logging.md --------------------------------------------------------------------------------------------------


def documented(page: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Level and fields of each event in the table."""
    table = page.partition("\n## Events\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \|[^|]*\| (.*) \|$", table, re.MULTILINE)
    return {name: (level, tuple(re.findall(r"`(\w+)`", fields))) for name, level, fields in rows}


def explained(page: str) -> set[str]:
    table = page.partition("\n## Fields\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_the_page_has_every_event_with_its_level_and_fields() -> None:
    assert documented(PAGE) == {name: (LEVELS[event.level], event.fields) for name, event in EVENTS.items()}


def test_the_page_explains_every_field() -> None:
    assert explained(PAGE) == {field for event in EVENTS.values() for field in event.fields}


def test_no_event_has_a_field_that_every_line_has() -> None:
    assert not any(FOR_ALL & set(event.fields) for event in EVENTS.values())
    assert all(f"`{name}`" in PAGE.partition("\n## Events\n")[0] for name in FOR_ALL)


@pytest.mark.parametrize(
    "change", [("| note |", "| info |"), ("`fingerprint`", "`key`"), ("| `session-lost`", "| `lost`")]
)
def test_a_difference_is_found(change: tuple[str, str]) -> None:
    assert documented(PAGE.replace(*change)) != documented(PAGE)
