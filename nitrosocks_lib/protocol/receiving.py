"""What received frames mean (protocol 5): which may come when, what is held, dropped and consumed.

`Receiving` is the half of a session that inbound owns; the half that outbound owns is `resend.ResendQueue`.
"""

from __future__ import annotations

from enum import Enum, auto

from ..facts import limits
from ..facts.errors import Violation
from ..facts.wire import Abort, Frame

_BOTH = {Frame.DATA, Frame.END, Frame.RESET, Frame.ACK, Frame.PING, Frame.PONG, Frame.PAD, Frame.ABORT}
FROM_CLIENT = frozenset(
    _BOTH | {Frame.OPEN, Frame.LISTEN, Frame.REFRESHED, Frame.DISCONNECT, Frame.DISCONNECT_DONE}
)
FROM_SERVER = frozenset(
    _BOTH
    | {Frame.OPENED, Frame.REFUSED, Frame.LISTENING, Frame.ACCEPTED}
    | {Frame.REFRESH, Frame.SWITCH, Frame.DISCONNECT_ACK, Frame.GOAWAY}
)


class Peer(Enum):
    """The peer's direction of the stream, as its frames have arrived."""

    IDLE = auto()  # no stream yet
    OWED = auto()  # client: OPEN or LISTEN is out, its answer is not in
    PARKED = auto()  # LISTENING came (client), or LISTEN (server); ACCEPTED is not there yet
    FLOWING = auto()
    DROPPING = auto()  # we sent RESET: what comes is dropped until the peer's END, RESET or REFUSED
    DROPPING_OWED = auto()  # the same, before the answer
    ENDED = auto()
    REFUSED = auto()  # server: REFUSED went out; DATA, END and RESET are dropped until the next OPEN or LISTEN


class Receiving:
    """Counts and states of one session's receiving half; survives reconnections. Owned by inbound.

    `received` counts numbered frames, `consumed` those that are done with; the difference is held for the local socket.
    """

    __slots__ = ("_window", "consumed", "held_bytes", "held_data", "peer", "received")

    def __init__(self, window: int) -> None:
        self._window = window
        self.received = 0
        self.consumed = 0
        self.held_bytes = 0
        self.held_data = 0
        self.peer = Peer.IDLE

    # -- the stream's beginning -------------------------------------------------------------------------------------

    def opening(self) -> None:
        """Client: OPEN or LISTEN is about to be sent."""
        assert self.peer in (Peer.IDLE, Peer.ENDED), "only an idle session opens a stream"
        self.peer = Peer.OWED

    def open(self, own_ended: bool, frame: Frame = Frame.OPEN) -> None:
        """Server: OPEN or LISTEN came; the last stream must be over. It is consumed: the dial takes it up.

        DATA may follow OPEN at once, but LISTEN only after ACCEPTED.
        """
        if not self.idle(own_ended):
            raise Violation("OPEN or LISTEN before the last stream was over")
        self._consume_at_once()
        self.peer = Peer.FLOWING if frame is Frame.OPEN else Peer.PARKED

    def carrying(self) -> None:
        """Server: ACCEPTED goes out."""
        self.peer = Peer.FLOWING

    def idle(self, own_ended: bool) -> bool:
        """Server: whether the last stream is over; `own_ended` says whether our direction is."""
        over = self.peer in (Peer.ENDED, Peer.REFUSED) and own_ended and self.held == 0
        return over or self.peer is Peer.IDLE

    def refused(self) -> int:
        """Server: REFUSED goes out. What is held is dropped; returns how many frames that were."""
        self.peer = Peer.REFUSED
        return self._drop()

    def answer(self, frame: Frame) -> bool:
        """Client: OPENED, LISTENING, ACCEPTED or REFUSED came; False when we have reset the stream meanwhile."""
        dropping = self.peer in (Peer.DROPPING, Peer.DROPPING_OWED)
        following = _ANSWERS.get((self.peer, frame))
        if following is None:
            raise Violation(f"{frame.name} that nobody asked for")
        self._consume_at_once()
        self.peer = following
        return not dropping

    # -- DATA, END, RESET -------------------------------------------------------------------------------------------

    def data(self, size: int) -> bool:
        """DATA of `size` bytes came: True when it is to be delivered, False when it is dropped (and so consumed)."""
        if not 1 <= size <= limits.WINDOW_MIN:
            raise Violation("DATA has a wrong size")
        if self.peer is not Peer.FLOWING:
            return self._dropped(Frame.DATA)
        self.received += 1
        self.held_bytes += size
        self.held_data += 1
        if self.held_bytes > self._window or self.held_data > limits.DATA_FRAMES:
            raise Violation("the peer sent more than the window", Abort.LIMIT)
        return True

    def end(self) -> bool:
        """END came: True when it is to be passed on behind what is held."""
        if self.peer is Peer.FLOWING:
            self.received += 1
            self.peer = Peer.ENDED
            return True
        self._dropped(Frame.END)
        if self.peer is Peer.DROPPING:
            self.peer = Peer.ENDED
        return False

    def reset(self) -> bool:
        """RESET came: True when it ends a stream. What is held is dropped, and consumed with it."""
        if self.peer in (Peer.OWED, Peer.DROPPING_OWED):
            raise Violation("RESET before the answer to OPEN")
        self._drop()
        self._consume_at_once()
        if self.peer in (Peer.IDLE, Peer.REFUSED):
            return False
        self.peer = Peer.ENDED
        return True

    def drop(self) -> bool:
        """We reset the stream: what is held and what still comes is dropped. True when the peer's direction is over."""
        self._drop()
        self.peer = {Peer.OWED: Peer.DROPPING_OWED, Peer.FLOWING: Peer.DROPPING, Peer.PARKED: Peer.DROPPING}.get(
            self.peer, self.peer
        )
        return self.peer in (Peer.IDLE, Peer.ENDED, Peer.REFUSED)

    # -- consumption ------------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Numbered frames received but not consumed: DATA, and END behind it."""
        return self.received - self.consumed

    def delivered(self, size: int) -> None:
        """The local socket took all of one DATA frame."""
        self.consumed += 1
        self.held_bytes -= size
        self.held_data -= 1

    def passed_on(self) -> None:
        """END was passed on to the local socket."""
        self.consumed += 1

    def _drop(self) -> int:
        dropped, self.consumed = self.held, self.received
        self.held_bytes = self.held_data = 0
        return dropped

    def _consume_at_once(self) -> None:
        assert self.held == 0, "frames are consumed in their order"
        self.received += 1
        self.consumed += 1

    def _dropped(self, frame: Frame) -> bool:
        if self.peer not in (Peer.DROPPING, Peer.REFUSED):
            raise Violation(f"{frame.name} outside a stream")
        self._consume_at_once()
        return False


_ANSWERS = {
    (Peer.OWED, Frame.OPENED): Peer.FLOWING,
    (Peer.OWED, Frame.REFUSED): Peer.ENDED,
    (Peer.OWED, Frame.LISTENING): Peer.PARKED,
    (Peer.PARKED, Frame.ACCEPTED): Peer.FLOWING,
    (Peer.DROPPING_OWED, Frame.OPENED): Peer.DROPPING,
    (Peer.DROPPING_OWED, Frame.LISTENING): Peer.DROPPING,
    (Peer.DROPPING_OWED, Frame.REFUSED): Peer.ENDED,
    (Peer.DROPPING, Frame.ACCEPTED): Peer.DROPPING,
}
