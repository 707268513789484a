"""Dials that the test decides, and pairs of sockets for both ends of what they reach."""

from __future__ import annotations

import socket
import threading
from collections import deque

from links import BOUND

from nitrosocks_lib.net.wake import Waiter
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.dialling import NoDialling, Reached, Unreached


class Held(NoDialling):
    """Dials that wait until the test says what became of them."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._decided: deque[tuple[int, Reached | Unreached]] = deque()
        self._begun = threading.Condition()
        self.under_way: dict[int, Target] = {}
        self.stopped: list[int] = []

    def __len__(self) -> int:
        return len(self.under_way)

    def begin(self, number: int, target: Target) -> None:
        with self._begun:
            self.under_way[number] = target
            self._begun.notify_all()

    def stop(self, number: int) -> None:
        if self.under_way.pop(number, None):
            self.stopped.append(number)

    def take(self) -> list[tuple[int, Reached | Unreached]]:
        taken = []
        while self._decided:
            taken.append(self._decided.popleft())
            self.under_way.pop(taken[-1][0], None)
        return taken

    def decide(self, number: int, result: Reached | Unreached) -> None:
        """The test: this became of it, once it has begun."""
        with self._begun:
            assert self._begun.wait_for(lambda: number in self.under_way or number in self.stopped, BOUND)
        self._decided.append((number, result))
        self._waiter.set()


def pair(tcp: bool = True, buffer: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets; `buffer` bytes are asked for as the kernel's, on both ends."""
    if not tcp:
        ends = socket.socketpair()
        for end in ends:
            _shrink(end, buffer)
        return ends
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _shrink(listener, buffer)  # what is accepted inherits it
        near = socket.socket()
        _shrink(near, buffer)
        near.connect(listener.getsockname())
        return near, listener.accept()[0]


def _shrink(sock: socket.socket, buffer: int) -> None:
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
