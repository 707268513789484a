"""What other threads leave for the two halves: a field is set, then its reader woken. Nothing here grows unbounded."""

from __future__ import annotations

from collections import deque

from ..net.wake import Waiter
from ..protocol.handshake import Keys
from .streams import Stream


class Inbox:
    """What is posted to one half: here streams that it is to look at again; that is all that inbound is posted."""

    def __init__(self) -> None:
        self.waiter = Waiter()
        self._streams: dict[Stream, None] = {}  # as many as there are streams, at most

    def post_stream(self, stream: Stream) -> None:
        """The other half: this one is to look at the stream again."""
        self._streams[stream] = None
        self.waiter.set()

    def next_stream(self) -> Stream | None:
        """Takes one of them."""
        try:
            return self._streams.popitem()[0]
        except KeyError:
            return None


class Outbox(Inbox):
    """What is posted to outbound. The latest value of a field wins."""

    def __init__(self) -> None:
        super().__init__()
        self.acked = 0  # inbound: how many of our numbered frames the peer has received
        self.received = 0  # inbound: how many of the peer's we have; goes out with whatever leaves next
        self.ack_due = False  # inbound: what was received is to be acknowledged at once
        self.acknowledged = 0  # outbound: what the last ACK said
        self.limits: dict[int, int] = {}  # inbound: limits to be stated, by stream
        self.opening: deque[Stream | bytes] = deque()  # new streams of this side, and frames of listeners, in order
        self.frames: deque[bytes] = deque()  # inbound: numbered frames of no stream, bounded as what is kept
        self.pong: bytes | None = None  # inbound: the PONG to send
        self.ping = False  # timers
        self.goaway: bytes | None = None  # server: GOAWAY
        self.release: bytes | None = None  # DISCONNECT or DISCONNECT_ACK
        self.farewell: bytes | None = None  # DISCONNECT_DONE or ABORT: the session is over once it is written
        self.forget_refresh()

    def open(self, stream: Stream) -> None:
        """OPEN or ACCEPTED is to go out for this stream; any thread."""
        self.opening.append(stream)
        self.waiter.set()

    def announce(self, frame: bytes) -> None:
        """A frame of a listener is to go out, behind what was opened before; any thread."""
        self.opening.append(frame)
        self.waiter.set()

    def post(
        self, *, ping: bool = False, pong: bytes = b"", goaway: bytes = b"", release: bytes = b"", farewell: bytes = b""
    ) -> None:
        """Any thread: these frames are to go out; of each the latest."""
        self.ping = ping or self.ping
        self.pong = pong or self.pong
        self.goaway = goaway or self.goaway
        self.release = release or self.release
        self.farewell = farewell or self.farewell
        self.waiter.set()

    def next_limits(self, most: int) -> list[tuple[int, int]]:
        """Takes limits to be stated, so many at most."""
        rows: list[tuple[int, int]] = []
        while self.limits and len(rows) < most:
            rows.append(self.limits.popitem())
        return rows

    def forget_refresh(self) -> None:
        """A refresh that the end of a connection cut short is forgotten (protocol 5)."""
        self.refresh = False  # server timers: start one
        self.refreshed: tuple[bytes, Keys] | None = None  # client inbound: REFRESHED, and the keys after it
        self.switch: tuple[bytes, Keys] | None = None  # server inbound: SWITCH, and the keys after it
        self.switched = False  # client inbound: SWITCH verified
