"""The pauses between two attempts to reconnect (protocol 3.5), none before the first one, then growing ones; and how
long attempts are made."""

from __future__ import annotations

from ..facts import limits
from ..net.timers import now
from ..session.state import State


class Pauses:
    """Of one session; its thread's. Seconds."""

    def __init__(self) -> None:
        self._next = 0.0
        self._carried = -1  # at the end of the one before; the first one of a session brought the session

    def lost(self, lived: float, carried: int) -> None:
        """A connection is over that lived so long; `carried` numbered frames are known to have passed on all of them.

        The next one is made at once. But where this one was of no use, a box may end each as soon as it stands: then
        pauses go on growing, up to a bound that keeps nobody waiting for long.
        """
        useful = lived >= limits.LIVED or carried > self._carried
        self._next = 0.0 if useful else min(max(self._next, limits.BACKOFF_FIRST), limits.LIVED)
        self._carried = carried

    def anew(self) -> None:
        """One was ended: by somebody who waits, or since the network changed. The network may come up in a moment."""
        self._next = limits.BACKOFF_FIRST

    def take(self) -> float:
        """How long to rest before the next attempt; 0 is not at all. What is taken is doubled for the one behind it."""
        pause = self._next
        self._next = min(max(2 * pause, limits.BACKOFF_FIRST), limits.BACKOFF_MAX)
        return pause


def forgotten_at(state: State) -> float:
    """Until when the server keeps a session whose connection is over. Where it fell silent, that is as long ago as the
    last sign of life, but the server is tried for a while in any case."""
    at, resume = now(), state.terms.resume
    silent = at - state.last_heard
    if silent <= limits.SILENT * state.terms.heartbeat:
        return at + resume
    return at + max(resume - silent, min(resume, limits.TRIED))
