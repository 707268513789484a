"""For what several threads may do, and one shall."""

from __future__ import annotations


class Ticket:
    """Whoever takes it first has it: list pop is atomic."""

    __slots__ = ("_one",)

    def __init__(self) -> None:
        self._one = [True]

    def take(self) -> bool:
        """True for exactly one caller."""
        try:
            return self._one.pop()
        except IndexError:
            return False
