"""The end of sessions whose client is authorised no more. One thread, which looks at all files while it is at it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..facts import limits
from ..facts.wire import Abort
from ..session.state import Outcome
from .audit import tell
from .authorised import Clients
from .entry import Entry
from .registry import Registry

log = logging.getLogger(__name__)


class Revoked:
    """`start` and `stop` may be called once, by whoever owns the server."""

    def __init__(self, clients: Clients, registry: Registry, also: Callable[[], None] = lambda: None) -> None:
        """`also` looks at other files, each time."""
        self._clients, self._registry, self._also = clients, registry, also
        self._stopped = threading.Event()

    def start(self) -> None:
        """Looks every few seconds from now on; raises RuntimeError where there is no thread for it."""
        threading.Thread(target=self._run, name="revoked", daemon=True).start()

    def stop(self) -> None:
        """No look begins any more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(limits.REVOKED):
            try:
                self.look()
            except Exception:  # the next look may fare better, and without one nobody is revoked
                log.exception("internal error; revoked clients may keep their sessions")
            try:
                self._also()
            except Exception:
                log.exception("internal error; the certificate and the rates of clients stay as they are")

    def look(self) -> None:
        """A client whose file is gone is not to stay connected, nor to keep what a lost connection has left."""
        self._clients.look()
        for entry in self._registry.all():
            if self._clients.standing(entry.client_id) is None:
                self._end(entry)

    def _end(self, entry: Entry) -> None:
        tunnel = entry.tunnel
        if tunnel.outbox.farewell is None:
            why = self._clients.over(entry.client_id)
            tell("client-revoked", **entry.named, reason=why, source=entry.source, fingerprint=entry.key)
        if tunnel.state.outcome is Outcome.LOST:
            self._registry.forget(entry, "the client was revoked")
        elif tunnel.outbox.farewell is None:
            tunnel.post_abort(Abort.REVOKED, "")
        else:  # told already, but it does not read
            tunnel.state.end(Outcome.OVER, "the client was revoked")
