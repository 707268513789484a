"""Numbered frames, kept by their sender until acknowledged and sent again after a reconnection (protocol 5, 3.5)."""

from __future__ import annotations

from collections import deque

from ..facts import limits

Plain = bytes | memoryview


class ResendQueue:
    """Owned by outbound. Indices count numbered frames over the life of the session.

    acked ≤ cursor ≤ total: [acked, cursor) are under way, [cursor, total) wait to be sealed on this connection.
    """

    __slots__ = ("_kept", "acked", "cursor", "kept_bytes", "sent")

    def __init__(self) -> None:
        self._kept: deque[tuple[Plain, bytearray | None]] = deque()  # type ‖ payload, and the slot that holds it
        self.acked = 0
        self.cursor = 0
        self.sent = 0  # how many have been sealed on any connection: the most that a peer can have received
        self.kept_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def total(self) -> int:
        """How many numbered frames there have been."""
        return self.acked + len(self._kept)

    @property
    def waits(self) -> bool:
        """Whether something waits to be sealed on this connection."""
        return self.cursor < self.acked + len(self._kept)

    @property
    def full(self) -> bool:
        """Whether so much is kept that no local socket is to be read."""
        return self.kept_bytes >= limits.KEPT_BYTES or len(self._kept) >= limits.KEPT_FRAMES

    @property
    def overfull(self) -> bool:
        """Whether the peer makes us keep what it never acknowledges: ABORT 5 (protocol 5, "ACK, received")."""
        return self.kept_bytes > 2 * limits.KEPT_BYTES or len(self._kept) > 2 * limits.KEPT_FRAMES

    def append(self, plain: Plain, slot: bytearray | None = None) -> None:
        """Keeps one more frame; `slot` comes back when it is acknowledged."""
        self._kept.append((plain, slot))
        self.kept_bytes += len(plain)

    def next(self) -> Plain | None:
        """The next frame to seal, if one waits; `sealed` then passes over it."""
        at = self.cursor - self.acked
        return self._kept[at][0] if at < len(self._kept) else None

    def sealed(self, count: int = 1) -> None:
        """The frames that `next` gave, or that were appended last, are about to be written."""
        self.cursor += count
        if self.cursor > self.sent:
            self.sent = self.cursor

    def acknowledge(self, received: int) -> list[bytearray]:
        """Forgets what the peer has received; returns the slots that are free now. The caller checked the bounds."""
        assert received <= self.sent, "inbound checks every ACK"
        free = []
        while self.acked < received:
            plain, slot = self._kept.popleft()
            self.acked += 1
            self.kept_bytes -= len(plain)
            if slot is not None:
                free.append(slot)
        self.cursor = max(self.cursor, self.acked)
        return free

    def rewind(self, received: int) -> list[bytearray]:
        """After a reconnection: the peer has received that many, all others are sent again; returns free slots."""
        assert self.acked <= received <= self.sent, "checked by whoever attaches the link"
        free = self.acknowledge(received)
        self.cursor = self.acked
        return free

    def drop(self) -> list[bytearray]:
        """The session is over, and nothing is sent again: forgets all; returns free slots."""
        free = [slot for _, slot in self._kept if slot is not None]
        self.cursor = self.acked = self.total
        self._kept.clear()
        self.kept_bytes = 0
        return free
