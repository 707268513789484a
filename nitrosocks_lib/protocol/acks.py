"""When an ACK is due (protocol 5, Flow control): often enough that the window stays open, and seldom else."""

from __future__ import annotations

from ..facts import limits


class AckDue:
    """Owned by inbound. Counts what was consumed since the last ACK; `at` is when one is due at the latest, or 0."""

    __slots__ = ("_bytes", "_every", "_frames", "at")

    def __init__(self, window: int) -> None:
        self._every = min(limits.ACK_BYTES, window // 2)
        self.sent()

    def sent(self) -> None:
        """An ACK of everything so far is on its way."""
        self._bytes, self._frames, self.at = 0, 0, 0.0

    def consumed(self, size: int, now: float) -> bool:
        """One DATA frame of `size` bytes was consumed; True when an ACK is due at once, else it is by `at`."""
        self._bytes += size
        self._frames += 1
        if not self.at:
            self.at = now + limits.ACK_DELAY
        return self._bytes >= self._every or self._frames >= limits.ACK_FRAMES
