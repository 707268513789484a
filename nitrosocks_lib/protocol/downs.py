"""Down: the server's bytes as the answers to requests m = 0, 1, 2 … (protocol 6, HP5, HP6 and HP8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from ..facts import limits
from ..facts.errors import CarrierLost
from .repeats import Repeats

OK = 200
NO_CONTENT = 204


class Answer(NamedTuple):
    """The answer to every request of m: 200 with bytes or empty, or 204 without any, which ends the direction."""

    status: int
    body: bytes = b""


EMPTY = Answer(OK)
END = Answer(NO_CONTENT)
Sends = list[tuple[Hashable, Answer]]  # what goes out now, on which connection


class DownAnswerer:
    """The server's side; the web thread's. Times are seconds of one clock.

    `key` names the connection of a request: it waits for one answer at a time. What each method returns is to be sent.
    Two answers are kept at most, for repeats.
    """

    def __init__(self) -> None:
        self._parked: dict[int, dict[Hashable, float]] = {}  # m: its requests, and when each is answered at the latest
        self._answers: dict[int, Answer] = {}  # kept, in the order of m
        self._next = 0  # the lowest m without an answer
        self._given_up = 0  # all below it are
        self._ended_at: float | None = None

    def ask(self, key: Hashable, m: int, now: float, jitter: float) -> Sends:
        """Request m came on a connection; `jitter` is random, from -1 to 1.

        Raises CarrierLost when m is new and m − 2 has no answer yet.
        """
        if m - limits.DOWNS >= self._next:
            raise CarrierLost("a down was asked too early")
        self._give_up(m - limits.DOWNS + 1)
        if m < self._next:
            return [(key, self._answers.get(m, EMPTY))]
        at = now + limits.PARKED * (1 + limits.PARKED_JITTER * jitter)
        self._parked.setdefault(m, {})[key] = at
        return self.expire(now)

    @property
    def wants(self) -> int:
        """Most bytes that the next answer takes; 0 while the request that is next has not come, and after the end."""
        return limits.BODY if self._next in self._parked else 0

    @property
    def next_m(self) -> int:
        """The lowest m without an answer."""
        return self._next

    def give(self, data: bytes, now: float) -> Sends:
        """The next bytes of the stream, at most `wants`: the answer of the m that is next."""
        assert data and self.wants >= len(data), "wants was looked at before"
        return self._settle(Answer(OK, data)) + self.expire(now)

    def end(self, now: float) -> Sends:
        """The stream has ended: the m that is next gets 204, and so do all behind it, whenever they come."""
        if self._ended_at is None:
            self._ended_at = now
        return self.expire(now)

    def gone(self, key: Hashable) -> None:
        """A connection ended: nothing is answered on it."""
        for m, waiting in list(self._parked.items()):
            waiting.pop(key, None)
            if not waiting:
                del self._parked[m]

    def expire(self, now: float) -> Sends:
        """Those whose time is over, in the order of m: 200, empty (HP5)."""
        sends: Sends = []
        while waiting := self._parked.get(self._next):
            if self._ended_at is None and min(waiting.values()) > now:
                break
            sends += self._settle(EMPTY if self._ended_at is None else END)
        return sends

    @property
    def next_at(self) -> float | None:
        """When to call `expire`."""
        waiting = self._parked.get(self._next)
        return min(waiting.values()) if waiting else None

    def over(self, now: float) -> bool:
        """Whether the direction ended so long ago that no repeat is answered any more (HP8)."""
        return self._ended_at is not None and now - self._ended_at >= limits.REPEATS

    def _settle(self, answer: Answer) -> Sends:
        """The answer of the next m, for all its requests."""
        m, self._next = self._next, self._next + 1
        self._answers[m] = answer
        return [(key, answer) for key in self._parked.pop(m, {})]

    def _give_up(self, below: int) -> None:
        while self._given_up < min(below, self._next):
            self._answers.pop(self._given_up, None)
            self._given_up += 1


class DownAsker:
    """The client's side; the http thread's. What to put on connections is in `requests`, after `ask`."""

    def __init__(self) -> None:
        self.requests = Repeats()
        self._asked = 0  # so many were asked
        self._held = 0  # all answers below it came
        self._early: dict[int, Answer] = {}  # those above
        self._ready: deque[bytes] = deque()
        self._ended = False

    def ask(self, most: int = limits.DOWNS) -> None:
        """Makes new requests due, until `most` are under way; two bodies at most are untaken.

        Two are the most: m + 2 is asked only when the answers 0 … m are held (HP6).
        """
        while not self._ended and len(self._ready) < limits.DOWNS and self._asked < self._held + most:
            self.requests.add(self._asked)
            self._asked += 1

    def answered(self, m: int, answer: Answer) -> None:
        """A 200 or a 204 came; one for an m that is held is no news."""
        self.requests.over(m)
        if m < self._held or m in self._early:
            return
        self._early[m] = answer
        while (held := self._early.pop(self._held, None)) is not None:
            self._held += 1
            self._ended = self._ended or held.status == NO_CONTENT
            if held.body and not self._ended:
                self._ready.append(held.body)

    def take(self) -> bytes | None:
        """The next bytes in order; None while there are none."""
        return self._ready.popleft() if self._ready else None

    @property
    def ended(self) -> bool:
        """Whether the end came and all bytes before it were taken."""
        return self._ended and not self._ready
