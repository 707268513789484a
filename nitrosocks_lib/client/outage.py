"""What people hear of lost connections: one line when the first is lost for a while, one when all are restored."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from ..facts import limits
from ..net.timers import TIMERS, Timer, now

log = logging.getLogger(__name__)


class Outage:
    """Shared by all sessions of a pool; any thread.

    Of what is over within `limits.OUTAGE_TOLD` only -v tells: nobody need have noticed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = 0
        self._since = 0.0
        self._reason = ""
        self._timer = Timer(lambda _: None)
        self._told = False  # that it lasts

    def begins(self, reason: str) -> None:
        """A session with a stream lost its connection."""
        with self._lock:
            self._lost += 1
            if self._lost > 1:
                return
            self._since, self._reason, self._told = now(), reason, False
            log.info("connection lost (%s), reconnecting", reason)
            with suppress(RuntimeError):  # no thread for timers is left
                self._timer = TIMERS.after(limits.OUTAGE_TOLD, self._lasts)

    def _lasts(self, at: float) -> None:
        with self._lock:
            if self._lost and at >= self._since + limits.OUTAGE_TOLD:  # else it is a timer of one before
                self._told = True
                log.warning("connection lost %s ago (%s), reconnecting", _seconds(at - self._since), self._reason)

    def ends(self, restored: bool) -> None:
        """That session is restored, or over: then its streams say why."""
        with self._lock:
            self._lost -= 1
            if self._lost:
                return
            self._timer.cancel()
            if restored:
                level = logging.WARNING if self._told else logging.INFO
                log.log(level, "connection restored after %s", _seconds(now() - self._since))


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
