"""Buffers on loan while data flows; an idle connection holds none."""

from __future__ import annotations

from ..facts import limits, wire


class BufferPool:
    """A free list of equal buffers. Any thread: list append and pop are atomic."""

    __slots__ = ("_free", "_keep", "_least", "size")

    def __init__(self, size: int, keep: int) -> None:
        self.size = size
        self._keep = keep
        self._free: list[bytearray] = []
        self._least = 0  # free ones at the worst moment since the last `forget_unused`

    def take(self) -> bytearray:
        """A buffer with old contents."""
        try:
            buffer = self._free.pop()
        except IndexError:
            self._least = 0
            return bytearray(self.size)
        if len(self._free) < self._least:
            self._least = len(self._free)
        return buffer

    def give_back(self, buffer: bytearray) -> None:
        """Ends the loan; nobody may use the buffer, or a view of it, any more."""
        assert len(buffer) == self.size, "it was taken here"
        if len(self._free) < self._keep:
            self._free.append(buffer)

    def forget_unused(self) -> int:
        """Drops those that were free all the time since the last call; returns how many."""
        unused = self._free[: self._least]
        del self._free[: len(unused)]
        self._least = len(self._free)
        return len(unused)


SLOTS = BufferPool(limits.SLOT, limits.SLOTS_IDLE)  # type ‖ payload of one frame
FRAMES = BufferPool(limits.BATCH * limits.FRAME_FULL + limits.CONTROL_ROOM, 4)  # sealed frames of one turn
RECEIVED = BufferPool(limits.BATCH * limits.FRAME_FULL + wire.FRAME_MAX, 4)  # what one turn read from the link
POOLS = (SLOTS, FRAMES, RECEIVED)
