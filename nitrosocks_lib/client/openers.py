"""Opens a carrier to a server: one function for each, in one table (protocol 6)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..crypto.schedule import knock_key
from ..crypto.token import Token, Tokens
from ..facts import limits, wire
from ..facts.address import join_host_port
from ..facts.wire import Carrier, What
from ..net.connect import Context, Route, client_context, dial
from ..net.link import Link
from ..net.timers import now
from ..protocol.carriers import patience
from .carriers import Carriers

if TYPE_CHECKING:  # h11 and websockets are slow to import: only the carriers that need them do
    from .http import Http
    from .updown import Way

Server = tuple[str, int]
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Web:
    """How requests look: the path in front of tokens, and the name in the Host header, else the server's."""

    prefix: str = ""
    host: str = ""

    def host_of(self, server: Server) -> str:
        """For the Host header, as a browser writes it."""
        host, port = server
        named = self.host or (f"[{host}]" if ":" in host else host)
        return named if self.host or port == _HTTPS else join_host_port(host, port)


PLAIN = Web()


class Openers:
    """Any thread. Each opener blocks; it raises NetworkError, and DecoyAnswer where a web server answers it."""

    def __init__(self, server_public: bytes, route: Route, web: Web = PLAIN, carriers: Carriers | None = None) -> None:
        """`carriers` remember how large bodies may be (HP7)."""
        self._route, self._web = route, web
        self._carriers = carriers or Carriers()
        self._lock = threading.Lock()
        self._moving: Http | None = None  # once it is needed
        self._ways: dict[Server, Way] = {}
        self._tokens = Tokens(knock_key(server_public))
        self._bare, self._alpn = client_context(route.verify), client_context(route.verify, web=True)

    def open(self, carrier: Carrier, server: Server, hour: int, hurried: bool) -> Link:
        """A link on which the session's bytes go to the server; tokens are made for this hour (TK3).

        `hurried`: another carrier is tried next, so what hangs is soon given up (CA5).
        """
        return OPENERS[carrier](self, server, hour, hurried)

    def _raw(self, server: Server, hour: int, hurried: bool) -> Link:
        return self._dial(server, self._bare)

    def _dial(self, server: Server, context: Context) -> Link:
        """Through the proxy on the way, if there is one."""
        return dial(server, context, self._route.family, limits.DIAL, proxy=self._route.proxy(server))

    def _websocket(self, server: Server, hour: int, hurried: bool) -> Link:
        from .upgrade import upgrade

        begun = now()
        link = self._dial(server, self._alpn)
        try:
            token = self._tokens.make(hour, Token(os.urandom(wire.CARRIER_ID), What.WEBSOCKET, 0))
            seconds = patience((now() - begun) / 2) if hurried else limits.DIAL  # TCP and TLS took two round trips
            return upgrade(link, self._web.host_of(server), f"{self._web.prefix}/{token}", now() + seconds)
        except BaseException:
            link.close()
            raise

    def _http(self, server: Server, hour: int, hurried: bool) -> Link:
        ahead = hour - int(time.time()) // 3600
        http, way = self._way(server)
        return http.open(server, way, lambda: int(time.time()) // 3600 + ahead)

    def _way(self, server: Server) -> tuple[Http, Way]:
        """The same for all carriers to a server: they share its connections, and its cookies."""
        from .http import Http
        from .updown import Way

        with self._lock:
            self._moving = self._moving or Http()
            if server not in self._ways:
                self._ways[server] = Way(
                    lambda: self._dial(server, self._alpn),
                    self._tokens,
                    self._web.host_of(server),
                    self._web.prefix,
                    lambda: self._carriers.most(server),
                    lambda most: self._carriers.refused(server, most),
                )
            return self._moving, self._ways[server]


OPENERS: Final[dict[Carrier, Callable[[Openers, Server, int, bool], Link]]] = {
    Carrier.RAW: Openers._raw,
    Carrier.WEBSOCKET: Openers._websocket,
    Carrier.HTTP: Openers._http,
}
