"""What the server's audit trail told, as events or as lines of JSON."""

from __future__ import annotations

import json
import logging
from typing import Any


def told(records: list[logging.LogRecord], event: str) -> list[dict[str, Any]]:
    """The fields of all events of this kind, in their order."""
    return [vars(each)["fields"] for each in records if vars(each).get("event") == event]


def parsed(log: str) -> list[dict[str, Any]]:
    """All lines of a log in JSON: each is an object of its own."""
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines
