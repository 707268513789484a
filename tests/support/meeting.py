"""Where the product meets peer.py, over TLS on loopback: peers that visit a World, pools that visit a peer."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import peer
import peer_judge
import pytest
from loopback import dial, pem
from peer_judge import PeerError
from world import SERVER_KEY, Opened, World, read_all

from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.crypto.identity import ClientKey
from nitrosocks_lib.net.connect import Route, server_context
from nitrosocks_lib.protocol.greet import Credentials

BOUND = 20.0  # seconds until a wait is given up; no test comes near
SEED = bytes(range(32))  # of SERVER_KEY
PINGED = b"12345678"
RST = struct.pack("ii", 1, 0)
CLOSED = "connection ended|EOF occurred|Connection reset"  # what a PeerError says then


# What a peer says and hears


def at(port: int = 7, host: str = "127.0.0.1", kind: int = 1) -> bytes:
    """The payload of OPEN and LISTEN; without its first byte that of OPENED."""
    return struct.pack(">BH", kind, port) + host.encode()


def until(side: peer.Peer, kind: int) -> bytes:
    """The payload of the next frame but ACK, which is of this type."""
    while (frame := side.recv())[0] == peer.ACK and kind != peer.ACK:
        pass
    assert frame[0] == kind, frame
    return frame[1]


def until_acked(side: peer.Peer) -> None:
    """Reads until all that was sent is acknowledged; nothing else may come."""
    while side.kept:
        until(side, peer.ACK)


def told(side: peer.Peer, kind: int) -> bytes:
    """As `until`, for a numbered frame: it is acknowledged."""
    payload = until(side, kind)
    side.ack()
    return payload


def gathered(side: peer.Peer, size: int) -> bytes:
    """That much DATA, acknowledged as it comes."""
    data = b""
    while len(data) < size:
        data += told(side, peer.DATA)
    assert len(data) == size
    return data


def answered(side: peer.Peer) -> list[int]:
    """PING, and the types of the frames up to its PONG: what was sent before it has been read by then."""
    side.send(peer.PING, PINGED)
    seen = []
    while (frame := side.recv())[0] != peer.PONG:
        seen.append(frame[0])
    return seen


def fails(call: Callable[[], object], text: str) -> None:
    """The peer finds this wrong."""
    with pytest.raises(PeerError, match=text):
        call()


def gone(side: peer.Peer) -> None:
    """The connection ends, and without another frame but ACK."""
    with pytest.raises(PeerError, match=CLOSED):
        while True:
            assert side.recv()[0] == peer.ACK


def aborted(side: peer.Peer) -> int:
    """Reads to ABORT: its reason. Then the connection ends."""
    while (frame := side.recv())[0] != peer.ABORT:
        pass
    fails(side.recv, "the connection ended")
    return frame[1][0]


def reset(sock: socket.socket) -> None:
    """Closes with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    sock.close()


def prompt(sock: socket.socket) -> socket.socket:
    """Small frames leave at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"{len(data)} of {size} bytes"
        data += part
    return data


# Peers that visit a World


class Tap:
    """A target whose connections the test serves itself."""

    def __init__(self, world: contextlib.ExitStack) -> None:
        self._world = world
        self._listener = world.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # so that a stream is soon held up
        self._listener.settimeout(BOUND)
        self.port: int = self._listener.getsockname()[1]
        self.open = at(self.port)

    def accept(self) -> socket.socket:
        sock = self._world.enter_context(self._listener.accept()[0])
        sock.settimeout(BOUND)
        return sock


class Visitor(peer_judge.Client):
    """A peer with keys of its own, that the World's server knows. `again` resumes on a new connection."""

    def __init__(self, world: World, **options: Any) -> None:
        seed, token = os.urandom(32), os.urandom(32)
        self.world, self.key = world, world.directory.add(seed, token)
        super().__init__(self.connection(), SERVER_KEY.public, seed, token, **options)

    def connection(self) -> socket.socket:
        return prompt(self.world.enter_context(dial(self.world.port)))

    def again(self) -> None:
        self.resume(self.connection())

    def opens(self, tap: Tap) -> socket.socket:
        """A stream to the target, whose socket it returns."""
        self.send(peer.OPEN, tap.open)
        assert told(self, peer.OPENED) == tap.open[1:]
        return tap.accept()

    @property
    def hosted(self) -> Any:
        """What the server has of this session."""
        return self.world.registry.find(self.session_id)


