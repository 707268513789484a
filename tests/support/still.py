"""The reading part of one side without a thread: the test takes its turns."""

from __future__ import annotations

import socket

from held import pair
from roles import Roles

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.reading import Reading
from nitrosocks_lib.session.state import State
from nitrosocks_lib.session.streams import Stream
from nitrosocks_lib.session.tunnel import Tunnel

MOST = limits.DATA_SIZE


class StillReading:
    """The reading part of one side; `near` are the applications' ends, by number of their streams."""

    def __init__(self, serving: bool) -> None:
        self._roles = Roles()
        self.tunnel: Tunnel = self._roles.server if serving else self._roles.client
        self.state: State = self.tunnel.state
        self.reading: Reading = self.tunnel.outbound._reading
        self.resend = self.tunnel.outbound.resend
        self.near: dict[int, socket.socket] = {}
        self._looked = 0

    def open(self, tcp: bool = False) -> Stream:
        near, far = pair(tcp)
        far.setblocking(False)
        stream = Stream(Target(Kind.TCP, "host", 7), far)
        self.reading.open(stream)
        self.near[stream.number] = near
        return stream

    def opened(self, *sizes: int) -> list[Stream]:
        """Streams that have so many bytes to say; OPEN is out of the way."""
        streams = [self.open() for _ in sizes]
        for stream, size in zip(streams, sizes, strict=True):
            self.near[stream.number].sendall(bytes(size))
        self.queued()
        return streams

    def turn(self, most: int = MOST) -> None:
        """Reads all that can be read now."""
        self.reading.look(0)
        self.reading.begin_turn()
        while self.reading.read_next(most):
            pass

    def queued(self) -> list[bytes]:
        """The numbered frames that were queued since the last call."""
        frames_ = [bytes(plain) for plain, _ in self.resend._kept][self._looked :]
        self._looked += len(frames_)
        return frames_

    def said(self) -> list[tuple[int, int]]:
        """The same, as numbers of streams and sizes of DATA."""
        return [(int.from_bytes(plain[1:5]), len(plain) - 5) for plain in self.queued()]

    def close(self) -> None:
        for near in self.near.values():
            near.close()
        self._roles.close()
