"""The next connection of a session, made while the one before still carries (protocol 5, Doubt; `--redial`).

It begins at an age, before a proxy would cut the old connection; or because of a doubt: nothing is heard, or the
network changed. When it stands the session moves to it, unless the old connection was heard from meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..facts import limits
from ..net.link import Link
from ..net.timers import TIMERS, Timer, jittered, now, sooner
from ..session.state import Outcome
from .tunnel import ClientTunnel

log = logging.getLogger(__name__)
REDIAL = "redial"  # why a connection was left: for its age
_DIALS = 2  # at once: a doubt begins one more, where the address that the first began from may be gone
_NEVER = Timer(lambda _: None)


class Roam:
    """One for each connection of a session. When the new one is there, the pair ends with LEFT, and `take` has it."""

    def __init__(self, tunnel: ClientTunnel, dial: Callable[[], Link], age: float | None) -> None:
        """`dial()` blocks; it runs in a thread when the connection is `age` seconds old or less, or in doubt."""
        self._tunnel, self._state, self._dial = tunnel, tunnel.state, dial
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._over = False
        self._making = 0  # connections under way
        self._doubted_at = 0.0  # since when the old connection is in doubt; 0 while it is not
        self._progress = 0  # bytes that the next kernel on the way had taken at the last look
        self._pause = limits.BACKOFF_FIRST
        self._timer = _NEVER if age is None else TIMERS.after(sooner(age), self._begin)
        self._armed = False  # a look is due
        self._state.waits = self._arm

    def take(self) -> Link | None:
        """For the owner, when the pair has returned: the new connection, if there is one. None is made any more."""
        with self._lock:
            self._over = True
            self._timer.cancel()
            link, self._link = self._link, None
            self._state.hurry = None
        self._state.waits = lambda: None
        return link

    def close(self) -> None:
        """Takes what is there and closes it."""
        link = self.take()
        if link is not None:
            link.close()

    # -- doubt ---------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Any thread: something is unanswered, and before it nothing was."""
        if not self._armed:
            self._armed = True
            self._progress = self._taken()[0]
            TIMERS.after(self._state.doubt.patience(now()), self._look)

    def _look(self, at: float) -> float | None:
        """A timer: is the connection silent for too long?"""
        state = self._state
        self._look_at_progress(at)
        due = self._due(at)
        if not due or self._over:
            self._armed = False
            due = self._due(at)  # what went out or began meanwhile saw the watch still armed
            if not due or self._over:
                return None
            self._armed = True
        if at >= due:
            if (since := state.partial_since) > 0:
                state.unfinished.doubled(at)
                self.doubt(f"a frame is not whole after {at - since:.0f} s")
            else:
                self.doubt(f"nothing was heard for {at - state.last_heard:.0f} s")
            due = at + state.doubt.patience(at)
        return due

    def _due(self, at: float) -> float:
        """When to doubt, what is unanswered or a frame that is not whole; 0 where there is neither."""
        state = self._state
        dues = state.doubt.due(state.last_heard, at), state.frame_due(state.doubt.patience(at), at)
        return min((due for due in dues if due), default=0.0)

    def _look_at_progress(self, at: float) -> None:
        """A line that still takes what we wrote is slow, not dead. What it took whole proves nothing: a box took it.
        And it is not silent while a TLS record comes in."""
        link, state = self._tunnel.link, self._state
        if link is not None:
            state.last_heard = max(state.last_heard, at - link.silent())
        progress, waits = self._taken()
        if waits and progress > self._progress:
            state.last_heard = at
        self._progress = progress

    def _taken(self) -> tuple[int, int]:
        """How many bytes the next kernel on the way has taken of what was written, and how many it has not."""
        link = self._tunnel.link
        waits = link.unacknowledged() if link is not None else 0
        return self._tunnel.outbound.written - waits, waits

    def doubt(self, reason: str) -> None:
        """Any thread, without waiting: PING, and a new connection beside the old one."""
        state = self._state
        with self._lock:
            if self._over or state.releasing:
                return
            self._doubted_at = now()
            self._pause = limits.BACKOFF_FIRST
        log.info("in doubt about the connection: %s", reason)
        state.doubt.doubled()
        state.doubt.pinged(self._doubted_at)
        state.outbox.post(ping=True)
        self._arm()
        self._begin(self._doubted_at)

    # -- the new connection --------------------------------------------------------------------------------------------

    def _begin(self, at: float) -> float | None:
        with self._lock:
            if self._over or self._making >= _DIALS:
                return None
            self._making += 1
        try:
            threading.Thread(target=self._prepare, name="redial", daemon=True).start()
        except RuntimeError as error:  # no thread is left
            log.info("redial: %s", error)
            with self._lock:
                self._making -= 1
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
            self._making -= 1
            if not self._over and not self._heard():
                self._timer = TIMERS.after(jittered(self._pause), self._begin)
                self._pause = min(self._pause * 2, limits.BACKOFF_MAX)
                self._state.hurry = self._hurry if self._doubted_at else None

    def _hurry(self) -> None:
        """outbound: somebody types, and nothing is heard. The next attempt need not wait for long."""
        with self._lock:
            self._state.hurry = None
            if not self._over and not self._making:
                self._timer.cancel()
                self._pause = limits.BACKOFF_FIRST
                self._timer = TIMERS.after(self._pause, self._begin)

    def _heard(self) -> bool:
        """Whether a doubt is settled. The caller holds the lock."""
        state, doubted = self._state, self._doubted_at
        swallows = 0 < state.partial_since <= doubted  # a frame that began before may have swallowed what came
        heard = 0 < doubted < state.last_heard and not swallows
        if heard:
            self._doubted_at = 0.0
        return heard

    def _offer(self, link: Link) -> bool:
        """Under the lock: behind `take` the session may be on another connection, which must not be ended for this."""
        with self._lock:
            self._making -= 1
            wanted = not (self._over or self._link or self._state.releasing or self._heard())
            if wanted:
                self._link = link
                reason = "it was silent" if self._doubted_at else REDIAL
                self._state.end(Outcome.LEFT, reason)
            return wanted
