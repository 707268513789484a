"""A peer's frames over a link: sealed and written, read and opened, numbered ones counted."""

from __future__ import annotations

import contextlib

from links import BOUND
from plains import PING

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.seal import Opener, Sealer
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.wire import Frame
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Limit


class Talk(contextlib.ExitStack):
    """`said` and `got` are the peer's numbered frames and those that it read, in order.

    `acked` and `limits` are what the ACKs that it read said. Nothing is acknowledged unless the test does it.
    """

    link: Link
    sealer: Sealer
    opener: Opener

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []
        self.got: list[bytes] = []
        self.acked = 0
        self.limits: dict[int, int] = {}

    def seal(self, *plains: bytes) -> bytes:
        out = bytearray()
        for plain in plains:
            sealed = bytearray(len(plain) + wire.FRAME_OVERHEAD)
            self.sealer.seal(plain, memoryview(sealed))
            out += sealed
        return bytes(out)

    def send(self, *plains: bytes) -> None:
        """In one write."""
        self.said += [plain for plain in plains if plain[0] in wire.NUMBERED]
        self.link.write_all(self.seal(*plains), now() + BOUND)

    def ack(self, *rows: Limit) -> None:
        """Acknowledges all that was read."""
        self.send(frames.ack(len(self.got), rows))

    def read(self) -> bytes:
        """The next frame."""
        head = self.link.read_exactly(wire.LENGTH, now() + BOUND)
        frame = head + self.link.read_exactly(self.opener.frame_size(head) - wire.LENGTH, now() + BOUND)
        plain = bytearray(len(frame))
        read = bytes(plain[: self.opener.open(memoryview(frame), memoryview(plain))])
        if read[0] in wire.NUMBERED:
            self.got.append(read)
        elif read[0] == Frame.ACK:
            self.acked, rows = frames.parse_ack(read[1:])
            self.limits |= dict(rows)
        return read

    def next(self) -> bytes:
        """The next frame that is no ACK."""
        while (plain := self.read())[0] == Frame.ACK:
            pass
        return plain

    def until(self, kind: Frame) -> bytes:
        """The payload of the next frame that is no ACK, which must be of this kind."""
        plain = self.next()
        assert plain[0] == kind, f"{Frame(plain[0]).name} instead of {kind.name}: {plain[:80]!r}"
        return plain[1:]

    def pass_to(self, kind: Frame) -> bytes:
        """The payload of the next frame of this kind, whatever comes before it."""
        while (plain := self.read())[0] != kind:
            pass
        return plain[1:]

    def until_acked(self) -> None:
        """Reads until all that was said is acknowledged."""
        while self.acked < len(self.said):
            self.read()

    def seen(self) -> list[bytes]:
        """All that comes before the answers to two PINGs, ACKs left out: what was sent before has had its effect.

        PONG leaves first, and what was queued with it right behind it.
        """
        seen = []
        for r3 in (b"1" * 8, b"2" * 8):
            self.send(PING(r3))
            while (plain := self.next()) != bytes([Frame.PONG]) + schedule.hash256(r3):
                seen.append(plain)
        return seen

    def gather(self, number: int, size: int) -> bytes:
        """DATA of this stream, until that much is there; nothing else but ACK may come."""
        parts, have = [], 0
        while have < size:
            payload = self.until(Frame.DATA)
            assert wire.STREAM.unpack_from(payload) == (number,)
            parts.append(payload[wire.STREAM.size :])
            have += len(parts[-1])
        assert have == size
        return b"".join(parts)
