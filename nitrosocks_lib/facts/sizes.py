"""Numbers of bytes as people write them: 65536, 64K or 4M, in powers of 1024."""

from __future__ import annotations

from typing import Final

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_DIGITS: Final = 18  # more than any bound here, and fewer than int() refuses


def is_number(text: str) -> bool:
    """Whether the text is a whole number in ASCII digits that is short enough for int()."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def parsed(text: str) -> int | None:
    """Bytes: a whole number, with K, M or G behind it (either case) or without; None for any other text."""
    unit = text[-1:].upper() if text[-1:].upper() in _UNITS else ""
    number = text[: len(text) - len(unit)]
    return int(number) * _UNITS[unit] if is_number(number) else None


def shown(size: int) -> str:
    """The same in its largest unit that is whole."""
    unit = next((unit for unit in ("G", "M", "K") if size and size % _UNITS[unit] == 0), "")
    return f"{size // _UNITS[unit]}{unit}"
