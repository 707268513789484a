"""Peers that visit the product, and that the product visits, over the carrier `http`; as visits.py and hosts.py."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import peer
import peer_judge
import pytest
from hosts import Host
from loopback import dial
from peer_http import Asked, ClientCarrier, Message
from peer_http_server import HttpServer
from program import Site
from visits import BOUND, Served, Visit, Visitor, exactly, pour

PARKED = 30.0  # seconds: a down without bytes is answered before that (HP6)


class HttpVisit(Visit):
    """Its visitors come by `http`."""

    def connection(self) -> ssl.SSLSocket:
        sock = self.enter_context(dial(self.served.process.port, "http/1.1"))
        sock.settimeout(PARKED)
        return sock

    def carrier(self) -> ClientCarrier:
        carrier = ClientCarrier(self.connection, base64.b64decode(self.served.profile["server_public"]))
        self.callback(carrier.drop)
        return carrier

    socket = carrier  # type: ignore[assignment]  # what a peer speaks over

    def stranger(self, **options: Any) -> HttpVisitor:
        return HttpVisitor(self, **options)

    def visitor(self, **options: Any) -> HttpVisitor:
        made = HttpVisitor(self, **options)
        made.greet()
        return made


class HttpVisitor(Visitor):
    """A peer that the server knows; `sock` is its carrier."""

    sock: ClientCarrier

    def cut(self) -> None:
        """The carrier is dropped, and what is under way."""
        self.sock.drop()


def bulk(visitor: HttpVisitor, size: int) -> None:
    """So many bytes each way through a stream of its own; check sums are equal."""
    number, target = visitor.opens(visitor.visit.tap())
    up, down = random.randbytes(size), random.randbytes(size)
    sums = [hashlib.sha256(), hashlib.sha256()]
    step = 50_000
    for begin in range(0, size, step):
        target.sendall(down[begin : begin + step])
        pour(visitor, number, up[begin : begin + step])
        sums[0].update(exactly(target, len(up[begin : begin + step])))
        sums[1].update(visitor.gather(number, len(down[begin : begin + step])))
    assert [each.digest() for each in sums] == [hashlib.sha256(each).digest() for each in (up, down)]
    visitor.ends(number, target)


@pytest.fixture
def visit(served: Served) -> Iterator[HttpVisit]:
    with HttpVisit(served) as made:
        yield made


@pytest.fixture
def visitor(visit: HttpVisit) -> HttpVisitor:
    return visit.visitor()


class HttpHost(Host):
    """A place where peers serve a client of the product by `http`."""

    def __init__(self, site: Site, **options: Any) -> None:
        super().__init__(site, **options)
        self.http = HttpServer(peer.Server(None, self.seed, {}).S)
        self.http.bound = BOUND
        self._taker = threading.Thread(target=self._take, daemon=True)
        self._taker.start()
        self.callback(self._stop)

    def _stop(self) -> None:
        """No connection is left, also none that is just being accepted."""
        self.http.stop()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes who accepts
        self._taker.join(BOUND)

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(TimeoutError):
                    self._take_one()

    def _take_one(self) -> None:
        raw = self._listener.accept()[0]
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            self.http.serve(self._context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False))

    def arrival(self) -> peer_judge.Server:
        """The next carrier; nothing is said on it yet."""
        return peer_judge.Server(self.http.accept(), self.seed, self.clients, sessions=self.sessions, **self.options)

    def forward(self, *words: object) -> peer_judge.Server:
        return super().forward("--carrier", "http", *words)

    def requests(self) -> list[tuple[Asked, Message]]:
        """What was asked and is ours, in order."""
        with self.http.changed:
            return [(asked, said) for asked, said in self.http.log if asked and said.line[0] == "POST"]
