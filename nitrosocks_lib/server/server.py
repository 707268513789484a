"""Listens, accepts, bounds what is not authenticated yet, drains and stops (protocol 3.6, 5 Release)."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Final

from ..crypto import schedule
from ..crypto.identity import ServerKey
from ..crypto.token import Tokens
from ..facts import limits
from ..facts.errors import ConfigurationError
from ..facts.wire import Abort, Carrier
from ..net.listener import PAUSE, bind_all
from ..net.sockets import descriptors
from ..net.timers import now
from ..net.turns import Turns
from ..protocol import frames, welcome
from ..protocol.http1 import Head
from ..protocol.paths import can_begin, token_of
from .admission import places
from .authorised import Clients
from .carriers import Carriers
from .connection import Reception, Settings
from .decoy import Decoy
from .entrance import Entrance
from .entry import Entry
from .revoked import Revoked
from .seen import Keep, Seen
from .stranger import Stranger
from .tarpit import Tarpit
from .visitor import Door, Found
from .web import Web

log = logging.getLogger(__name__)
_RAW: Final = frozenset({Carrier.RAW})


class Server:
    """`start` returns when it listens; `drain` and `stop` may be called by any thread, once."""

    def __init__(self, key: ServerKey, clients: Clients, settings: Settings, keep: Keep = lambda _: None) -> None:
        """`keep` writes down that a client is there, as in `seen.Seen`."""
        most, late = places(descriptors())
        self._tarpit = Tarpit(schedule.late_seconds(schedule.knock_key(key.public)), late)
        self.reception = Reception(key, clients, settings, self._tarpit)
        door = key, settings.certificates, self.reception.nonces
        self._web = self._web_of(key, settings, late) if settings.decoy or settings.carriers != _RAW else None
        self._entrance = Entrance(door, self.reception.receive, self._tarpit, most, self._web)
        self._entrance.raw = Carrier.RAW in settings.carriers
        self._entrance.failures = self.reception.failures
        self._seen = Seen(self.reception.registry, keep)
        self._certificates = settings.certificates
        self._revoked = Revoked(clients, self.reception.registry, self._look)
        self._listeners: list[socket.socket] = []
        self._stopped = False
        self._thread: threading.Thread | None = None

    def _web_of(self, key: ServerKey, settings: Settings, most: int) -> Web:
        prefix, http = settings.prefix, settings.carriers != _RAW
        self._carriers = carriers = Carriers(self.reception.nonces, settings.carriers, self._come)
        tokens = Tokens(schedule.knock_key(key.public))

        def find(head: Head) -> Found | None:
            text = token_of(head, prefix) if http else None
            return tokens.read(text, _hour()) if text is not None else None

        door = Door(
            find=find,
            can_begin=lambda got: http and can_begin(got, prefix),
            knocks=lambda first: Carrier.RAW in settings.carriers and welcome.knocks(key, first, _hour()),
            back=lambda visitor: self._come(Stranger.over(visitor.tls, *visitor[1:5])),
            begin=carriers.begin,
        )
        decoy = Decoy(settings.decoy) if settings.decoy is not None else None
        if decoy is not None:
            decoy.look()
        carriers.web = web = Web(door, decoy, self._tarpit, Turns(), min(most, limits.PLACES_VISITS))
        return web

    def _come(self, stranger: Stranger) -> None:
        self._entrance.come(stranger)

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Binds all addresses of a host (empty: IPv6 and IPv4); returns the first bound. Raises CannotCreate."""
        for listener in (listeners := bind_all(host, port)):
            self._entrance.listen(listener)
        self._listeners += listeners
        bound = listeners[0].getsockname()
        return str(bound[0]), int(bound[1])

    def start(self) -> None:
        """Begins to accept, and to look for clients that are revoked. Raises ConfigurationError."""
        self._look_at_decoy()
        self._revoked.start()
        self._thread = threading.Thread(target=self._accept, name="accept", daemon=True)
        self._thread.start()

    def _look_at_decoy(self) -> None:
        decoy = self._web.decoy if self._web is not None else None
        if decoy is None:
            return
        if decoy.leads_to(each.getsockname()[:2] for each in self._listeners):
            hint = "name the web server that is to be seen there, at an address of its own"
            raise ConfigurationError(f"--decoy {decoy.site} is this server itself", hint)
        decoy.warn()

    def _look(self) -> None:
        self._seen.look()
        self.reception.rates.look()
        self._certificates.look()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                self._entrance.turn()
            except Exception:  # of one connection; without this thread nobody would come in any more
                log.exception("internal error; the server goes on")
                time.sleep(PAUSE)
        self._entrance.close()
        for listener in self._listeners:
            listener.close()

    # -- the end ----------------------------------------------------------------------------------------------------

    def drain(self, seconds: float) -> None:
        """No new sessions; running streams may end within `seconds`, then they are aborted. Waits for the end."""
        reception = self.reception
        reception.draining = now() + seconds
        for entry in reception.registry.all():
            entry.tunnel.outbox.post(goaway=frames.goaway(int(seconds)))
        reception.listens.drain()  # behind GOAWAY: clients then know why
        reception.registry.wait_empty(_busy, seconds)
        self.stop()

    def stop(self) -> None:
        """Aborts all sessions, says so to their clients, and ends."""
        registry = self.reception.registry
        registry.closing = True
        self.reception.draining = self.reception.draining or now()
        for entry in registry.all():
            entry.tunnel.post_abort(Abort.SERVER_STOPS, "")
            if entry.tunnel.state.outcome is not None:
                registry.forget(entry, "the server stops")
        registry.wait_empty(lambda _: True, limits.RELEASE)
        self._stopped = True
        self._revoked.stop()
        self._seen.look()
        self.reception.listens.stop()
        if self._web is not None:
            self._web.stop()  # before the entrance, which gets what it gives back
        self._entrance.wake()
        if self._thread is not None:
            self._thread.join()
        self._tarpit.stop()
        self.reception.failures.end()


def _hour() -> int:
    return int(time.time()) // 3600


def _busy(entry: Entry) -> bool:
    """Whether a session is connected or carries a stream."""
    return entry.tunnel.connected or entry.tunnel.load > 0
