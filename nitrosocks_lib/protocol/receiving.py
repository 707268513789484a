"""What received frames mean (protocol 5): which side may send them, and when a stream admits them."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from ..facts import limits
from ..facts.errors import Violation
from ..facts.wire import ONLY_FROM_CLIENT, ONLY_FROM_SERVER, Frame

_LAST: Final = (1 << 32) - 1  # numbers are u32
FROM_CLIENT: Final = frozenset(Frame) - ONLY_FROM_SERVER
FROM_SERVER: Final = frozenset(Frame) - ONLY_FROM_CLIENT


class Peer(Enum):
    """The peer's direction of a stream, as its frames have arrived."""

    OWED = auto()  # this side opened the stream, and the answer is not here
    FLOWING = auto()
    ENDED = auto()  # END came
    OVER = auto()  # the stream is over for this side: what comes is ignored


# What a stream that is not over admits, and what follows. All else is a violation.
ADMITS: Final[dict[Peer, dict[Frame, Peer]]] = {
    Peer.OWED: {Frame.OPENED: Peer.FLOWING, Frame.REFUSED: Peer.OVER},
    Peer.FLOWING: {Frame.DATA: Peer.FLOWING, Frame.END: Peer.ENDED, Frame.RESET: Peer.OVER},
    Peer.ENDED: {Frame.RESET: Peer.OVER},
}


def following(state: Peer, frame: Frame) -> Peer:
    """The state behind this frame; OVER stays OVER. Raises Violation where the frame must not stand."""
    if state is Peer.OVER:
        return state
    try:
        return ADMITS[state][frame]
    except KeyError:
        raise Violation(f"{frame.name} of a stream that is {state.name.lower()}") from None


class Numbers:
    """The numbers of one side's streams or of listeners: each the next, never one twice."""

    __slots__ = ("_step", "last")

    def __init__(self, first: int, step: int) -> None:
        self._step = step
        self.last = first - step

    @property
    def used_up(self) -> bool:
        """Whether too few are left for all streams of a session that may wait for one (protocol 10.20)."""
        return self.last > _LAST - limits.STREAMS * self._step

    def take(self) -> int:
        """This side's next number."""
        self.last += self._step
        return self.last

    def expect(self, number: int, frame: Frame) -> None:
        """The peer's next number; raises Violation for any other."""
        if number != self.last + self._step:
            raise Violation(f"{frame.name} with number {number} instead of {self.last + self._step}")
        self.last = number

    def known(self, number: int) -> bool:
        """Whether this number was taken, whatever has become of it."""
        return 0 < number <= self.last and (self.last - number) % self._step == 0
