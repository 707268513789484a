"""Targets that take datagrams, and those who send them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

BOUND = 30.0


class Echo(ExitStack):
    """Sends each datagram back, in capitals; `port` of 127.0.0.1. `senders` are those that it has seen."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__()
        self.sock = self.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((host, 0))
        self.port = int(self.sock.getsockname()[1])
        self.senders: set[tuple[str, int]] = set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.callback(self._end)

    def _run(self) -> None:
        while True:
            datagram, sender = self.sock.recvfrom(1 << 16)
            if not datagram:
                return
            self.senders.add(sender)
            self.sock.sendto(datagram.upper(), sender)

    def _end(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.sock.getsockname())
        self._thread.join(BOUND)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as made:
        yield made


@pytest.fixture
def target() -> Iterator[socket.socket]:
    """Whom datagrams may be sent to; the test is it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(BOUND)
        yield sock


def sender(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Who sends to this port, and takes answers from there alone."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(BOUND)
    sock.connect((host, port))
    return sock


def ask(sock: socket.socket, datagram: bytes) -> bytes:
    """Its answer."""
    sock.send(datagram)
    return sock.recv(1 << 16)
