"""The whole liveness policy on one page (protocol 5): heartbeat, stuck writes and frames, refreshes, ages of keys.

Runs on the timer thread: it looks, sets fields and wakes; it never waits.
"""

from __future__ import annotations

from ..facts import limits
from ..net.timers import TIMERS, jittered
from .state import Outcome, State


class Liveness:
    """Watches one session over all of its connections until `stop`."""

    __slots__ = ("_armed", "_heard", "_heartbeat", "_period", "_refresh_every", "_silent", "_state", "_timer")

    def __init__(self, state: State, refresh_every: float | None = None) -> None:
        """`refresh_every` in seconds makes this side start refreshes (the server does)."""
        self._state = state
        self._heartbeat = state.terms.heartbeat
        self._refresh_every = refresh_every
        self._period = jittered(self._heartbeat)
        self._heard, self._silent = 0.0, 0
        first = min(self._period, refresh_every or self._period, limits.REFRESH_ANSWER)
        self._timer = TIMERS.after(first, self._look)
        self._armed = False  # a look at a frame that is not whole is due
        if state.serving:  # a client doubts, which is quicker
            state.waits = self._arm

    def stop(self) -> None:
        """The session is over."""
        self._timer.cancel()

    def _look(self, at: float) -> float:
        """One look; returns when to look again: so soon that a refresh which begins meanwhile is looked at in time."""
        latest = at + limits.REFRESH_ANSWER
        if self._state.outcome is not None:  # no connection: whoever reconnects keeps the time
            return min(latest, at + self._period)
        looks = (self._look_for_silence, self._look_at_writes, self._look_at_partial, self._look_at_keys)
        return min(latest, *(look(at) for look in looks))

    def _look_for_silence(self, at: float) -> float:
        heard = self._state.last_heard
        if heard != self._heard:
            self._heard, self._silent = heard, 0
        due = heard + (self._silent + 1) * self._period
        if at < due:
            return due
        self._silent += 1
        if self._silent >= limits.SILENT_PERIODS:
            self._state.end(Outcome.LOST, f"nothing was heard for {at - heard:.0f} s")
            return at + self._period
        self._state.doubt.pinged(at)
        self._state.outbox.post(ping=True)
        self._state.waits()
        self._period = jittered(self._heartbeat)
        return at + self._period

    def _look_at_writes(self, at: float) -> float:
        stuck = self._state.stuck_since
        longest = limits.SILENT_PERIODS * self._heartbeat
        if stuck and at - stuck >= longest:
            self._state.end(Outcome.LOST, f"nothing could be sent for {at - stuck:.0f} s")
        return (stuck or at) + longest

    def _look_at_partial(self, at: float) -> float:
        """Bytes that arrive are life only as long as a frame becomes whole: its length may have been changed."""
        since = self._state.partial_since
        if since and at - since >= limits.FRAME_TIME:
            self._lose_frame(at)
        return (since or at) + limits.FRAME_TIME

    def _arm(self) -> None:
        """Any thread: a frame has begun."""
        if not self._armed:
            self._armed = True
            TIMERS.after(limits.FRAME_SILENCE, self._look_at_frame)

    def _look_at_frame(self, at: float) -> float | None:
        """The server's quick look: a connection that ends is resumed at once, one that swallows frames stands still."""
        due = self._frame_due(at)
        if not due:
            self._armed = False
            due = self._frame_due(at)  # what began meanwhile saw the watch still armed
            if not due:
                return None
            self._armed = True
        if at < due:
            return due
        self._state.unfinished.doubled(at)
        self._lose_frame(at)
        self._armed = False
        return None

    def _frame_due(self, at: float) -> float:
        return self._state.frame_due(limits.FRAME_SILENCE, at) if self._state.outcome is None else 0.0

    def _lose_frame(self, at: float) -> None:
        self._state.end(Outcome.LOST, f"a frame was not complete after {at - self._state.partial_since:.0f} s")

    def _look_at_keys(self, at: float) -> float:
        state = self._state
        if at >= state.keyed_at + limits.KEY_AGE:
            state.end(Outcome.LOST, "the frame keys are too old")
        if state.refreshing is not None:
            answer_due = state.refresh_since + limits.REFRESH_ANSWER
            if at >= answer_due:
                state.end(Outcome.LOST, "a refresh was not answered")
            again = at + (self._refresh_every or limits.REFRESH_ANSWER)  # when it is done, the next is due so soon
            return min(answer_due, state.keyed_at + limits.KEY_AGE, again)
        if self._refresh_every is None:
            return state.keyed_at + limits.KEY_AGE
        due = state.keyed_at + self._refresh_every
        if at < due:
            return due
        state.outbox.refresh = True
        state.outbox.waiter.set()
        return at + min(self._refresh_every, self._heartbeat)
