"""When a client doubts its connection (protocol 5, Doubt): much sooner than a heartbeat would tell."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..facts import limits

_MARK_EVERY: Final = 0.01  # seconds between marks: frames of one moment share one
_MINUTE: Final = 60.0


class Doubt:
    """One for each session. `wrote` is outbound's, `acknowledged` inbound's, all else the owner's. Seconds.

    A mark says: so many numbered frames had been written at that time, and this connection has not answered them.
    """

    __slots__ = ("_doublings", "_longest", "_marks", "_pinged", "_sampled")

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()
        self._longest: deque[tuple[float, float]] = deque()  # (when, seconds), the longest first: of the last minute
        self._doublings = 0
        self._sampled = 0
        self._pinged = 0.0

    def begin(self) -> None:
        """A new connection: what is unanswered counts from its writing there."""
        self._marks.clear()
        self._pinged = 0.0

    def wrote(self, count: int, now: float) -> bool:
        """`count` numbered frames have been written in all; True when nothing was unanswered before."""
        marks = self._marks
        first = not marks
        try:
            if now - marks[-1][1] < _MARK_EVERY or len(marks) >= limits.DOUBT_MARKS:
                marks[-1] = (count, marks[-1][1])
                return False
        except IndexError:  # inbound has just taken the last one
            pass
        marks.append((count, now))
        return first

    def acknowledged(self, count: int, now: float) -> None:
        """The peer has received that many."""
        marks = self._marks
        while marks and marks[0][0] <= count:
            _, at = marks.popleft()
            self._sample(now - at, now)
            self._doublings = 0

    def _sample(self, seconds: float, now: float) -> None:
        while self._longest and self._longest[-1][1] <= seconds:
            self._longest.pop()
        self._longest.append((now, seconds))
        while self._longest[0][0] < now - _MINUTE:
            self._longest.popleft()

    def pinged(self, now: float) -> None:
        """A PING goes out; any frame that is heard later answers it."""
        self._pinged = now

    def doubled(self) -> None:
        """A doubt, or a reconnection: the next is to come later, until a numbered frame is newly acknowledged."""
        self._doublings += 1

    @property
    def patience(self) -> float:
        """D: seconds of silence, while something is unanswered, that a doubt takes."""
        longest = self._longest[0][1] if self._longest else 0.0
        return min(max(limits.DOUBT_LEAST, 4 * longest) * 2.0 ** min(self._doublings, 10), limits.DOUBT_MOST)

    def due(self, heard: float) -> float:
        """When the connection is to be doubted if nothing more is heard than at `heard`; 0 while all is answered."""
        since = self._marks[0][1] if self._marks else 0.0
        if self._pinged > heard:
            since = min(since or self._pinged, self._pinged)
        return max(since, heard) + self.patience if since else 0.0
