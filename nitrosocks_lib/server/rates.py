"""The rates of all clients: what the sessions of each share, as its file has it now."""

from __future__ import annotations

import threading
from typing import Final

from ..facts import limits
from ..facts.sizes import shown
from ..net.timers import now
from ..protocol.quota import Quota
from ..session.rate import Rate
from .audit import tell
from .authorised import Clients

_UP: Final = "to targets"
_DOWN: Final = "from targets"


class Told(Rate):
    """A Rate of which the log tells that it holds a client up: once in a while, for it may do so all day."""

    def __init__(self, name: str, direction: str) -> None:
        super().__init__(held=self._tell)
        self._name, self._direction = name, direction
        self._tell_at = 0.0

    def _tell(self) -> None:
        if now() >= self._tell_at:
            self._tell_at = now() + limits.SAID
            tell("client-held", client=self._name, direction=self._direction, rate=shown(self.rate))


class Rates:
    """Any thread may call it. A client keeps its buckets as long as it is authorised: a new session fills none."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[Told, Told]] = {}

    def of(self, client_id: bytes) -> tuple[Rate, Rate]:
        """What this client may send in a second, and be sent."""
        client = self._clients.standing(client_id)
        with self._lock:
            both = self._known.get(client_id)
            if both is None:
                name = client.name if client is not None else ""
                both = self._known[client_id] = Told(name, _UP), Told(name, _DOWN)
        if client is not None:
            _change(both, client.quota)
        return both

    def look(self) -> None:
        """Changed files hold from now on, also for sessions and streams that are there. For one thread."""
        for client_id, both in list(self._known.items()):
            client = self._clients.standing(client_id)
            if client is not None:
                _change(both, client.quota)
            else:
                with self._lock:
                    self._known.pop(client_id, None)


def _change(both: tuple[Rate, Rate], quota: Quota) -> None:
    up, down = both
    up.change(quota.up)
    down.change(quota.down)
