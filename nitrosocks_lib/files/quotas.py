"""The limits in a client's file: `streams`, `until`, `from`, `up` and `down`."""

from __future__ import annotations

from datetime import date
from typing import Final

from ..facts import limits
from ..facts.sizes import parsed, shown
from ..protocol.quota import Quota, sources
from .keyfiles import Table

KEYS: Final = "streams until from up down"
_STREAMS_MOST: Final = 1_000_000


def quota(table: Table) -> Quota:
    """Raises KeyFileError, also for `from` without a network, from which nobody could come."""
    found = table.parsed("from", sources)
    if "from" in table and not found:
        raise table.fault("'from' names no network", 'write one as in ["10.0.0.0/8"], or leave it out', "from")
    return Quota(_streams(table), _until(table), found, _rate(table, "up"), _rate(table, "down"))


def _streams(table: Table) -> int:
    value = table.get("streams", 0)
    if "streams" in table and (type(value) is not int or not 0 < value <= _STREAMS_MOST):
        raise table.fault("'streams' is not a number of streams", "as in streams = 20", "streams")
    return int(value)


def _until(table: Table) -> str:
    value = table.get("until", "")
    if "until" not in table:
        return ""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            value = None
    if type(value) is not date:
        raise table.fault("'until' is not a day", "as in until = 2027-01-31, which is the last day", "until")
    return value.isoformat()


def _rate(table: Table, key: str) -> int:
    """Bytes a second; 0 where there is no limit."""
    value = table.get(key, 0)
    rate = parsed(value) if isinstance(value, str) else value
    if type(rate) is not int or (rate and not limits.RATE_LEAST <= rate <= limits.RATE_MOST):
        least, most = shown(limits.RATE_LEAST), shown(limits.RATE_MOST)
        hint = f"""in bytes a second, as in {key} = "2M", from {least} to {most}; 0 is no limit"""
        raise table.fault(f"{key!r} is not a valid rate", hint, key)
    return rate
