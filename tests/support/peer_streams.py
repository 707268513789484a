"""Streams and listeners of a peer: numbers, states, limits, and a verb for each thing to say.

Written from docs/protocol.md alone. To be mixed into a client or a server of peer.py. It follows what either side
says and judges nothing: verdict() tells why a frame may not come now, and send() sends it all the same.
"""

import struct
from collections.abc import Iterable

import peer
from peer import ACK, C2S, DATA, END, NUMBERED, OPENED, REFUSED, RESET, S2C

BLOCK = 65_532  # the most bytes of one DATA
MAX, BOTH = 65536, C2S + S2C
HOST, PATH, TEXT = 255, 107, 1024  # the most bytes of each
FRAMES = {  # by type: (who may send it, least and most bytes of payload, where the UTF-8 text in it begins)
    peer.OPEN: (C2S, 7, 7 + HOST, 7), peer.OPENED: (BOTH, 6, 6 + HOST, 6), peer.REFUSED: (BOTH, 5, 5 + TEXT, 5),
    peer.DATA: (BOTH, 5, MAX, MAX), peer.END: (BOTH, 4, 4, 4), peer.RESET: (BOTH, 5, 5 + TEXT, 5),
    peer.LISTEN: (C2S, 7, 7 + HOST, 7), peer.LISTENING: (S2C, 5, 5 + TEXT, 5), peer.UNLISTEN: (BOTH, 4, 4, 4),
    peer.ACCEPTED: (S2C, 10, 10 + HOST, 10), peer.ACK: (BOTH, 8, MAX, MAX), peer.PING: (BOTH, 8, 32, 32),
    peer.PONG: (BOTH, 32, 32, 32), peer.PAD: (BOTH, 0, MAX, MAX), peer.REFRESH: (S2C, 2336, 2336, MAX),
    peer.REFRESHED: (C2S, 2384, 2384, MAX), peer.SWITCH: (S2C, 32, 32, 32), peer.DISCONNECT: (C2S, 0, 0, 0),
    peer.DISCONNECT_ACK: (S2C, 32, 32, 32), peer.DISCONNECT_DONE: (C2S, 32, 32, 32),
    peer.ABORT: (BOTH, 1, 1 + TEXT, 1), peer.GOAWAY: (S2C, 4, 4, 4),
}  # fmt: skip
OPENINGS = {peer.OPEN: C2S, peer.ACCEPTED: S2C}  # who opens a stream with what
OF_STREAMS, OF_LISTENERS = (OPENED, REFUSED, DATA, END, RESET), (peer.LISTENING, peer.UNLISTEN)


def at(port: int = 7, host: str = "127.0.0.1", kind: int = 1) -> bytes:
    """What follows the number in OPEN and LISTEN; without its first byte what follows it in OPENED."""
    return struct.pack(">BH", kind, port) + host.encode()


def limits(payload: bytes) -> Iterable[tuple[int, int]]:
    """Number and limit of each stream that an ACK states one of."""
    return struct.iter_unpack(">IQ", payload[8 : len(payload) - (len(payload) - 8) % 12])


def ill_formed(d: bytes, kind: int, payload: bytes) -> str:
    """Why a frame in direction d does not parse, or never comes in it; nothing where it does."""
    sender, low, high, text = FRAMES.get(kind, (b"", 0, 0, 0))
    if d not in sender or not low <= len(payload) <= high:
        return f"frame {kind:#x} of {len(payload)} bytes"
    listens = kind == peer.LISTENING and payload[4] == 0
    try:
        payload[7 if listens else text :].decode()
    except UnicodeDecodeError:
        return "text that is not UTF-8"
    if kind in (peer.OPEN, peer.LISTEN):
        if not 1 <= payload[4] <= 3:
            return "neither tcp nor unix nor udp"
        if payload[4] == 2 and (len(payload[7:]) > PATH or any(payload[5:7])):
            return "a path that is too long, or a unix port"
    if listens and not 7 <= len(payload) <= 7 + HOST:
        return "LISTENING without an address"
    return "an ACK that is cut" if kind == peer.ACK and len(payload) % 12 != 8 else ""


