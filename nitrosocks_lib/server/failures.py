"""Logins that failed, and which file of clients.d each comes near to. Who goes on failing does not fill the log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Network
from typing import Final

from ..crypto.identity import client_fingerprint
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import REFUSAL_TEXT, NetworkError, NitroSocksError, Overtaken, Refused
from ..facts.wire import Refusal
from ..net.timers import TIMERS, now
from .audit import tell
from .stranger import Arrival

Near = Callable[[bytes], tuple[str, str]]
OTHERS: Final = "other sources"
_PASSING: Final = (Refusal.UNKNOWN_SESSION, Refusal.DRAINING)  # a client that is let in may meet them


class Counted:
    """What comes again from one source: the first is told, others within `seconds` are counted. Pure; one caller at a
    time. Beyond `most` sources those that come are counted together, as OTHERS."""

    def __init__(self, most: int = limits.FAILING, seconds: float = limits.FAILURES_COUNTED) -> None:
        self._most, self._seconds = most, seconds
        self._rows: dict[str, tuple[float, int]] = {}  # until when, and how many behind the first; the oldest first

    def __len__(self) -> int:
        return len(self._rows)

    def first(self, source: str, at: float) -> bool:
        """Whether this one is to be told by itself; else it is counted."""
        new = source not in self._rows
        if new and len(self._rows) >= self._most:
            source, new = OTHERS, False
        until, count = self._rows.get(source, (at + self._seconds, 0))
        self._rows[source] = until, count if new else count + 1
        return new

    @property
    def next_at(self) -> float | None:
        """When `due` is to be asked."""
        return next((until for until, _ in self._rows.values()), None)

    def due(self, at: float) -> list[tuple[str, int]]:
        """Sources whose time is over, with how many were counted; who fails then is a first one again."""
        over = [(source, count) for source, (until, count) in self._rows.items() if until <= at]
        for source, _ in over:
            del self._rows[source]
        return [each for each in over if each[1]]


class Failures:
    """Tells of logins that failed; any thread."""

    def __init__(self, near: Near = lambda _: ("", "")) -> None:
        """`near` is Clients.near."""
        self._near = near
        self._counted = Counted()
        self._lock = threading.Lock()
        self._armed = False

    def failed(
        self, peer: tuple[str, int], carrier: str, reason: str, client: str = "", client_id: bytes = b""
    ) -> None:
        """Somebody who knows the server's key is not let in. `client_id` is what it says of itself, `client` the name,
        where it is known; where no `reason` is given, it is one of clients.d."""
        if not self._first(source_of(peer[0])):
            return
        file, why = self._near(client_id) if client_id else ("", "")
        tell(
            "login-failed",
            source=join_host_port(*peer),
            carrier=carrier,
            client=client,
            fingerprint=client_fingerprint(client_id) if client_id else "",
            file=file,
            reason=reason or why,
        )

    def refused(self, arrival: Arrival, error: Refused) -> None:
        """It is told why."""
        peer, carrier, reason = arrival.peer, arrival.talk.link.carrier, REFUSAL_TEXT[error.reason]
        if error.reason in _PASSING:
            tell("login-refused", source=join_host_port(*peer), carrier=carrier, client=arrival.name, reason=reason)
            return
        unknown = error.reason is Refusal.UNKNOWN_CLIENT and not arrival.name
        self.failed(peer, carrier, arrival.denied or ("" if unknown else reason), arrival.name, arrival.client_id)

    def broken(self, arrival: Arrival, error: NitroSocksError | OSError) -> None:
        """It is told nothing. A network that failed before a client was known is nobody's failure; an OSError is that
        something is missing here."""
        peer, carrier = arrival.peer, arrival.talk.link.carrier
        if isinstance(error, NetworkError | Overtaken):
            tell("handshake-failed", source=join_host_port(*peer), carrier=carrier, reason=str(error))
        else:
            self.failed(peer, carrier, str(error), arrival.name, arrival.client_id)

    def _first(self, source: str) -> bool:
        with self._lock:
            first, due = self._counted.first(source, now()), self._counted.next_at
            if due is not None and not self._armed:
                with suppress(RuntimeError):  # no thread for timers is left: with the next one
                    TIMERS.at(due, self._look)
                    self._armed = True
        return first

    def _look(self, at: float) -> float | None:
        """A timer."""
        with self._lock:
            counted, due = self._counted.due(at), self._counted.next_at
            self._armed = due is not None
        for source, count in counted:
            tell("logins-failed", count=count, source=source, seconds=int(limits.FAILURES_COUNTED))
        return due

    def end(self) -> None:
        """Tells what was counted, though its time is not over."""
        self._look(float("inf"))


def source_of(host: str) -> str:
    """Who counts as one source: an IPv4 address, or a /64 of IPv6."""
    if ":" not in host:
        return host
    return str(IPv6Network((host.partition("%")[0], 64), strict=False))
