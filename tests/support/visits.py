"""Peers that visit the product: a `serve` that runs as a process. What `forward` and `connect` visit is in hosts.py."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import peer
import peer_judge
import pytest
from loopback import dial, reset, unused_port
from peer_judge import PeerError
from peer_streams import BLOCK, at
from program import Site

BOUND = 20.0  # seconds until a wait is given up; no test comes near
WINDOW = 65_536
CLOSED = "connection ended|EOF occurred|Connection reset|Broken pipe"  # what a PeerError says then


def synced(side: peer_judge.Judge) -> list[tuple[int, bytes]]:
    """PING, and the frames before its PONG: what was sent before it has been read by then."""
    payload, before = os.urandom(8), len(side.heard)
    side.send(peer.PING, payload)
    side.read(lambda: side.heard[-1:] == [(peer.PONG, peer.H(payload))])
    return side.heard[before:-1]


def until(side: peer_judge.Judge, kind: int) -> bytes:
    """Reads to a frame of this type, and no further: its payload."""
    seen = len(side.heard)
    side.read(lambda: side.heard[seen:] and side.heard[-1][0] == kind)
    return side.heard[-1][1]


def until_acked(side: peer_judge.Judge) -> None:
    """Reads until all that was sent is acknowledged."""
    side.read(lambda: not side.kept)


def fill(side: peer_judge.Judge, number: int) -> int:
    """Sends until the limit is reached and not raised any more, since nobody takes it: how much that was."""
    stream, patience = side.streams[number], 5
    while patience:
        patience -= stream.sent == stream.may
        if stream.sent < stream.may:
            side.data(number, bytes(min(BLOCK, stream.may - stream.sent)))
        synced(side)
    return stream.sent


def pour(side: peer_judge.Judge, number: int, data: bytes) -> int:
    """Sends as fast as the limit lets it, and returns the most that the limit was ahead of what was sent."""
    stream, widest, at = side.streams[number], 0, 0
    while at < len(data):
        side.read(lambda: stream.may > stream.sent)
        widest = max(widest, ahead := stream.may - stream.sent)
        side.data(number, data[at : at + ahead])
        at += ahead
    return max(widest, stream.may - stream.sent)


def fails(call: Callable[[], object], text: str) -> None:
    """The peer finds this wrong."""
    with pytest.raises(PeerError, match=text):
        call()


def gone(side: peer_judge.Judge) -> None:
    """The connection ends, and without ABORT."""
    fails(lambda: side.read(lambda: False), CLOSED)
    assert not side.over


def aborted(side: peer_judge.Judge) -> int:
    """Reads to ABORT: its reason. Then the connection ends."""
    while (frame := side.recv())[0] != peer.ABORT:
        pass
    fails(side.recv, CLOSED)
    return frame[1][0]


def exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = sock.recv(min(size - len(data), 1 << 16))
        assert part, f"{len(data)} of {size} bytes"
        data += part
    return bytes(data)


def rest(sock: socket.socket) -> bytes:
    """Everything up to the end."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def was_reset(sock: socket.socket) -> bool:
    """Reads to the end: whether that is a RST."""
    try:
        return rest(sock) is None
    except ConnectionResetError:
        return True


def prompt(sock: socket.socket) -> socket.socket:
    """Small frames leave at once, and no read waits for ever."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(BOUND)
    return sock


# Targets


class Tap:
    """A target whose connections the test serves itself; those that it does not take wait in the kernel."""

    def __init__(self, stack: contextlib.ExitStack, backlog: int = 2048) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # so that a stream is soon held up
        self._listener.settimeout(BOUND)
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> socket.socket:
        return prompt(self._stack.enter_context(self._listener.accept()[0]))


class Held(Tap):
    """A target that does not answer a dial before it is let go: its queue is full."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        super().__init__(stack, backlog=0)
        self._first = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), BOUND))

    def let_go(self) -> None:
        """Whoever dials comes through with his next attempt: within a second or two."""
        self._listener.accept()[0].close()


# Peers that visit `serve`


class Served:
    """A server, and a client that may reach all of loopback, whose keys the peers use."""

    def __init__(self, site: Site, *words: object, permit: str = "127.0.0.1:*") -> None:
        self.site, self.process = site, site.serve("--window", WINDOW, *words)
        self.profile = tomllib.loads(site.profile("peer", self.process.port, permit).read_text())

    def revoke(self) -> None:
        (self.site.home / "clients.d" / "peer.toml").unlink()


class Visit(contextlib.ExitStack):
    """What one test needs of a server: visitors and targets, which are closed at its end."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self.served = served

    def socket(self) -> ssl.SSLSocket:
        sock = self.enter_context(dial(self.served.process.port))
        prompt(sock)
        return sock

    def stranger(self, **options: Any) -> Visitor:
        """A peer that has not greeted yet."""
        return Visitor(self, **options)

    def visitor(self, **options: Any) -> Visitor:
        """A peer with a session."""
        made = Visitor(self, **options)
        made.greet()
        return made

    def tap(self) -> Tap:
        return Tap(self)

    def held(self) -> Held:
        return Held(self)


class Visitor(peer_judge.Client):
    """A peer that the server knows. `again` resumes on a new connection."""

    def __init__(self, visit: Visit, **options: Any) -> None:
        self.visit, table = visit, visit.served.profile
        public, seed = (base64.b64decode(table[name]) for name in ("server_public", "secret"))
        token = base64.b32decode(table["token"] + "====")
        super().__init__(visit.socket(), public, seed, token, **{"client_window": WINDOW} | options)

    def again(self) -> None:
        self.resume(self.visit.socket())

    def cut(self) -> None:
        """The connection is gone, and what is under way."""
        reset(self.sock)

    def opens(self, tap: Tap) -> tuple[int, socket.socket]:
        """A stream to the target: its number, and the target's socket."""
        number = self.open(tap.port)
        self.answered(number)
        assert self.streams[number].answer == (peer.OPENED, at(tap.port)[1:])
        return number, tap.accept()

    def ends(self, number: int, target: socket.socket) -> None:
        """END both ways: the stream is over."""
        self.end(number)
        assert rest(target) == b""
        target.close()
        self.closed(number)
        until_acked(self)
        assert self.streams[number].last == (b"", b"")


def violates(visitor: Visitor, frames: list[tuple[int, bytes]], reason: int = 1) -> None:
    """These frames are answered by ABORT, and the session is over for good."""
    with contextlib.suppress(PeerError):  # the connection may have ended before the last
        for frame in frames:
            visitor.send(*frame)
    assert aborted(visitor) == reason
    visitor.over = visitor.leaving = False
    fails(visitor.again, "refused: 2")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests of a module."""
    with Site(tmp_path_factory.mktemp("served")) as site:
        made = Served(site)
        yield made
        made.process.popen.kill()  # it would wait for the streams of those who are gone


@pytest.fixture
def visit(served: Served) -> Iterator[Visit]:
    with Visit(served) as made:
        yield made


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    return visit.visitor()


@pytest.fixture
def tap(visit: Visit) -> Tap:
    return visit.tap()


Serve = Callable[..., Visit]


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Makes a server of the test's own, with these options."""
    with Site(tmp_path_factory.mktemp("own")) as site:

        def made(*words: object) -> Visit:
            visit = site.enter_context(Visit(Served(site, *words)))
            site.callback(visit.served.process.popen.kill)
            return visit

        yield made


@pytest.fixture
def nowhere() -> int:
    """A port where nobody listens."""
    return unused_port()
