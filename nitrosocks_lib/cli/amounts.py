"""Numbers behind options: sizes, times and counts. Each parser raises UsageError with an example."""

from __future__ import annotations

from typing import Final

from ..facts.errors import UsageError
from ..facts.sizes import is_number, parsed
from ..facts.words import foreign

TIMES: Final = {"s": 1, "m": 60, "h": 3600}


def size(option: str, text: str) -> int:
    """Bytes: a whole number, with K, M or G behind it (powers of 1024, either case) or without."""
    found = parsed(text)
    if found is None:
        raise UsageError(f"{option} {foreign(text)}: not a size", "write bytes, or K, M or G: 65536, 64K or 4M")
    return found


def duration(option: str, text: str, low: int, high: int, unit: str = "s") -> int:
    """Seconds, from `low` to `high`: a whole number with s, m or h behind it; a plain number counts in `unit`."""
    number = text[:-1] if text[-1:] in TIMES else text
    if not is_number(number):
        plain = "seconds (90)" if unit == "s" else "minutes (5)"
        raise UsageError(f"{option} {foreign(text)}: not a time", f"write {plain}, or s, m or h: 90s, 5m or 2h")
    seconds = int(number) * TIMES[text[len(number) :] or unit]
    if not low <= seconds <= high:
        raise UsageError(f"{option} {foreign(text)}: out of range", f"write {_shown(low)} to {_shown(high)}")
    return seconds


def whole(option: str, text: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if not is_number(text) or not low <= int(text) <= high:
        raise UsageError(f"{option} {foreign(text)}: not a number from {low} to {high}", f"as in {option} {low}")
    return int(text)


def _shown(seconds: int) -> str:
    """A time in its largest unit that is whole."""
    unit = next((unit for unit in ("h", "m") if seconds and seconds % TIMES[unit] == 0), "s")
    return f"{seconds // TIMES[unit]}{unit}"
