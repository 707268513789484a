"""Streams of datagrams, which have no end of their own: silence ends them (protocol 5, UD4 and UD5)."""

from __future__ import annotations

from typing import Literal

from ..facts import limits
from ..facts.wire import Frame
from .mailbox import Outbox
from .streams import Sending, Stream


class Silences:
    """Part of inbound, and of its thread."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._streams: dict[Stream, None] = {}  # of datagrams, that were opened
        self._next = 0.0  # none is silent for too long before that

    def __bool__(self) -> bool:
        """Whether `due` is to be asked."""
        return bool(self._streams)

    def begin(self, stream: Stream, at: float) -> None:
        """It is open, from now on."""
        stream.heard_at = max(stream.heard_at, at)
        if not self._streams:
            self._next = at + limits.DATAGRAMS_IDLE
        self._streams[stream] = None

    def due(self, at: float) -> float | None:
        """Ends those that were silent for `limits.DATAGRAMS_IDLE`; returns when to be called next."""
        if self._streams and at >= self._next:
            self._next = at + limits.DATAGRAMS_IDLE
            for stream in self._flowing():
                if (silent_at := _stirred(stream) + limits.DATAGRAMS_IDLE) <= at:
                    self.part(stream, Frame.END)
                else:
                    self._next = min(self._next, silent_at)
        return self._next if self._streams else None

    def make_room(self, newest: Stream) -> None:
        """The bound of streams is reached: the one that was silent longest ends at once, which is not the newest."""
        longest = min((each for each in self._flowing() if each is not newest), key=_stirred, default=None)
        if longest is not None:
            self.part(longest, Frame.RESET)

    def forget(self, stream: Stream) -> None:
        """It is over."""
        self._streams.pop(stream, None)

    def _flowing(self) -> list[Stream]:
        """Those that nothing has ended yet; the others are forgotten."""
        self._streams = {each: None for each in self._streams if not (each.over or each.parting)}
        return [each for each in self._streams if each.sending is Sending.FLOWING]

    def part(self, stream: Stream, how: Literal[Frame.END, Frame.RESET]) -> None:
        """outbound is to end this side's direction; one that ends in both is over."""
        stream.parting = how
        self._outbox.post_stream(stream)


def _stirred(stream: Stream) -> float:
    """When the last datagram went either way."""
    return max(stream.heard_at, stream.spoke_at)
