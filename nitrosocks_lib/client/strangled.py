"""Connections that a box strangles: it lets the first kilobytes of each pass, and then resets it, or swallows the rest.

Some boxes do so with what they do not know. The handshake gets through each time, so that the carrier seems to work.
"""

from __future__ import annotations

from ..facts import limits


class Strangled:
    """Counts them, for one session; its thread's."""

    def __init__(self) -> None:
        self._count = self._moved = self._carried = 0

    def ended(self, lived: float, moved: int, carried: int) -> bool:
        """A connection was lost that lived for so many seconds. `moved` bytes went over all of them so far, as far as
        this side sees it, and `carried` numbered frames are known to have come whole.

        Whether it is another carrier's turn: several in a row were lost in the middle of something that they hardly
        began. One over which nothing was to go says nothing.
        """
        idle = moved - self._moved < limits.STRANGLED_BYTES
        short = lived < limits.STRANGLED_LIVED and carried - self._carried < limits.STRANGLED_FRAMES
        self._moved, self._carried = moved, carried
        if not idle:
            self._count = self._count + 1 if short else 0
        if self._count < limits.STRANGLED:
            return False
        self._count = 0
        return True
