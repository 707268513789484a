"""Buffers on loan while data flows; an idle connection holds none."""

from __future__ import annotations

from ..facts import limits, wire


class BufferPool:
    """A free list of equal buffers. Any thread: list append and pop are atomic."""

    __slots__ = ("_free", "_keep", "_used", "size")

    def __init__(self, size: int, keep: int) -> None:
        self.size = size
        self._keep = keep
        self._free: list[bytearray] = []
        self._used = False  # since the last `forget_unused`

    def take(self) -> bytearray:
        """A buffer with old contents."""
        self._used = True
        try:
            return self._free.pop()
        except IndexError:
            return bytearray(self.size)

    def give_back(self, buffer: bytearray) -> None:
        """Ends the loan; nobody may use the buffer, or a view of it, any more."""
        if len(self._free) < self._keep:
            self._free.append(buffer)

    def forget_unused(self) -> int:
        """Drops the free ones where none was taken since the last call; returns how many."""
        used, self._used = self._used, False
        if used:
            return 0
        count = len(self._free)
        self._free.clear()
        return count


SLOTS = BufferPool(limits.SLOT, limits.SLOTS_IDLE)  # type ‖ payload of one frame
FRAMES = BufferPool(limits.BATCH * limits.FRAME_FULL + limits.CONTROL_ROOM, 4)  # sealed frames of one turn
RECEIVED = BufferPool(limits.BATCH * limits.FRAME_FULL + wire.FRAME_MAX, 4)  # what one turn read from the link
POOLS = (SLOTS, FRAMES, RECEIVED)
