"""Buffers on loan while data flows; an idle connection holds none."""

from __future__ import annotations

from ..facts import limits, wire

RECEIVE = 2 * wire.FRAME_MAX


class BufferPool:
    """A free list of equal buffers. Any thread: list append and pop are atomic."""

    __slots__ = ("_free", "_keep", "size")

    def __init__(self, size: int, keep: int) -> None:
        self.size = size
        self._keep = keep
        self._free: list[bytearray] = []

    def take(self) -> bytearray:
        """A buffer with old contents."""
        try:
            return self._free.pop()
        except IndexError:
            return bytearray(self.size)

    def give_back(self, buffer: bytearray) -> None:
        """Ends the loan; nobody may use the buffer, or a view of it, any more."""
        if len(self._free) < self._keep:
            self._free.append(buffer)


SLOTS = BufferPool(limits.SLOT, limits.SLOTS_IDLE)  # type ‖ payload of one frame
FRAMES = BufferPool(wire.FRAME_MAX, 8)  # one sealed frame, or several small ones
RECEIVED = BufferPool(RECEIVE, 8)  # what came from the link: a frame and the beginning of the next
