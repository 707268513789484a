"""Peers that visit the product, and that the product visits, over the carrier `http`; as visits.py and hosts.py."""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
from typing import Any

import peer_judge
from hosts import Host
from loopback import dial
from peer_http import Asked, ClientCarrier, Message
from peer_http_server import HttpServer
from program import Site
from visits import BOUND, Visit, Visitor

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


class HttpHost(Host):
    """A place where peers serve a client of the product by `http`."""

    def __init__(self, site: Site, **options: Any) -> None:
        super().__init__(site, **options)
        from peer import Server  # only for its public key

        self.http = HttpServer(Server(None, self.seed, {}).S)
        self.http.bound = BOUND
        self.callback(self.http.stop)
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._take_one()

    def _take_one(self) -> None:
        raw = self._listener.accept()[0]
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            sock = self._context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
            self.http.serve(sock)

    def arrival(self) -> peer_judge.Server:
        """The next carrier; nothing is said on it yet."""
        return peer_judge.Server(self.http.accept(), self.seed, self.clients, sessions=self.sessions, **self.options)

    def forward(self, *words: object) -> peer_judge.Server:
        return super().forward("--carrier", "http", *words)

    def asked_for(self, carrier: Any, what: int) -> list[tuple[int, Message]]:
        """The requests of one kind that came of a carrier: number and message, in order."""
        return [(asked.n, said) for asked, said in self.requests() if asked.id == carrier.id and asked.what == what]

    def requests(self) -> list[tuple[Asked, Message]]:
        with self.http.changed:
            return [(asked, said) for asked, said in self.http.log if asked and said.line[0] == "POST"]
