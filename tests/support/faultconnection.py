"""One connection of faultproxy.py: how bytes, ends and faults pass. All of it belongs to the proxy's thread."""

import contextlib
import functools
import selectors
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

BUFFER = 256 * 1024  # bytes waiting in one direction, at most: nothing is read while something waits
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@dataclass(frozen=True)
class Cut:
    """Ends the connection when exactly `after` bytes of a direction have passed, those that a Hold dropped included;
    0: as soon as the upstream is reached. With a FIN they arrive; with a RST the last may be lost on the way."""

    after: int
    direction: str = "up"
    rst: bool = True


@dataclass(frozen=True)
class Hold:
    """Drops what comes down after the first `after` bytes."""

    after: int


@dataclass
class Recorded:
    """The first bytes that came, swallowed ones too."""

    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)


class Way:
    """One direction; buffer[start:end] waits."""

    def __init__(self, name: str, source: socket.socket, sink: socket.socket, record: bytearray, keep: int) -> None:
        self.name, self.source, self.sink, self.record, self.keep = name, source, sink, record, keep
        self.buffer, self.start, self.end = memoryview(bytearray(BUFFER)), 0, 0
        self.passed = 0  # bytes handed on, or dropped by a Hold
        self.cuts: list[tuple[int, bool]] = []  # at how many bytes passed, and whether with a RST
        self.holds: list[int] = []  # after how many bytes passed
        self.gap = False  # a Hold dropped some: no later byte may be handed on
        self.ended = self.closed = False  # its FIN has come; has been handed on
        self.mask = 0  # what the source is polled for

    @property
    def waiting(self) -> int:
        return self.end - self.start

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            size = self.source.recv_into(self.buffer)
            self.start, self.end, self.ended = 0, size, size == 0
            self.record += self.buffer[: min(size, self.keep - len(self.record))]

    def write(self, most: int, holds: list[int]) -> int:
        """Hands on at most `most` bytes, or drops what is held; then the FIN. How many bytes were handed on."""
        sent, holds = 0, holds + self.holds
        if self.gap or (self.waiting and any(self.passed >= hold for hold in holds)):
            self.gap = True
            self.passed, self.start = self.passed + self.waiting, self.end
        elif self.waiting:
            most = min(most, self.waiting, *(limit - self.passed for limit in (*holds, *(at for at, _ in self.cuts))))
            with contextlib.suppress(BlockingIOError):
                sent = self.sink.send(self.buffer[self.start : self.start + most])
                self.passed, self.start = self.passed + sent, self.start + sent
        if self.ended and not self.waiting and not self.closed:
            self.sink.shutdown(socket.SHUT_WR)
            self.closed = True
        return sent

    def due(self) -> list[bool]:
        """The cuts whose time has come: whether with a RST."""
        return [rst for at, rst in self.cuts if self.passed >= at]


class Connection:
    """The two sockets, and what is wrong with them. `proxy` is the FaultProxy that it belongs to."""

    def __init__(self, proxy: Any, client: socket.socket, recorded: Recorded) -> None:
        self.proxy, self.client, self.upstream = proxy, client, socket.socket()
        self.up = Way("up", client, self.upstream, recorded.up, proxy.keep)
        self.down = Way("down", self.upstream, client, recorded.down, proxy.keep)
        self.ways = ((self.up, self.down), (self.down, self.up))
        self.connecting = True
        self.swallows = False  # blackholed once, so it is dead
        self.live = True
        self.closed = False  # neither live nor closed: cut with a FIN, and read to its ends, so that no RST follows
        for sock in (client, self.upstream):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def dropping(self) -> bool:
        return self.swallows or not self.live

    def cut_if_due(self) -> None:
        for rst in (*self.up.due(), *self.down.due())[:1]:
            self.cut(rst)

    def cut(self, rst: bool) -> bool:
        """Ends both sides; a RST at once. What waits is lost. Whether there was anything to end."""
        before, self.live = self.live, False
        if rst and not self.closed:
            for sock in (self.client, self.upstream):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()
        elif before:
            for way, _ in self.ways:
                with contextlib.suppress(OSError):  # where it never was connected, or is dead
                    way.sink.shutdown(socket.SHUT_WR)
            self.watch()
        return before

    def close(self) -> None:
        self.live, self.closed = False, True
        for way, _ in self.ways:
            self.poll(way, 0)
            way.source.close()
        self.proxy.forget(self)

    def watch(self) -> None:
        """Polls for what can be done now."""
        for way, back in self.ways:
            if self.closed:
                return
            if self.dropping:
                way.start = way.end
                self.poll(way, 0 if way.ended else READ)
            elif self.proxy.stalled:
                self.poll(way, 0)
            elif self.connecting and way is self.down:
                self.poll(way, WRITE)
            else:
                self.poll(way, (0 if way.ended or way.waiting else READ) | (WRITE if back.waiting else 0))
        if (not self.live and self.up.ended and self.down.ended) or (self.up.closed and self.down.closed):
            self.close()

    def poll(self, way: Way, mask: int) -> None:
        """Polls the socket where `way` begins; not at all rather than for nothing, for errors would come."""
        before, way.mask, selector = way.mask, mask, self.proxy.selector
        if before and not mask:
            selector.unregister(way.source)
        elif before != mask:
            change = selector.modify if before else selector.register
            change(way.source, mask, functools.partial(self.serve, way))

    def serve(self, source: Way, events: int) -> None:
        """Does what can be done, now that the socket where `source` begins is ready."""
        if not source.mask:
            return  # something earlier in this turn has made an end of it
        try:
            if self.connecting and source is self.down and not self.dropping:
                source.source.getpeername()  # raises where it could not connect
                self.connecting = False
            elif events & READ and not source.ended and not source.waiting:
                source.read()
            for way, _ in self.ways:
                if not self.connecting and not self.dropping:
                    sent = way.write(self.proxy.slice, self.proxy.holds if way is self.down else [])
                    self.proxy.count(way.name, sent)
                    self.cut_if_due()
        except OSError:
            source.ended = True
            if not self.dropping:
                self.cut(rst=True)
        self.watch()
