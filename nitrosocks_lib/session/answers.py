"""Answers to OPEN and ACCEPTED, those that came and those of this side, and what becomes of their streams."""

from __future__ import annotations

from ..facts.wire import Frame
from ..net.timers import now
from ..protocol import frames
from ..protocol.frames import Address, Reason
from ..protocol.receiving import Peer
from .delivery import Delivery
from .dialling import Reached, Unreached
from .state import State
from .streams import Ending, Stream


class Answers:
    """Part of inbound, and of its thread."""

    def __init__(self, state: State, delivery: Delivery) -> None:
        self._state, self._delivery = state, delivery

    # -- that came -----------------------------------------------------------------------------------------------------

    def opened(self, stream: Stream, address: Address) -> None:
        """OPENED."""
        if not stream.tell_opened(address):
            self._delivery.broke(stream)
        elif stream.datagrams:
            self._delivery.silences.begin(stream, now())

    def refused(self, stream: Stream, reason: Reason) -> None:
        """REFUSED."""
        stream.end(Ending.REFUSED, reason.text or f"reason {reason.code}", reason.code)
        self._delivery.stop(stream)

    # -- of this side --------------------------------------------------------------------------------------------------

    def answer(self, number: int, result: Reached | Unreached) -> None:
        """A dial's result: OPENED and what waits for the target, or REFUSED."""
        stream = self._state.streams.by_number.get(number)
        if stream is None or stream.over:
            if isinstance(result, Reached):
                result.sock.close()
        elif isinstance(result, Unreached):
            self.refuse(stream, result)
        else:
            stream.answer = frames.address(Frame.OPENED, number, result.address)
            stream.reach(result.sock, result.address)
            self._state.outbox.post_stream(stream)
            self._delivery.begin(stream, now())

    def refuse(self, stream: Stream, why: Unreached) -> None:
        """Answers REFUSED: the stream is over."""
        stream.end(Ending.REFUSED, why.text + why.more, why.reply)
        stream.answer = frames.refusal(Frame.REFUSED, stream.number, why.reply, why.text)
        stream.peer = Peer.OVER
        self._delivery.stop(stream)
