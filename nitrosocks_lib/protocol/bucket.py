"""A token bucket: how many bytes may pass now, so that over any time no more pass than a rate gives, and a burst."""

from __future__ import annotations

from ..facts import limits


class Bucket:
    """Of one client and direction; bytes and seconds. In any t seconds at most `rate` · t + `burst` bytes are taken."""

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: int, now: float) -> None:
        """It begins full."""
        self.rate, self.burst = rate, burst_of(rate)
        self._level = float(self.burst)
        self._at = now

    def level(self, now: float) -> int:
        """How many bytes may be taken now."""
        if now > self._at:
            self._level = min(self.burst, self._level + self.rate * (now - self._at))
            self._at = now
        return int(self._level)

    def take(self, most: int, now: float) -> int:
        """Takes so many bytes, or what there is."""
        taken = min(most, self.level(now))
        self._level -= taken
        return taken

    def give_back(self, size: int) -> None:
        """So much of what was taken did not pass after all."""
        self._level = min(self.burst, self._level + size)

    def due(self, size: int, now: float) -> float:
        """When so many bytes may be taken, of `burst` at most."""
        lacking = min(size, self.burst) - self.level(now)
        return now + lacking / self.rate if lacking > 0 else now

    def change(self, rate: int, now: float) -> None:
        """Another rate holds from now on; what was saved stays, as far as it fits."""
        self.level(now)
        self.rate, self.burst = rate, burst_of(rate)
        self._level = min(self._level, self.burst)


def burst_of(rate: int) -> int:
    """How many bytes may pass at once at this rate."""
    return max(limits.RATE_SAVED_LEAST, int(rate * limits.RATE_SAVED))
