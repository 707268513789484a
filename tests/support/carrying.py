"""Carriers `http` of a client on loopback, to a server of tests/support/spoiling.py."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from links import Threads, receive, send
from spoiling import Carrier, Spoil, Spoiling

from nitrosocks_lib.client.http import Http
from nitrosocks_lib.client.updown import Way
from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.crypto.token import Tokens
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.connect import client_context, dial
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.pipe import PipeLink
from nitrosocks_lib.net.timers import now

BOUND = 60.0
FIRST = 2_000  # bytes that are enough for up 0


@dataclass
class World:
    """A server, the client's thread, and a way from one to the other; what 413 taught is in `mosts`."""

    server: Spoiling
    http: Http
    mosts: list[int] = field(default_factory=list)
    prefix: str = ""

    def __post_init__(self) -> None:
        self.way = Way(
            self.dial,
            Tokens(Secret(self.server.knock)),
            "web.example",
            self.prefix,
            lambda: self.mosts[-1] if self.mosts else limits.BODY,
            self.mosts.append,
        )

    def dial(self) -> Link:
        return dial(self.server.address, client_context(False), socket.AF_INET, BOUND)

    def open(self, hour: Callable[[], int] = lambda: int(time.time()) // 3600) -> PipeLink:
        return self.http.open(self.server.address, self.way, hour)

    def begin(self) -> tuple[PipeLink, Carrier]:
        """A carrier whose up 0 was answered, which carried FIRST bytes; `received` is empty again."""
        at, link = len(self.server.carriers), self.open()
        first = os.urandom(FIRST)
        send(link, first, 1)
        carrier = self.server.carrier(at)
        carrier.wait(lambda: len(carrier.received) == FIRST)
        assert bytes(carrier.received) == first
        carrier.received.clear()
        return link, carrier


@contextlib.contextmanager
def world(spoil: Spoil | None = None, prefix: str = "") -> Iterator[World]:
    """No fault of the client may be seen by its server until the end."""
    with Spoiling(spoil) as server:
        made = World(server, Http(), prefix=prefix)
        try:
            yield made
        finally:
            made.http.stop()
    assert server.faults == []


def exchange(link: Link, carrier: Carrier, size: int, seed: int = 1) -> None:
    """So many bytes up and as many down, at once, and nothing is lost or changed."""
    up, down = os.urandom(size), os.urandom(size)
    got: list[bytes] = []
    with Threads() as threads:
        threads.start(send, link, up, seed)
        threads.start(lambda: got.append(receive(link, size, seed + 1)))
        carrier.send(down)
        carrier.wait(lambda: len(carrier.received) >= size)
    assert bytes(carrier.received) == up
    assert got == [down]
    carrier.received.clear()


def end_of(link: Link) -> bytes:
    """What comes before the end of the carrier."""
    got = b""
    with pytest.raises(NetworkError):
        while True:
            got += link.read_exactly(1, now() + BOUND)
    return got