def visiting(world: World, **options: Any) -> Visitor:
    """A Visitor with a session."""
    visitor = Visitor(world, **options)
    visitor.greet()
    return visitor


def ended(visitor: peer.Client, target: socket.socket) -> None:
    """END both ways: the stream is over."""
    visitor.send(peer.END)
    assert read_all(target) == b""
    target.close()
    assert told(visitor, peer.END) == b""
    until_acked(visitor)


# Pools that visit a peer


class Host(contextlib.ExitStack):
    """A place where peers serve the streams of `pool`, one call of `accept` for each connection."""

    def __init__(self, receives: int = 1 << 20, **options: Any) -> None:
        """`receives` is the window of the pool; `options` are those of peer_judge.Server."""
        super().__init__()
        seed, token = os.urandom(32), os.urandom(32)
        public = peer.client_keys(seed)[1]
        self.clients, self.sessions, self.options = {peer.H(b"ns1 client", public)[:16]: (public, token)}, {}, options
        self._context = server_context(*pem("server"))
        self._listener = self.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listener.settimeout(BOUND)
        server = self._listener.getsockname()[:2]
        credentials = Credentials(SERVER_KEY.public, ClientKey(seed), token)
        self.pool = Pool(Dialler(credentials, (server,), Route(), receives))

    def __exit__(self, *details: Any) -> bool | None:
        self.pool.close(0.0)  # first, so that it does not reconnect to what is closed next
        return super().__exit__(*details)

    def arrival(self) -> peer_judge.Server:
        """The next connection; nothing is said on it yet."""
        raw = self._listener.accept()[0]
        raw.settimeout(BOUND)
        sock = self._context.wrap_socket(prompt(raw), server_side=True, suppress_ragged_eofs=False)
        return peer_judge.Server(self.enter_context(sock), SEED, self.clients, sessions=self.sessions, **self.options)

    def accept(self) -> peer_judge.Server:
        """The next connection, with its handshake done."""
        server = self.arrival()
        server.accept()
        return server

    def tunnel(self, server: peer.Server) -> Any:
        """What the pool has of this session."""
        (found,) = [s.tunnel for s in self.pool._alive if s.tunnel.terms.session_id == server.session_id]
        return found

    def wish(self, port: int = 7) -> Opened:
        """A local application wants a stream."""
        opened = Opened(self.pool, port)
        self.callback(opened.near.close)
        return opened

    def opened(self) -> tuple[peer_judge.Server, Opened]:
        """A session with a stream."""
        wish = self.wish()
        server = self.accept()
        assert told(server, peer.OPEN) == at()
        server.send(peer.OPENED, at()[1:])
        until_acked(server)
        return server, wish


def closed(server: peer.Server, near: socket.socket) -> None:
    """END both ways: the stream is over."""
    near.shutdown(socket.SHUT_WR)
    assert told(server, peer.END) == b""
    server.send(peer.END)
    until_acked(server)
    assert read_all(near) == b""


class Blocked:
    """Makes a function of the product wait, to catch what happens meanwhile; `entered` hears of each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
        self.entered: queue.Queue[tuple] = queue.Queue()
        self.go = threading.Event()
        real = getattr(where, name)

        def held(*args: Any) -> Any:
            self.entered.put(args)
            assert self.go.wait(BOUND)
            return real(*args)

        monkeypatch.setattr(where, name, held)
