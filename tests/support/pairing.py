"""A client's and a server's half of one session, over connections that are cut, with applications and targets.

A connection is TLS over a socket pair, WebSocket on that, or a pipe. It is cut after so many bytes, wherever that is:
what is on its way is lost at both ends. Then both sides state what they have received and go on over the next one, as
with RESUME (protocol 3.5).
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from loopback import pem
from roles import Roles

from nitrosocks_lib.crypto.identity import KemPublic
from nitrosocks_lib.crypto.seal import Opener
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import BadFrame, NetworkError
from nitrosocks_lib.net.connect import client_context, server_context
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.pipe import PipeLink, Progress
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.tls import TlsLink
from nitrosocks_lib.net.websocket import WebSocketLink
from nitrosocks_lib.protocol.handshake import Keys, draw_ephemeral
from nitrosocks_lib.session.state import Attached, Outcome
from nitrosocks_lib.session.streams import Stream

CARRIERS = ("raw", "websocket", "http")
BOUND = 60.0  # seconds until a wait is given up


class Cut:
    """One connection's end: when `left` bytes have been written or read by both sides, together."""

    def __init__(self, left: float) -> None:
        self.left = left
        self.links: list[Link] = []
        self._lock = threading.Lock()

    @property
    def over(self) -> bool:
        return self.left <= 0

    def spend(self, size: int) -> None:
        with self._lock:
            self.left -= size
        if self.over:
            for link in self.links:
                link.abort()

    def stand(self) -> None:
        """It is not cut any more, unless it was."""
        with self._lock:
            if not self.over:
                self.left = float("inf")


class Cutting:
    """Makes of a kind of Link one that loses what it holds when it is cut."""

    def cut_by(self: Any, cut: Cut) -> Any:
        self._cut = cut
        cut.links.append(self)
        return self

    def read_some(self: Any, buffer: memoryview, enough: int = 1) -> int:
        self._check()
        n: int = super().read_some(buffer, enough)  # type: ignore[misc]
        self._cut.spend(n)
        self._check()
        return n

    def write_some(self: Any, data: memoryview) -> int:
        self._check()
        n: int = super().write_some(data)  # type: ignore[misc]
        self._cut.spend(n)
        return n

    def _check(self: Any) -> None:
        if self._cut.over:
            raise NetworkError("cut")


class CutTls(Cutting, TlsLink): ...


class CutPipe(Cutting, PipeLink):
    """`heard` is the other end's progress: what is read here is acknowledged there."""

    heard = Progress()

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        n = super().read_some(buffer, enough)
        self.heard.sent = self.heard.acknowledged = self.heard.sent + n
        return n


