"""Clients of the carriers `websocket` and `http`, as simple as they can be: blocking, one request after another."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable

from world import BOUND, SERVER_KEY, World

from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.token import Token, Tokens
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Carrier, What
from nitrosocks_lib.net import pipe
from nitrosocks_lib.net.connect import Route, client_context, dial
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.pipe import Progress
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.websocket import WebSocketLink
from nitrosocks_lib.protocol import greet, heads
from nitrosocks_lib.session.conversation import Conversation

TOKENS = Tokens(schedule.knock_key(SERVER_KEY.public))
LEAST = wire.KNOCK + wire.HELLO


def hour() -> int:
    return int(time.time()) // 3600


def path(carrier: bytes, what: What, n: int = 0, at: int | None = None) -> str:
    return "/" + TOKENS.make(hour() if at is None else at, Token(carrier, what, n))


def head(carrier: bytes, what: What, n: int, length: int, more: str = "") -> bytes:
    """The head of a request."""
    lines = f"POST {path(carrier, what, n)} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n"
    return lines.encode()


def context() -> ssl.SSLContext:
    made = client_context(False)
    made.set_alpn_protocols(["http/1.1"])
    return made


class Connection(http.client.HTTPSConnection):
    """Requests of one connection; any number of them, one after another."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, context=context(), timeout=BOUND)

    def post(self, carrier: bytes, what: What, n: int, body: bytes = b"") -> tuple[int, bytes]:
        self.request("POST", path(carrier, what, n), body)
        answer = self.getresponse()
        return answer.status, answer.read()


class HttpClient:
    """One `http` carrier: `link` is for a session. Its end of the pipe is closed by whichever thread ends last."""

    def __init__(self, port: int) -> None:
        self.id, self.port = os.urandom(wire.CARRIER_ID), port
        self.progress = Progress()
        self.link, self._far = pipe.pair(self.progress)
        self._far.setblocking(True)
        self._left = threading.Semaphore(1)
        halves = (self._ups, self._downs)
        self.threads = [threading.Thread(target=self._run, args=(each,), daemon=True) for each in halves]
        for thread in self.threads:
            thread.start()

    def _run(self, half: Callable[[Connection], None]) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(Connection(self.port)) as via:
            half(via)
        with contextlib.suppress(OSError):
            self._far.shutdown(socket.SHUT_RDWR)
        if not self._left.acquire(blocking=False):
            self._far.close()

    def close(self) -> None:
        """Ends it, and waits for that."""
        self.link.close()
        for thread in self.threads:
            thread.join(BOUND)

    def _ups(self, via: Connection) -> None:
        body, n = b"", 0
        while len(body) < LEAST:
            body += self._far.recv(limits.BODY)
        while via.post(self.id, What.UP, n, body)[0] == 200 and body:
            self.progress.sent += len(body)
            self.progress.acknowledged += len(body)
            body, n = self._far.recv(limits.BODY), n + 1

    def _downs(self, via: Connection) -> None:
        m = 0
        while (answer := via.post(self.id, What.DOWN, m))[0] == 200:
            self._far.sendall(answer[1])
            m += 1


def websocket(port: int, carrier: bytes | None = None) -> Link:
    """A WebSocket whose upgrade is done."""
    link = dial(("127.0.0.1", port), context(), socket.AF_INET, BOUND)
    target = path(carrier or os.urandom(wire.CARRIER_ID), What.WEBSOCKET)
    link.write_all(heads.upgrade("127.0.0.1", target, "AAAAAAAAAAAAAAAAAAAAAA=="), now() + BOUND)
    got = b""
    while b"\r\n\r\n" not in got:
        got += link.read_first(now() + BOUND)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return WebSocketLink(link, serving=False, unread=rest)


def greeted(world: World, link: Link) -> Link:
    """A session begins there; nobody goes on with it."""
    Conversation(link, now() + BOUND).run(greet.greet(world.credentials(), hour(), limits.WINDOW, os.urandom))
    return link


def pool(world: World, kind: str, sessions: int = 1) -> Pool:
    via = world.proxy.port if world.proxy else world.port
    offered = Carriers((Carrier(kind),))
    dialler = Dialler(world.credentials(), (("127.0.0.1", via),), Route(), limits.WINDOW, offered)
    made = Pool(dialler, sessions, None)
    world.callback(made.close, 5.0)
    return made


def greeting(world: World, at: int | None = None) -> bytes:
    """The first message of a client that the server knows."""
    said = next(greet.greet(world.credentials(), hour() if at is None else at, limits.WINDOW, os.urandom))
    assert isinstance(said, bytes)
    return said


def carrier() -> bytes:
    """A new id."""
    return os.urandom(wire.CARRIER_ID)


class Begun:
    """A carrier whose up 0 is answered; each request on a connection of its own."""

    def __init__(self, world: World) -> None:
        self.world, self.id = world, carrier()
        self.first = greeting(world)
        assert self.ask(What.UP, 0, self.first) == (200, b"")

    def ask(self, what: What, n: int, body: bytes = b"") -> tuple[int, bytes]:
        via = Connection(self.world.port)
        try:
            return via.post(self.id, what, n, body)
        finally:
            via.close()
