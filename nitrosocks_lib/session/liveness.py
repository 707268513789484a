"""The whole liveness policy on one page (protocol 5): heartbeat, stuck writes, refresh timer, ages of keys.

Runs on the timer thread: it looks, sets fields and wakes; it never waits.
"""

from __future__ import annotations

from ..facts import limits
from ..net.timers import TIMERS, jittered
from .tunnel import Outcome, Tunnel


class Liveness:
    """Watches one session over all of its connections until `stop`."""

    __slots__ = ("_heard", "_heartbeat", "_period", "_refresh_every", "_silent", "_timer", "_tunnel")

    def __init__(self, tunnel: Tunnel, refresh_every: float | None = None) -> None:
        """`refresh_every` in seconds makes this side start refreshes (the server does)."""
        self._tunnel = tunnel
        self._heartbeat = tunnel.terms.heartbeat
        self._refresh_every = refresh_every
        self._period = jittered(self._heartbeat)
        self._heard, self._silent = 0.0, 0
        first = min(self._period, refresh_every or self._period, limits.REFRESH_ANSWER)
        self._timer = TIMERS.after(first, self._look)

    def stop(self) -> None:
        """The session is over."""
        self._timer.cancel()

    def _look(self, at: float) -> float:
        """One look; returns when to look again: so soon that a refresh which begins meanwhile is looked at in time."""
        latest = at + limits.REFRESH_ANSWER
        if self._tunnel.outcome is not None:  # no connection: whoever reconnects keeps the time
            return min(latest, at + self._period)
        return min(latest, self._look_for_silence(at), self._look_at_writes(at), self._look_at_keys(at))

    def _look_for_silence(self, at: float) -> float:
        heard = self._tunnel.inbound.last_heard
        if heard != self._heard:
            self._heard, self._silent = heard, 0
        due = heard + (self._silent + 1) * self._period
        if at < due:
            return due
        self._silent += 1
        if self._silent >= limits.SILENT_PERIODS:
            self._tunnel.end(Outcome.LOST, f"nothing was heard for {at - heard:.0f} s")
            return at + self._period
        self._tunnel.outbound.mail.ping = True
        self._tunnel.outbound.mail.wake.set()
        self._period = jittered(self._heartbeat)
        return at + self._period

    def _look_at_writes(self, at: float) -> float:
        stuck = self._tunnel.outbound.stuck_since
        longest = limits.SILENT_PERIODS * self._heartbeat
        if stuck and at - stuck >= longest:
            self._tunnel.end(Outcome.LOST, f"nothing could be sent for {at - stuck:.0f} s")
        return (stuck or at) + longest

    def _look_at_keys(self, at: float) -> float:
        tunnel = self._tunnel
        if at >= tunnel.keyed_at + limits.KEY_AGE:
            tunnel.end(Outcome.LOST, "the frame keys are too old")
        if tunnel.refreshing is not None:
            answer_due = tunnel.refresh_since + limits.REFRESH_ANSWER
            if at >= answer_due:
                tunnel.end(Outcome.LOST, "a refresh was not answered")
            again = at + (self._refresh_every or limits.REFRESH_ANSWER)  # when it is done, the next is due so soon
            return min(answer_due, tunnel.keyed_at + limits.KEY_AGE, again)
        if self._refresh_every is None:
            return tunnel.keyed_at + limits.KEY_AGE
        due = tunnel.keyed_at + self._refresh_every
        if at < due:
            return due
        tunnel.outbound.mail.refresh = True
        tunnel.outbound.mail.wake.set()
        return at + min(self._refresh_every, self._heartbeat)