class Paired(contextlib.ExitStack):
    """The session; `run` carries it from connection to connection, in a thread of its own."""

    def __init__(self, seed: int, roles: Roles, cuts: int, every: int, carrier: str = "raw") -> None:
        """`cuts` connections end after some bytes, `every` at most; the one behind them stands.

        `carrier` is one of CARRIERS.
        """
        super().__init__()
        self._random = random.Random(seed)
        self.roles, self._cuts, self._every, self._carrier = roles, cuts, every, carrier
        self._contexts = client_context(False), server_context(*pem("server"))
        self._threads = self.enter_context(ThreadPoolExecutor(3))
        self._lock = threading.Lock()
        self._cut = Cut(0)  # of the connection
        self.connections = 0
        self.failed_attempts = 0
        self._ended: Future[tuple[Outcome, Outcome]] = self._threads.submit(self._run)

    def __exit__(self, *details: Any) -> bool | None:
        for tunnel in self.roles.both():
            tunnel.state.end(Outcome.OVER, "the test is over")
        return super().__exit__(*details)

    def stand(self) -> None:
        """Cuts no connection any more."""
        with self._lock:
            self._cuts = 0
            self._cut.stand()

    def end(self) -> tuple[Outcome, Outcome]:
        """Waits for the end of the session; how it ended at the client and at the server."""
        return self._ended.result(BOUND)

    def _run(self) -> tuple[Outcome, Outcome]:
        client, server = self.roles.both()
        near, far = self._connect()
        serving = self._threads.submit(server.run, far)
        outcomes = client.run(near), serving.result(BOUND)
        while outcomes == (Outcome.LOST, Outcome.LOST):
            outcomes = self._reconnect()
        return outcomes

    def _reconnect(self) -> tuple[Outcome, Outcome]:
        """Both state what they have received; the server moves when the client's first frame opens, and not before."""
        client, server = self.roles.both()
        received = client.inbound.received, server.inbound.received
        assert client.may_have_received(received[1]) and server.may_have_received(received[0])
        keys, ephemeral = Keys(os.urandom(32), os.urandom(32), 0), draw_ephemeral(os.urandom)
        near, far = self._connect()
        client.attach(Attached(keys, ephemeral), received[1])

        def serve() -> Outcome:
            opener = server.opener(keys)
            try:
                first = _first_frame(far, opener)
            except (NetworkError, BadFrame):
                self.failed_attempts += 1
                far.close()
                return Outcome.LOST
            server.attach(Attached(keys, KemPublic(ephemeral.public)), received[0])
            return server.run(far, first, opener)

        serving = self._threads.submit(serve)
        return client.run(near), serving.result(BOUND)

    def _connect(self) -> tuple[Link, Link]:
        """The next connection; its handshake is not cut."""
        self.connections += 1
        left = self._random.uniform(0, self._random.choice((200, self._every, self._every, self._every)))
        with self._lock:
            cut = self._cut = Cut(left if self.connections <= self._cuts else float("inf"))
        ends = socket.socketpair()
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._random.choice((4_096, 32_768, 200_000)))
        if self._carrier == "http":
            return _pipes(ends, cut)
        shaking = self._threads.submit(self._contexts[1].wrap_socket, ends[1], True)
        near: Link = CutTls(self._contexts[0].wrap_socket(ends[0])).cut_by(cut)
        far: Link = CutTls(shaking.result(BOUND)).cut_by(cut)
        if self._carrier == "websocket":
            return WebSocketLink(near, serving=False), WebSocketLink(far, serving=True)
        return near, far


def _pipes(ends: tuple[socket.socket, socket.socket], cut: Cut) -> tuple[Link, Link]:
    """Two pipes' ends, with no carrier between them."""
    sides = Progress(), Progress()
    near, far = (CutPipe(end, progress).cut_by(cut) for end, progress in zip(ends, sides, strict=True))
    near.heard, far.heard = sides[1], sides[0]
    return near, far


def _first_frame(link: Link, opener: Opener) -> bytes:
    late = now() + BOUND
    head = link.read_exactly(wire.LENGTH, late)
    frame = head + link.read_exactly(opener.frame_size(head) - wire.LENGTH, late)
    plain = bytearray(len(frame))
    return bytes(plain[: opener.open(memoryview(frame), memoryview(plain))])


class Over:
    """The streams that are over at the client, and those at the server."""

    def __init__(self, roles: Roles) -> None:
        self.near: list[Stream] = []
        self.far: list[Stream] = []
        self._changed = threading.Condition()
        roles.server.stream_over = self._at_server  # type: ignore[method-assign]

    def at_client(self, stream: Stream) -> None:
        with self._changed:
            self.near.append(stream)
            self._changed.notify_all()

    def _at_server(self, stream: Stream) -> None:
        with self._changed:
            self.far.append(stream)
            self._changed.notify_all()

    def wait(self, near: int, far: int) -> None:
        """Until so many are over at the client, and at the server."""

        def are() -> bool:
            return len(self.near) >= near and len(self.far) >= far

        with self._changed:
            assert self._changed.wait_for(are, BOUND), "some are left"