class Stream:
    """What has been said of one stream, as seen from one side.

    `may` bytes of DATA may be sent by this side in all, and `sent` were; `granted` by the other side, and `taken` came.
    `got` is what came and was not ignored, `answer` the frame that answered, `last` the RESET that ended it.
    """

    def __init__(self, opener: bytes, named: bytes, may: int, granted: int):
        self.opener, self.named, self.may, self.granted = opener, named, may, granted
        self.sent = self.taken = 0
        self.over, self.ended, self.got = False, set(), bytearray()
        self.answer, self.last = (0, b""), (b"", b"")

    @property
    def state(self) -> str:
        if self.over:
            return "over"
        return "opening" if not self.answer[0] else "half" if self.ended else "open"

    def verdict(self, d: bytes, kind: int) -> str:
        """Why a frame in direction d may not come now; nothing where it may, or is ignored."""
        if self.over:
            return ""
        if kind in (OPENED, REFUSED):
            return "an answer that is not owed" if d == self.opener or self.answer[0] else ""
        if d != self.opener and not self.answer[0]:
            return f"frame {kind:#x} before the answer"
        return f"frame {kind:#x} behind END" if d in self.ended and kind != RESET else ""

    def passed(self, d: bytes, kind: int, rest: bytes, mine: bool) -> None:
        """A frame has been sent (`mine`) or has come; `rest` is what follows the number."""
        if kind == DATA and mine:
            self.sent += len(rest)
        if self.over or self.verdict(d, kind):
            return
        if kind == DATA and not mine:
            self.taken += len(rest)
            self.got += rest
        self.answer = (kind, rest) if kind in (OPENED, REFUSED) else self.answer
        self.last = (d, rest) if kind == RESET else self.last
        self.ended = self.ended | ({d} if kind == END else set())
        self.over = kind in (REFUSED, RESET) or len(self.ended) == 2


class Listener:
    """What has been said of one listener."""

    def __init__(self) -> None:
        self.reply, self.named, self.closed = -1, b"", set()

    @property
    def over(self) -> bool:
        return bool(self.closed) or self.reply > 0

    def verdict(self, kind: int) -> str:
        if kind == peer.ACCEPTED:
            return "ACCEPTED of no listener" if self.reply or S2C in self.closed else ""
        return "LISTENING that is not owed" if kind == peer.LISTENING and self.reply >= 0 and not self.over else ""

    def passed(self, d: bytes, kind: int, rest: bytes) -> None:
        if kind == peer.UNLISTEN:
            self.closed = self.closed | {d}
        elif self.reply < 0 and rest:  # it says what ACCEPTED means also when the client has given the listener up
            self.reply, self.named = rest[0], rest[1:]


