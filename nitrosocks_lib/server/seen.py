"""Which clients have sessions, told at most once a minute for each, so that it can be kept when each was seen last."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..facts import limits
from ..net.timers import now
from .registry import Registry

log = logging.getLogger(__name__)
Keep = Callable[[bytes], None]


class Seen:
    """The thread that looks for revoked clients asks it, and, once, who stops the server."""

    def __init__(self, registry: Registry, keep: Keep) -> None:
        """`keep` writes down that the client of an id has a session now; it may raise OSError: then nobody knows."""
        self._registry, self._keep = registry, keep
        self._kept: dict[bytes, float] = {}
        self._said = False
        self._looking = threading.Lock()

    def look(self) -> None:
        """Tells of those who have a session, or had one since the last look."""
        with self._looking:
            self._look(now())

    def _look(self, at: float) -> None:
        self._kept = {client_id: when for client_id, when in self._kept.items() if at - when < limits.SEEN_AGAIN}
        for client_id in self._registry.present() - self._kept.keys():
            self._kept[client_id] = at
            try:
                self._keep(client_id)
            except OSError as error:
                if not self._said:
                    log.info("when clients are here is not kept: %s", error.strerror)
                self._said = True
