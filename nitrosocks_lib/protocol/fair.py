"""Whose turn it is at a rate that many streams share: who has used little goes before who has used much.

Fair queueing in virtual time: who will have used least behind what it waits for goes first. One that was idle counts as
if it had used as much as the one that was served last. So streams that send on and on go in turn, and keystrokes go
before all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from ..facts import limits
from .bucket import Bucket

_GONE: Final = 64  # entries of those that left, beside as many as wait: then all of them are taken out


class Place(Enum):
    """Where a stream stands."""

    NONE = auto()  # it asks for nothing
    WAITS = auto()
    TOLD = auto()  # it is its turn, and it is to ask again
    GONE = auto()


class Turn:
    """One stream in one direction. All but `tell` belongs to Fair."""

    __slots__ = ("likely", "place", "tell", "used")

    def __init__(self, tell: Callable[[], None]) -> None:
        """`tell` is for whoever calls `Fair.next`: the stream is to ask again."""
        self.tell = tell
        self.place = Place.NONE
        self.used = 0  # bytes, and what others used while it was idle
        self.likely = 0  # bytes that it waits for


class Fair:
    """The streams that share one bucket; bytes and seconds. For one thread at a time."""

    def __init__(self, rate: int, now: float) -> None:
        self.bucket = Bucket(rate, now)
        self._least = 0  # what the one that was served last had used before
        self._waiting: list[tuple[int, int, Turn]] = []  # what it will have used, the order of asking
        self._count = 0
        self._gone = 0  # of these, so many have left
        self._told = 0  # bytes for those that were told, and have not asked again

    def ask(self, turn: Turn, most: int, likely: int, now: float) -> int:
        """How many of `most` bytes may pass now; they are taken. `likely` are so many of them.

        At 0 it is another's turn, or the bucket has not enough. Then this one waits to be told.
        """
        if turn.place is Place.WAITS:
            return 0
        told, turn.place = turn.place is Place.TOLD, Place.NONE
        if told:
            self._told = max(0, self._told - turn.likely)
        else:
            turn.used = max(turn.used, self._least)
            turn.likely = min(likely, self._most)
        if (told or not self._behind(turn.used + turn.likely)) and self._has(turn.likely, now):
            taken = self.bucket.take(min(most, self._most), now)
            self._least = max(self._least, turn.used)
            turn.used += taken
            return taken
        turn.place = Place.WAITS
        self._count += 1
        heapq.heappush(self._waiting, (turn.used + turn.likely, self._count, turn))
        return 0

    def passes(self, turn: Turn, size: int, now: float) -> bool:
        """Whether a datagram may pass now, as a whole; it is taken then, and does not wait else."""
        turn.used = max(turn.used, self._least)
        if self._behind(turn.used + size) or not self._has(size, now):
            return False
        self._least = turn.used
        turn.used += self.bucket.take(size, now)
        return True

    def _behind(self, used: int) -> bool:
        """Whether somebody who waits will have used less."""
        return bool(self._waiting) and self._waiting[0][0] <= used

    def _has(self, size: int, now: float) -> bool:
        """Whether so much is there for one more."""
        return self.bucket.level(now) - self._told >= size

    @property
    def _most(self) -> int:
        return max(limits.RATE_TURN_LEAST, int(self.bucket.rate * limits.RATE_TURN))

    def give_back(self, turn: Turn, size: int) -> None:
        """So much of what it took did not pass."""
        self.bucket.give_back(size)
        turn.used -= size

    def leave(self, turn: Turn) -> None:
        """It asks for nothing any more."""
        if turn.place is Place.TOLD:
            self._told = max(0, self._told - turn.likely)
        elif turn.place is Place.WAITS:
            self._gone += 1
        turn.place = Place.GONE
        if self._gone > _GONE + len(self._waiting) // 2:  # at a low rate those before them wait for minutes
            self._waiting = [each for each in self._waiting if each[2].place is Place.WAITS]
            heapq.heapify(self._waiting)
            self._gone = 0

    def next(self, now: float) -> Turn | None:
        """The next whose turn it is, which is to be told; None where the bucket has not enough."""
        while self._waiting:
            turn = self._waiting[0][2]
            if turn.place is Place.WAITS:
                if not self._has(turn.likely, now):
                    return None
                turn.place = Place.TOLD
                self._told += turn.likely
            heapq.heappop(self._waiting)
            if turn.place is Place.TOLD:
                return turn
            self._gone -= 1
        return None

    def forget_told(self) -> None:
        """Those that were told and have not asked by now do so later, or never: others may have their turn."""
        self._told = 0

    def due(self, now: float) -> float | None:
        """When it is somebody's turn, as it looks now; None where nobody waits."""
        return self.bucket.due(self._waiting[0][2].likely + self._told, now) if self._waiting else None

    def all(self) -> list[Turn]:
        """There is no rate any more: all who wait are to be told."""
        turns = [turn for *_, turn in self._waiting if turn.place is Place.WAITS]
        self._waiting.clear()
        self._told = self._gone = 0
        for turn in turns:
            turn.place = Place.NONE
        return turns
