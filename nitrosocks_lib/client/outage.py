"""What people hear of lost connections: one line when the first is lost, one when all are restored."""

from __future__ import annotations

import logging
import threading

from ..net.timers import now

log = logging.getLogger(__name__)


class Outage:
    """Shared by all sessions of a pool; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = 0
        self._since = 0.0

    def begins(self, reason: str) -> None:
        """A session with a stream lost its connection."""
        with self._lock:
            self._lost += 1
            if self._lost == 1:
                self._since = now()
                log.warning("connection lost (%s), reconnecting", reason)

    def ends(self, restored: bool) -> None:
        """That session is restored, or over."""
        with self._lock:
            self._lost -= 1
            if self._lost == 0 and restored:
                log.warning("connection restored after %.1f s", now() - self._since)
