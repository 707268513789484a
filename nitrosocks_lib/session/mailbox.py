"""What other threads leave for outbound."""

from __future__ import annotations

from ..net.wake import Wake
from ..protocol.handshake import Keys
from .streams import Stream


class OutboundMail:
    """What others post to outbound: set a field, then wake. The latest value wins, so it never grows."""

    def __init__(self) -> None:
        self.wake = Wake()
        self.acked = 0  # inbound: the peer's consumed count
        self.consumed = 0  # inbound: our consumed count, to be acknowledged
        self.stream: Stream | None = None  # the current stream, from whoever opened it
        self.pong: bytes | None = None  # inbound: the PONG to send
        self.ping = False  # timers
        self.goaway: bytes | None = None  # server: GOAWAY
        self.release: bytes | None = None  # DISCONNECT or DISCONNECT_ACK
        self.farewell: bytes | None = None  # DISCONNECT_DONE or ABORT: the session is over once it is written
        self.forget_refresh()

    def forget_refresh(self) -> None:
        """A refresh that the end of a connection cut short is forgotten (protocol 5)."""
        self.refresh = False  # server timers: start one
        self.refreshed: tuple[bytes, Keys] | None = None  # client inbound: REFRESHED, and the keys after it
        self.switch: tuple[bytes, Keys] | None = None  # server inbound: SWITCH, and the keys after it
        self.switched = False  # client inbound: SWITCH verified
