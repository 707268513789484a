"""Streams of a client that is held to a rate: each of them has its turn in each direction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..protocol.fair import Turn
from .rate import Rate
from .streams import Stream


class InTurn:
    """Of one direction of a session. Part of the half that carries it, and of its thread."""

    def __init__(self, post: Callable[[Stream], None]) -> None:
        """`post` has this half look at a stream again; any thread calls it."""
        self._post = post
        self._turns: dict[Stream, Turn] = {}
        self.parked: set[Stream] = set()  # those that wait for their turn; their local sockets are not to be watched

    def spend(self, rate: Rate, stream: Stream, most: int, likely: int, use: Callable[[int], int]) -> int:
        """Has `use` carry what may pass now of `most` bytes, of which there likely are so many; returns what it did.

        Where nothing may pass the stream is parked, and posted when it is to try again.
        """
        turn = self._turn(stream)
        taken = rate.take(turn, most, likely)
        if not taken:
            self.parked.add(stream)
            return 0
        self.parked.discard(stream)
        used = use(taken)
        rate.give_back(turn, taken - used)
        return used

    def passes(self, rate: Rate, stream: Stream, size: int) -> bool:
        """Whether a datagram may pass now; else it is to be dropped."""
        return not rate.limited or rate.passes(self._turn(stream), size)

    def _turn(self, stream: Stream) -> Turn:
        turn = self._turns.get(stream)
        if turn is None:
            turn = self._turns[stream] = Turn(partial(self._post, stream))
        return turn

    def leave(self, rate: Rate, stream: Stream) -> None:
        """This direction of the stream is over."""
        turn = self._turns.pop(stream, None)
        if turn is not None:
            rate.leave(turn)
            self.parked.discard(stream)

    def leave_all(self, rate: Rate) -> None:
        """The session is over: nobody would heed its turns, and others wait behind them."""
        for stream in list(self._turns):
            self.leave(rate, stream)
