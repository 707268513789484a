"""The page that a browser's requests would come from: its address changes as somebody uses it (protocol 6, 10.52).

Without it all heads of a server's requests had the same size. Its query stands in the Referer field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NAMES: Final = "q page view tab sort filter from to lang id ref s type state mode layer zoom date item list".split()
FIELDS: Final = (2, 3, 4)  # so many of these names does a page have
LONGEST: Final = 16  # characters of a value
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


class Page:
    """One page. Not for several threads; `entropy` gives so many random bytes."""

    def __init__(self, prefix: str, entropy: Callable[[int], bytes]) -> None:
        """`prefix` is the path in front of tokens: the page is in that folder."""
        self._path, self._entropy = f"{prefix}/", entropy
        names = list(NAMES)
        chosen = [names.pop(self._below(len(names))) for _ in range(FIELDS[self._below(len(FIELDS))])]
        self._query = {name: self._value() for name in chosen}

    def address(self) -> str:
        """Its path and query now; at about every second call a value is another one."""
        if self._below(2):
            self._query[list(self._query)[self._below(len(self._query))]] = self._value()
        return f"{self._path}?{'&'.join(f'{name}={value}' for name, value in self._query.items())}"

    def _value(self) -> str:
        return "".join(_LETTERS[self._below(len(_LETTERS))] for _ in range(1 + self._below(LONGEST)))

    def _below(self, bound: int) -> int:
        """A number from 0 on; that the low ones are a little more likely does no harm here."""
        return int.from_bytes(self._entropy(2)) % bound
