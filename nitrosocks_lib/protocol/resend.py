"""Numbered frames, kept by their sender until acknowledged and sent again after a reconnection (protocol 5, 3.5)."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ..facts import limits


class Kept(NamedTuple):
    """One numbered frame: type ‖ payload, its DATA bytes (0 for other types), and what to give back with it."""

    plain: bytes | memoryview
    volume: int
    is_data: bool
    slot: bytearray | None
    ack_before: int | None  # of a RESET: the highest ACK that may go out before it


class ResendQueue:
    """Owned by outbound. Indices count numbered frames over the life of the session.

    acked ≤ cursor ≤ total: [acked, cursor) are under way, [cursor, total) wait to be sealed on this connection.
    """

    __slots__ = ("_kept", "acked", "cursor", "data_bytes", "data_frames", "resets")

    def __init__(self) -> None:
        self._kept: deque[Kept] = deque()
        self.acked = 0
        self.cursor = 0
        self.data_bytes = 0  # of DATA not yet acknowledged
        self.data_frames = 0
        self.resets = 0  # RESETs kept; nearly always 0, so ACKs are rarely looked at closer

    @property
    def total(self) -> int:
        """How many numbered frames there have been."""
        return self.acked + len(self._kept)

    @property
    def all_sealed(self) -> bool:
        """Whether nothing waits to be sealed on this connection."""
        return self.cursor == self.acked + len(self._kept)

    def append_data(self, plain: bytes | memoryview, slot: bytearray | None) -> None:
        """Keeps a DATA frame; `slot` comes back from `acknowledge`."""
        volume = len(plain) - 1
        self._kept.append(Kept(plain, volume, True, slot, None))
        self.data_bytes += volume
        self.data_frames += 1

    def append(self, plain: bytes, ack_before: int | None = None) -> None:
        """Keeps another numbered frame; RESET comes with `ack_before` (see `ack_limit`)."""
        self._kept.append(Kept(plain, 0, False, None, ack_before))
        self.resets += ack_before is not None

    def next(self) -> bytes | memoryview | None:
        """The next frame to seal, if one waits; `sealed` then passes over it."""
        at = self.cursor - self.acked
        return self._kept[at].plain if at < len(self._kept) else None

    def sealed(self) -> None:
        """The frame that `next` gave is about to be written."""
        self.cursor += 1

    def acknowledge(self, consumed: int) -> list[bytearray]:
        """Forgets what the peer has consumed; returns the slots that are free now. The caller checked the bounds."""
        assert self.acked <= consumed <= self.cursor, "inbound checks every ACK"
        free = []
        while self.acked < consumed:
            kept = self._kept.popleft()
            self.acked += 1
            self.resets -= kept.ack_before is not None
            if kept.is_data:
                self.data_bytes -= kept.volume
                self.data_frames -= 1
            if kept.slot is not None:
                free.append(kept.slot)
        return free

    def rewind(self, received: int) -> None:
        """After a reconnection: the peer has received that many, all others are sent again."""
        assert self.acked <= received <= self.total, "checked by whoever attaches the link"
        self.cursor = received

    def ack_limit(self, consumed: int) -> int:
        """The highest ACK that may go out now: RESET goes out before any ACK of what it drops (protocol 5)."""
        if not self.resets:
            return consumed
        waiting = list(self._kept)[self.cursor - self.acked :]
        return min([consumed] + [kept.ack_before for kept in waiting if kept.ack_before is not None])

    def room(self, window: int) -> int:
        """Payload bytes that the next DATA frame may have; 0 while the window is closed or nearly so."""
        if self.data_frames >= limits.DATA_FRAMES:
            return 0
        room = min(window - self.data_bytes, limits.DATA_SIZE)
        return room if room >= min(limits.DATA_SIZE, window // 2) else 0
