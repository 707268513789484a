"""Local sockets as delivery writes them: within the rate of the client, and watched while they take no more."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Final

from ..net.datagrams import give
from .inturn import InTurn
from .state import State
from .streams import Stream

_WRITE: Final = selectors.EVENT_WRITE


class Writing:
    """Part of delivery, and of its thread."""

    def __init__(self, state: State, broke: Callable[[Stream], None]) -> None:
        """`broke` is told that a local socket takes nothing any more."""
        self._state, self._broke = state, broke
        self._waiter = state.inbox.waiter
        self._in_turn = InTurn(state.inbox.post_stream)

    def watch(self, stream: Stream) -> None:
        """inbound's selector tells when the local socket takes more; not while it is another stream's turn."""
        if stream.local is not None and not self.parked(stream):
            self._waiter.watch(stream.local.fileno(), _WRITE, stream)

    def forget(self, stream: Stream) -> None:
        """Ends the watch, if there is one."""
        if stream.local is not None:
            self._waiter.forget(stream.local.fileno())

    def parked(self, stream: Stream) -> bool:
        """Whether it waits for its turn: then it is posted."""
        return stream in self._in_turn.parked

    def go_on(self, stream: Stream) -> None:
        """One that was parked is posted: its turn may have come."""
        self._in_turn.parked.discard(stream)
        self.watch(stream)

    def leave(self, stream: Stream) -> None:
        """Nothing more is written."""
        self._in_turn.leave(self._state.up, stream)

    def send(self, stream: Stream, payload: memoryview) -> int:
        """Writes what the local socket takes, within the rate; how many bytes. What is dropped counts as written."""
        rate, size = self._state.up, len(payload)
        if not rate.limited or not size:
            return self._write(stream, payload)
        if stream.datagrams:
            return self._write(stream, payload) if self._in_turn.passes(rate, stream, size) else size
        was_parked = self.parked(stream)
        sent = self._in_turn.spend(rate, stream, size, size, lambda most: self._write(stream, payload[:most]))
        if self.parked(stream):
            self.forget(stream)
        elif was_parked and not stream.broken:  # END or RESET came when its turn had, and before it was posted
            self.watch(stream)
        return sent

    def _write(self, stream: Stream, payload: memoryview) -> int:
        assert stream.local is not None, "the caller looked"
        if stream.datagrams:  # what the socket refuses counts as taken (UD3)
            give(stream.local, payload)
            return len(payload)
        try:
            return stream.local.send(payload)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._broke(stream)
            return 0
