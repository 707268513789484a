"""Two connections as one: what each of them says goes to the other, and so does how it ends. Nothing here waits.

An end goes on as an end, and a reset as a reset, behind all that was said before. What one does not take waits here,
and no more of the other is read.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Final

from ..facts import limits
from ..facts.errors import ConnectionEnded, NetworkError
from .ends import PlainEnd
from .sockets import end_with_reset, guarded, unread
from .timers import now
from .turns import Turns

_ROUNDS: Final = 8  # in one turn, then others have theirs
_LOOK: Final = 1.0  # seconds between looks whether an end is gone that is not watched
_LOOK_UNREAD: Final = 0.05  # and at what a kernel still holds
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Changes = Callable[[bytes], tuple[bytes, bool]]  # what goes on in place of what came; whether all that follows is as it
# came


class _Way:
    """One direction."""

    __slots__ = ("_changes", "finished", "held", "moved", "reading", "sink", "source")

    def __init__(self, source: PlainEnd, sink: PlainEnd, first: bytes, changes: Changes | None) -> None:
        self.source, self.sink = source, sink
        self.held = memoryview(first)  # what the sink has not taken
        self.moved = now()  # when it last took something
        self.reading = True  # the source may say more
        self._changes = changes
        self.finished = False  # its end went on, or is not to: it is over

    def stop(self) -> None:
        """The sink takes no more."""
        self.held, self.reading, self.finished = memoryview(b""), False, True

    def read(self, buffer: memoryview) -> bool:
        """Takes what is there, where nothing is held; True where there was something. Raises NetworkError where the
        source broke."""
        if not self.reading or self.held:
            return False
        try:
            size = self.source.read_some(buffer)
        except ConnectionEnded:
            self.reading = False
            return True
        self.held = buffer[:size]
        if size and self._changes is not None:
            changed, whole = self._changes(bytes(self.held))
            self.held = memoryview(changed)
            if whole:
                self._changes = None
        return size > 0

    def write(self) -> bool:
        """Gives the sink what it takes; True where that was something. Raises NetworkError where it broke."""
        if not self.held:
            return False
        if sent := self.sink.write_some(self.held):
            self.held, self.moved = self.held[sent:], now()
        return sent > 0


class Splice:
    """Has turns in a thread of whoever makes it, until both directions are over; then both sockets are closed."""

    def __init__(
        self,
        near: socket.socket,
        far: socket.socket,
        turns: Turns,
        buffer: memoryview,
        to_near: bytes = b"",
        to_far: bytes = b"",
        from_near: Changes | None = None,
        from_far: Changes | None = None,
    ) -> None:
        """Takes both over. `to_near` and `to_far` go there before all else; the others say what goes on of what comes
        from there. `buffer` is the thread's, and free between two turns."""
        self._socks = near, guarded(far)
        self._ends = one, other = PlainEnd(near), PlainEnd(far)
        self._ways = _Way(one, other, to_far, from_near), _Way(other, one, to_near, from_far)
        self._turns, self._buffer = turns, buffer
        self._broken = False  # both are to end with a reset
        self._unread, self._moved = 0, 0.0  # bytes that a reset would lose, and when some of them were last taken
        turns.join(self)
        turns.again(self)

    def go_on(self) -> None:
        """As Turning."""
        one, other = self._ways
        for _ in range(_ROUNDS):
            moved = self._move(one, other)
            if not (self._move(other, one) or moved):
                self._settle()
                return
        self._turns.again(self)

    def _move(self, way: _Way, back: _Way) -> bool:
        """Whether something moved in this direction."""
        try:
            came = way.read(self._buffer)
        except NetworkError:  # what it said before goes on, and it hears no more
            way.reading, came = False, True
            self._deaf(back)
        try:
            moved = way.write()
        except NetworkError:  # what it says is read to its end
            moved = True
            self._deaf(way)
        if came and way.held:
            way.held = memoryview(bytes(way.held))
        if not (way.held or way.reading or way.finished):
            way.finished = True
            if not self._broken:
                way.sink.finish(notify=False)
        return came or moved

    def _deaf(self, way: _Way) -> None:
        self._broken = True
        way.stop()

    def _settle(self) -> None:
        """Nothing can be moved now: it ends, or waits for more."""
        at = now()
        if not all(way.finished for way in self._ways):
            self._watch(at)
        elif not self._broken:
            self._end(resets=False)
        elif self._delivered(at):
            self._end(resets=True)
        else:
            self._forget()
            self._turns.at(at + _LOOK_UNREAD, self)

    def _watch(self, at: float) -> None:
        for end, from_, to in zip(self._ends, self._ways, reversed(self._ways), strict=True):
            events = _READ * (from_.reading and not from_.held) | _WRITE * bool(to.held)
            self._turns.watch(end.fd, events, self)
        if all(way.reading and not way.held for way in self._ways):  # both are watched
            return
        for way, back in zip(self._ways, reversed(self._ways), strict=True):
            stalled = way.held and back.finished and at - way.moved > limits.LINGER
            if stalled or (not way.finished and way.sink.gone()):
                self._deaf(way)
                self._turns.again(self)
        self._turns.at(at + _LOOK, self)

    def _delivered(self, at: float) -> bool:
        """Whether a reset loses nothing, or nothing that anybody takes."""
        left = sum(map(unread, self._socks))
        if not self._moved or left < self._unread:
            self._unread, self._moved = left, at
        return not left or at - self._moved > limits.LINGER

    def _forget(self) -> None:
        for end in self._ends:
            self._turns.forget(end.fd)

    def _end(self, resets: bool) -> None:
        self._forget()
        self._turns.part(self)
        for sock in self._socks:
            end_with_reset(sock, resets)
            sock.close()

    def close(self) -> None:
        """As Turning: what is cut does not look complete."""
        self._end(resets=True)
