"""When an ACK is due (protocol 5, "ACK, received"): often enough that the peer keeps little, and seldom else."""

from __future__ import annotations

from ..facts import limits


class AckDue:
    """Owned by inbound. Counts what was received since the last ACK; `at` is when one is due at the latest, or 0."""

    __slots__ = ("_bytes", "_frames", "at")

    def __init__(self) -> None:
        self.sent()

    def sent(self) -> None:
        """An ACK of everything so far is on its way."""
        self._bytes, self._frames, self.at = 0, 0, 0.0

    def received(self, frames: int, size: int, now: float) -> bool:
        """So many numbered frames with `size` bytes came; True when an ACK is due at once, else it is by `at`."""
        self._bytes += size
        self._frames += frames
        if not self.at:
            self.at = now + limits.ACK_DELAY
        return self._bytes >= limits.ACK_BYTES or self._frames >= limits.ACK_FRAMES
