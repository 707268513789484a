"""When a connection is in doubt (protocol 5, Doubt): much sooner than a heartbeat would tell."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..facts import limits

_MARK_EVERY: Final = 0.01  # seconds between marks: frames of one moment share one
_MINUTE: Final = 60.0
_SECOND: Final = 1.0


class Doubt:
    """One for each session. `wrote` is outbound's, `acknowledged` inbound's, all else the owner's or a timer's.

    Times are seconds. A mark says: so many numbered frames had been written at that time, and this connection has not
    answered them. There is no lock. Each step on the marks is one of a deque, which is whole; what the other thread may
    do between two of them is said where it matters.
    """

    __slots__ = ("_answered", "_doublings", "_longest", "_marks", "_pinged")

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()
        self._answered = 0  # inbound: so many frames are acknowledged
        self._longest: list[tuple[float, float]] = []  # inbound: (when, seconds), the longest first; never changed
        self._doublings = 0
        self._pinged = 0.0

    def begin(self) -> None:
        """A new connection: what is unanswered counts from its writing there."""
        self._marks.clear()
        self._pinged = 0.0

    def wrote(self, count: int, now: float) -> bool:
        """`count` numbered frames have been written in all; True when nothing was unanswered before."""
        marks = self._marks
        try:
            before, at = marks[-1]
            if now - at < _MARK_EVERY or len(marks) >= limits.DOUBT_MARKS:
                marks[-1] = (count, at)
                if self._answered < before:
                    return False
                # inbound may have taken that very mark for what it said before: then this frame needs its own
        except IndexError:  # inbound has just taken the last one
            pass
        marks.append((count, now))
        return len(marks) == 1

    def acknowledged(self, count: int, now: float) -> None:
        """The peer has newly received frames, `count` in all."""
        marks = self._marks
        self._answered = count  # before the look at the marks: outbound sees it, or this thread sees what that one did
        self._doublings = 0
        while marks and marks[0][0] <= count:
            _, at = marks.popleft()
            self._sample(now - at, now)

    def _sample(self, seconds: float, now: float) -> None:
        """Keeps what may become the longest of a minute; what came within a second of a longer one would hardly do."""
        kept = [one for one in self._longest if one[1] > seconds and now - one[0] < _MINUTE]
        if not kept or now - kept[-1][0] >= _SECOND:
            kept.append((now, seconds))
        self._longest = kept  # at once: others read it

    def pinged(self, now: float) -> None:
        """A PING goes out."""
        self._pinged = now

    def ponged(self) -> None:
        """PONG came, inbound says so. Nothing else answers a PING: what is heard may have arrived long ago."""
        self._pinged = 0.0

    def doubled(self) -> None:
        """A doubt, or a reconnection: the next is to come later, until a numbered frame is newly acknowledged."""
        self._doublings += 1

    def patience(self, now: float) -> float:
        """D: seconds of silence, while something is unanswered, that a doubt takes."""
        longest = next((seconds for when, seconds in self._longest if now - when < _MINUTE), 0.0)
        return min(max(limits.DOUBT_LEAST, 4 * longest) * 2.0 ** min(self._doublings, 10), limits.DOUBT_MOST)

    def due(self, heard: float, now: float) -> float:
        """When the connection is to be doubted if nothing more is heard than at `heard`; 0 while all is answered."""
        try:
            since = self._marks[0][1]
        except IndexError:
            since = 0.0
        if self._pinged:
            since = min(since or self._pinged, self._pinged)
        return max(since, heard) + self.patience(now) if since else 0.0


class Unfinished:
    """How long a frame may take to become whole; one for each session, for timers (protocol 5, `LV5`).

    An honest frame comes in one go, as fast as the line is. One whose length was changed on the way swallows what
    comes behind it: little by little, or nothing at all.
    """

    __slots__ = ("_doubled_at", "_factor")

    def __init__(self) -> None:
        self._factor = 1.0
        self._doubled_at = 0.0

    def due(self, since: float, size: int, heard: float, silence: float, now: float) -> float:
        """When to give up a frame that began at `since` and of which `size` bytes are here; `silence` within it is in
        seconds."""
        if now - self._doubled_at >= limits.FRAME_DOUBLED:
            self._factor = 1.0
        whole = since + self._factor * max(limits.FRAME_WHOLE, size / limits.FRAME_RATE)
        return min(whole, heard + self._factor * silence)

    def doubled(self, now: float) -> None:
        """A frame was given up. The line may be slower than that: the next one gets twice the time."""
        self._factor, self._doubled_at = self._factor * 2, now