class Streams:
    """`heard` is every frame that came, in order; `starved` are streams whose limits read() does not raise."""

    restates = b""  # limits that the first ACK on a new connection states

    def __init__(self, *args, **options):
        self.streams: dict[int, Stream] = {}
        self.listeners: dict[int, Listener] = {}
        self.next, self.heard, self.starved = {C2S: 1, S2C: 2}, [], set()
        super().__init__(*args, **options)

    @property
    def own_window(self) -> int:
        """What this side stated in the handshake."""
        return self.client_window if self.mine == C2S else self.server_window

    def alive(self) -> dict[int, Stream]:
        """The streams that are not over."""
        return {number: stream for number, stream in self.streams.items() if not stream.over}

    def _passed(self, d, kind, payload):
        super()._passed(d, kind, payload)
        if d == self.other:
            self.heard.append((kind, payload))
        number, rest = int.from_bytes(payload[:4]), payload[4:]
        if OPENINGS.get(kind) == d and number == self.next[d]:
            self.next = self.next | {d: number + 2}
            stated = self.server_window, self.client_window
            self.streams[number] = Stream(d, rest, *(stated if self.mine == C2S else stated[::-1]))
        elif kind == peer.LISTEN and number == len(self.listeners) + 1:
            self.listeners[number] = Listener()
        elif kind in OF_LISTENERS and number in self.listeners:
            self.listeners[number].passed(d, kind, rest)
        elif kind in OF_STREAMS and number in self.streams:
            self.streams[number].passed(d, kind, rest, d == self.mine)
        elif kind == ACK:
            self._limited(d, payload)

    def _limited(self, d, payload):
        """A limit lower than before changes nothing."""
        name = "granted" if d == self.mine else "may"
        for number, limit in limits(payload):
            if stream := self.streams.get(number):
                setattr(stream, name, max(getattr(stream, name), limit))

    def _move(self):
        raised = {n: s.granted for n, s in self.alive().items() if s.granted > self.own_window}
        self.restates = b"".join(struct.pack(">IQ", *each) for each in raised.items())
        super()._move()

    # What to say

    def ack(self, limits: bytes = b""):
        super().ack(self.restates + limits)
        self.restates = b""

    def grant(self, *numbers: int, w: int = 0) -> None:
        """An ACK that lets w bytes more be sent on these streams than have come, or as many as the window."""
        stated = [(n, self.streams[n].taken + (w or self.own_window)) for n in numbers]
        self.ack(b"".join(struct.pack(">IQ", *each) for each in stated))

    def tell(self, kind: int, number: int, rest: bytes = b"") -> int:
        """Any frame that begins with a number; between REFRESHED and SWITCH a client waits with it."""
        if self.mine == C2S and self.next_rk:
            self.read(lambda: not self.next_rk)
        self.send(kind, struct.pack(">I", number) + rest)
        return number

    def open(self, port: int = 7, host: str = "127.0.0.1", kind: int = 1) -> int:
        return self.tell(peer.OPEN, self.next[C2S], at(port, host, kind))

    def accepted(self, listener: int, port: int = 7, host: str = "127.0.0.1") -> int:
        return self.tell(peer.ACCEPTED, self.next[S2C], struct.pack(">IH", listener, port) + host.encode())

    def opened(self, number: int, port: int = 7, host: str = "127.0.0.1") -> None:
        self.tell(OPENED, number, at(port, host)[1:])

    def refused(self, number: int, reason: int, text: str = "") -> None:
        self.tell(REFUSED, number, bytes([reason]) + text.encode())

    def data(self, number: int, data: bytes) -> None:
        """In frames as large as can be."""
        for begin in range(0, len(data), BLOCK):
            self.tell(DATA, number, data[begin : begin + BLOCK])

    def end(self, *numbers: int) -> None:
        for number in numbers:
            self.tell(END, number)

    def reset(self, number: int, reason: int = 1, text: str = "") -> None:
        self.tell(RESET, number, bytes([reason]) + text.encode())

    def listen(self, port: int = 0, host: str = "127.0.0.1", kind: int = 1) -> int:
        return self.tell(peer.LISTEN, len(self.listeners) + 1, at(port, host, kind))

    # What to read

    def read(self, until) -> None:
        """Reads until the condition holds. Answers what is to be answered, acknowledges, and raises limits in time."""
        while not until():
            kind, payload = self.recv()
            self.answer(kind, payload)
            if kind in NUMBERED and not self.over:
                number = int.from_bytes(payload[:4])
                self.grant(*([number] if kind == DATA and self._is_low(number) else []))

    def _is_low(self, number: int) -> bool:
        """Half of its window is used; of datagrams, one came."""
        stream = self.streams[number]
        used_up = stream.named[:1] == b"\3" or 2 * (stream.granted - stream.taken) <= self.own_window
        return used_up and not stream.over and number not in self.starved

    def answered(self, *numbers: int) -> None:
        """Reads until these streams are answered."""
        self.read(lambda: all(self.streams[number].answer[0] for number in numbers))

    def gather(self, number: int, size: int) -> bytes:
        """Reads until so much has come on a stream, and takes it out of `got`."""
        got = self.streams[number].got
        self.read(lambda: len(got) >= size)
        data = bytes(got[:size])
        del got[:size]
        return data

    def closed(self, *numbers: int) -> None:
        """Reads until these streams are over."""
        self.read(lambda: all(self.streams[number].over for number in numbers))
