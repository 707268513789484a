"""The next connection of a session, made while the one before still carries, before a proxy would cut it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..facts import limits
from ..net.link import Link
from ..net.timers import TIMERS, Timer, jittered, sooner
from ..session.tunnel import Outcome, Tunnel

log = logging.getLogger(__name__)


class Redial:
    """One for each connection of a session. When the new one is there, the pair ends with LEFT, and `take` has it."""

    def __init__(self, tunnel: Tunnel, dial: Callable[[], Link], age: float | None) -> None:
        """`dial()` blocks; it runs in a thread when the connection is `age` seconds old or less, never with None."""
        self._tunnel, self._dial = tunnel, dial
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._over = False
        self._pause = limits.BACKOFF_FIRST
        self._timer = Timer(lambda _: None) if age is None else TIMERS.after(sooner(age), self._begin)

    def take(self) -> Link | None:
        """For the owner, when the pair has returned: the new connection, if there is one. None is made any more."""
        with self._lock:
            self._over = True
            self._timer.cancel()
            link, self._link = self._link, None
            return link

    def close(self) -> None:
        """Takes what is there and closes it."""
        link = self.take()
        if link is not None:
            link.close()

    def _begin(self, at: float) -> float | None:
        try:
            threading.Thread(target=self._prepare, name="redial", daemon=True).start()
        except RuntimeError as error:  # no thread is left
            log.info("redial: %s", error)
            return at + limits.BACKOFF_MAX
        return None

    def _prepare(self) -> None:
        try:
            link = self._dial()
        except Exception as error:
            log.info("redial: %s", error)
            self._try_again()
            return
        if not self._offer(link):
            link.close()

    def _try_again(self) -> None:
        with self._lock:
            if not self._over:
                self._timer = TIMERS.after(jittered(self._pause), self._begin)
                self._pause = min(self._pause * 2, limits.BACKOFF_MAX)

    def _offer(self, link: Link) -> bool:
        """Under the lock: behind `take` the session may be on another connection, which must not be ended for this."""
        with self._lock:
            wanted = not self._over and not self._tunnel.releasing
            if wanted:
                self._link = link
                self._tunnel.end(Outcome.LEFT, "redial")
            return wanted
