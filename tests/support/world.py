"""A real server and real clients of the library in one process, on loopback, with targets to talk to."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faultproxy import FaultProxy

from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.crypto import certificate
from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, ServerKey
from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.connect import Route
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.protocol.listening import ListenRules
from nitrosocks_lib.protocol.permit import Client, Rules
from nitrosocks_lib.protocol.welcome import Authorised
from nitrosocks_lib.server.certificates import Certificates
from nitrosocks_lib.server.connection import Settings
from nitrosocks_lib.server.entry import Entry
from nitrosocks_lib.server.registry import Registry
from nitrosocks_lib.server.server import Server
from nitrosocks_lib.session.streams import Ending, Stream

BOUND = 60.0  # seconds until a wait is given up
_SERVERS = {"accept", "connection", "outbound", "revoked", "decoy", "expiry"}  # threads that it starts
SERVER_KEY = ServerKey(bytes(range(32)))


class Directory:
    """Authorised clients in memory: what `Clients` is on disk. `faulty` are those whose files cannot be read now."""

    def __init__(self) -> None:
        self.known: dict[bytes, Client] = {}
        self.faulty: dict[bytes, Client] = {}

    def lookup(self, client_id: bytes) -> Client | None:
        return self.known.get(client_id)

    def standing(self, client_id: bytes) -> Client | None:
        return (self.faulty | self.known).get(client_id)

    def near(self, client_id: bytes) -> tuple[str, str]:
        return ("alice.toml", "") if client_id in self.known else ("", "no client has this key")

    def over(self, client_id: bytes) -> str:
        return ""

    def look(self) -> None:
        """There are no files."""

    def add(
        self, seed: bytes, token: bytes, permit: tuple[str, ...] = ("127.0.0.1:*",), listen: tuple[str, ...] = ()
    ) -> ClientKey:
        key = ClientKey(seed)
        authorised = Authorised("alice", ClientPublic(key.public), token)
        self.known[key.client_id] = Client("alice", authorised, Rules.parse(permit), ListenRules.parse(listen))
        return key


def _certificate() -> tuple[Path, Path]:
    place = Path(tempfile.mkdtemp(prefix="ns-world-"))
    for name, pem in zip(("crt", "key"), certificate.make(datetime.now(UTC)), strict=True):
        (place / name).write_bytes(pem)
    return place / "crt", place / "key"


def _wait_for_threads(others: list[threading.Thread]) -> None:
    """Behind the server's end, so that none of its threads logs while another test runs. `others` were there before."""
    until = time.monotonic() + BOUND
    for thread in threading.enumerate():
        if thread not in others and thread.name in _SERVERS:
            thread.join(max(0.0, until - time.monotonic()))
            assert not thread.is_alive(), f"a thread of the server does not end: {thread.name}"


class World(contextlib.ExitStack):
    """`server`, behind `proxy` where one was asked for; `pool()` makes clients, `target()` something to reach."""

    def __init__(
        self, proxy: bool = False, plan: Any = None, certificate_hash: bytes | None = None, **settings: Any
    ) -> None:
        """The server states `certificate_hash` where one is given, whatever it presents."""
        super().__init__()
        self.files = crt, key = _certificate()
        self.callback(shutil.rmtree, crt.parent, ignore_errors=True)
        self.certificates = Certificates(crt, key)
        if certificate_hash is not None:
            self.certificates.presented = replace(self.certificates.presented, hash=certificate_hash)
        self.settings: dict[str, Any] = {"certificates": self.certificates} | settings
        self.callback(_wait_for_threads, threading.enumerate())
        self.callback(_close_near)
        self.directory = Directory()
        self.token = os.urandom(32)
        self.key = self.directory.add(os.urandom(32), self.token)
        self.start()
        self.proxy = self.enter_context(FaultProxy(("127.0.0.1", self.port), plan)) if proxy else None

    def start(self, port: int = 0) -> None:
        """A server, on the same port after `stop_server`."""
        self.server = Server(SERVER_KEY, self.directory, Settings(**self.settings))
        self.port = self.server.listen("127.0.0.1", port)[1]
        self.server.start()
        self.callback(self.server.stop)

    @property
    def registry(self) -> Registry:
        return self.server.reception.registry

    @property
    def entry(self) -> Entry:
        """The server's only session."""
        (entry,) = self.registry.all()
        return entry

    def credentials(self) -> Credentials:
        return Credentials(SERVER_KEY.public, self.key, self.token)

    def dialler(self, port: int | None = None, window: int = limits.WINDOW) -> Dialler:
        via = port or (self.proxy.port if self.proxy else self.port)
        return Dialler(self.credentials(), (("127.0.0.1", via),), Route(), window)

    def pool(
        self, sessions: int = 1, redial: float | None = None, port: int | None = None, window: int = limits.WINDOW
    ) -> Pool:
        pool = Pool(self.dialler(port, window), sessions, redial)
        self.callback(pool.close, 5.0)
        return pool

    def target(self, serve: Callable[[socket.socket], None]) -> int:
        """A TCP server that runs `serve` in a thread for every connection; returns its port."""
        listener = self.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))

        def one(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                serve(sock)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        self.callback(listener.shutdown, socket.SHUT_RDWR)
        return int(listener.getsockname()[1])


_NEAR: list[socket.socket] = []  # of all Opened; a World closes them when it ends


def _close_near() -> None:
    while _NEAR:
        _NEAR.pop().close()


class Opened:
    """One stream through a pool, as a local application sees it: `near` is its socket."""

    def __init__(self, pool: Pool, port: int, host: str = "127.0.0.1", kind: int = 1) -> None:
        self.near, far = socket.socketpair()
        self.near.settimeout(BOUND)
        _NEAR.append(self.near)
        self.over = threading.Event()
        self.stream: Stream | None = None
        pool.open(Target(kind, host, port), far, self._finished)

    def _finished(self, stream: Stream) -> None:
        self.stream = stream
        self.over.set()

    def end(self) -> Stream:
        """Waits for the end of the stream."""
        assert self.over.wait(BOUND), "the stream did not end"
        assert self.stream is not None
        return self.stream

    @property
    def clean(self) -> bool:
        """Waits for the end of the stream, and tells whether it was END in both directions."""
        return self.end().ending is Ending.CLEAN

    def ask(self, data: bytes) -> bytes:
        """Sends all, ends this direction, and reads to the end; closes."""
        with self.near:
            sender = threading.Thread(target=self._send, args=(data,), daemon=True)
            sender.start()
            answer = read_all(self.near)
            sender.join(BOUND)
        return answer

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.near.sendall(data)
            self.near.shutdown(socket.SHUT_WR)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def echo(sock: socket.socket) -> None:
    """Answers what comes, and ends when it ends."""
    while part := sock.recv(1 << 16):
        sock.sendall(part)


def write_until_broken(sock: socket.socket, broken: threading.Event) -> None:
    """Writes on and on; `broken` is set when the other side is gone."""
    try:
        while True:
            sock.sendall(bytes(65_536))
    except OSError:
        broken.set()
