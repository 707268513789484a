"""One session as the server's registry has it: its connection, its number, and what the audit trail says of it."""

from __future__ import annotations

import threading
from typing import Any

from ..crypto.identity import client_fingerprint
from ..facts.address import join_host_port
from ..net.link import Link
from ..net.timers import Timer, now
from ..session.liveness import Liveness
from .audit import tell
from .tunnel import ServerTunnel


class Entry:
    """`owner` is the thread that attached the last link, or tries to; it alone calls `started` and `resumed`."""

    __slots__ = (
        "_began", "_carrier", "_peer", "attempt", "expiry", "link", "liveness", "name", "owner", "tunnel",
    )  # fmt: skip

    def __init__(self, tunnel: ServerTunnel, liveness: Liveness) -> None:
        self.tunnel = tunnel
        self.name = tunnel.client.name
        self.liveness = liveness
        self.attempt = 0  # the last j accepted
        self.owner: threading.Thread | None = None
        self.link: Link | None = None
        self.expiry: Timer | None = None
        self._began = now()
        self._peer, self._carrier = ("", 0), ""  # of the last connection

    @property
    def client_id(self) -> bytes:
        """Whose session it is."""
        return self.tunnel.client.public.client_id

    @property
    def named(self) -> dict[str, Any]:
        """Fields of an event: whose session, and which."""
        return {"client": self.name, "session": self.tunnel.number}

    @property
    def key(self) -> str:
        """The fingerprint of its client's key."""
        return client_fingerprint(self.client_id)

    @property
    def source(self) -> str:
        """Where its last connection came from."""
        return join_host_port(*self._peer)

    @property
    def _where(self) -> dict[str, Any]:
        return {"source": self.source, "carrier": self._carrier}

    def started(self, peer: tuple[str, int], carrier: str) -> None:
        """It is in the registry, and its client is about to hear of it."""
        self._peer, self._carrier = peer, carrier
        tell("session-started", **self.named, **self._where, fingerprint=self.key)

    def resumed(self, peer: tuple[str, int], carrier: str) -> None:
        """It goes on, on a new connection."""
        before, old = self.source, self._peer[0]
        self._peer, self._carrier = peer, carrier
        if peer[0] == old:
            tell("session-resumed", **self.named, **self._where)
        else:
            tell("session-moved", **self.named, **self._where, before=before)

    def lost(self) -> None:
        """Its connection is over, and it waits for the next one."""
        state = self.tunnel.state
        tell("session-lost", **self.named, **self._where, reason=state.reason, kept=state.terms.resume)

    def ended(self, reason: str) -> None:
        """It is over. Some of its streams may still deliver, and end later."""
        tunnel = self.tunnel
        tell(
            "session-ended",
            **self.named,
            **self._where,
            fingerprint=self.key,
            duration=round(now() - self._began, 1),
            streams=tunnel.opened + tunnel.accepted,
            received=tunnel.inbound.bytes_in,
            sent=tunnel.outbound.written,
            reason=reason or "released",
        )
