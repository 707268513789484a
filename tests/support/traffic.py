"""Many streams at once, driven by one thread for each side: what goes in and what comes out, as digests."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import random
import resource
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from loopback import reset

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
NUMBER = struct.Struct(">I")
BLOCK = 1 << 16  # bytes that are made, and read, at once


def all_descriptors() -> None:
    """A process with hundreds of streams needs more descriptors than it may have by default."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class End:
    """One end of a stream: sends `blocks`, then ends its direction. `ended`: the other one has done so, too.

    `broken`: its socket has failed, or `blocks` raised an OSError, which resets it.
    """

    def __init__(self, sock: socket.socket, blocks: Iterator[bytes]) -> None:
        sock.setblocking(False)
        self.sock, self._blocks, self._left = sock, blocks, memoryview(b"")
        self.sent, self.got = hashlib.sha256(), hashlib.sha256()
        self.bytes_sent = self.bytes_got = 0
        self.head = b""  # the first bytes that came: a number by which the other end is found
        self.sending, self.ended, self.broken = True, False, False

    @property
    def over(self) -> bool:
        return self.ended and not self.sending

    def mask(self) -> int:
        """What it waits for."""
        return (0 if self.ended else READ) | (WRITE if self.sending else 0)

    def write(self) -> None:
        """Some of what is to be sent."""
        if not self._left:
            block = next(self._blocks, b"")
            self.sent.update(block)
            self.bytes_sent += len(block)
            self._left = memoryview(block)
        if not self._left:
            self.sending = False
            self.sock.shutdown(socket.SHUT_WR)
            return
        with contextlib.suppress(BlockingIOError):
            self._left = self._left[self.sock.send(self._left) :]

    def read(self) -> None:
        """Some of what has come."""
        part = self.sock.recv(BLOCK)
        self.got.update(part)
        self.bytes_got += len(part)
        self.head = (self.head + part[: NUMBER.size])[: NUMBER.size]
        self.ended = not part


class Side:
    """The ends of one side, in a thread, which closes the socket of each that is over or broken.

    With a rate they send and receive so many bytes a second, all together.
    """

    def __init__(self, rate: float | None = None) -> None:
        self.ends: list[End] = []
        self._rate = rate
        self._selector = selectors.DefaultSelector()
        self._new: queue.SimpleQueue[End | None] = queue.SimpleQueue()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._wake, READ)
        self.changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()

    def add(self, end: End) -> None:
        """Any thread: from now on it is driven."""
        self._new.put(end)
        self._waker.send(b"x")

    @property
    def open(self) -> int:
        """How many ends are neither over nor broken."""
        return self._new.qsize() + len(self._selector.get_map()) - 1

    def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Until the condition, which looks at the ends, is true, or so long."""
        with self.changed:
            return bool(self.changed.wait_for(condition, seconds))

    def close(self) -> None:
        """Ends the thread, and closes all sockets."""
        self._stopped.set()
        self._waker.send(b"x")
        self._thread.join()
        self._selector.close()
        for sock in (self._wake, self._waker, *(end.sock for end in self.ends)):
            sock.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for key, mask in self._selector.select():
                if key.data is None:
                    self._take()
                else:
                    self._drive(key.data, mask)

    def _take(self) -> None:
        self._wake.recv(4096)
        with self.changed, contextlib.suppress(queue.Empty):
            self.changed.notify_all()
            while True:
                end = self._new.get_nowait()
                self.ends.append(end)
                self._selector.register(end.sock, READ | WRITE, end)

    def _drive(self, end: End, mask: int) -> None:
        before, moved = end.mask(), end.bytes_sent + end.bytes_got
        try:
            if mask & READ:
                end.read()
            if mask & WRITE and end.sending:
                end.write()
            after = end.mask()
        except BlockingIOError:
            return
        except OSError:
            after, end.broken = 0, True
        if after != before:
            with self.changed:
                self._watch(end, after)
                self.changed.notify_all()
        if self._rate:
            self._stopped.wait((end.bytes_sent + end.bytes_got - moved) / self._rate)

    def _watch(self, end: End, mask: int) -> None:
        if mask:
            self._selector.modify(end.sock, mask, end)
        else:
            self._selector.unregister(end.sock)
            reset(end.sock) if end.broken else end.sock.close()


class Target:
    """Listens on loopback; each connection becomes an End of `side`, which sends what `blocks` makes for it."""

    def __init__(self, side: Side, blocks: Callable[[int], Iterator[bytes]]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._listener.getsockname()[1]
        self._side, self._blocks = side, blocks
        self._thread = threading.Thread(target=self._accept, name="target", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while True:
                self._side.add(End(self._listener.accept()[0], self._blocks(count)))
                count += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


def dialling(port: int) -> socket.socket:
    """A connection on loopback that is under way: whoever waits for it may see it reset before he has it."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    return sock


def blocks(seed: int, size: int) -> Iterator[bytes]:
    """`size` bytes that depend on the seed and on where they stand."""
    source = random.Random(seed)
    for at in range(0, size, BLOCK):
        yield source.randbytes(min(BLOCK, size - at))


def broken_off(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks, and a reset behind them."""
    yield from blocks
    raise ConnectionAbortedError


def numbered(number: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks behind a number, by which the far end says whose it is."""
    yield NUMBER.pack(number)
    yield from blocks


def unequal(near: list[End], far: list[End]) -> list[int]:
    """The numbers of the streams of which an end has not all that the other sent, and nothing else."""
    others = {end.head: end for end in far}

    def whole(number: int, end: End) -> bool:
        other = others.get(NUMBER.pack(number))
        if other is None or not (end.over and other.over):
            return False
        return end.sent.digest() == other.got.digest() and other.sent.digest() == end.got.digest()

    return [number for number, end in enumerate(near) if not whole(number, end)]


def stuff(sock: socket.socket) -> None:
    """Sends as much as the kernel takes."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while sock.send(bytes(65_536)):
            pass
