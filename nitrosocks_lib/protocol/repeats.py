"""Requests of one direction of an `http` carrier, at the client: what is under way, what is to be repeated (HP7)."""

from __future__ import annotations

from ..facts import limits
from ..facts.errors import CarrierLost


class Repeats:
    """The http thread's. A request is due, then under way, until it was answered, or failed and is due again."""

    __slots__ = ("_due", "_failed", "_since")

    def __init__(self) -> None:
        self._due: list[int] = []
        self._since: dict[int, float] = {}  # of those under way
        self._failed: dict[int, int] = {}  # how often

    def add(self, n: int) -> None:
        """A new request is due."""
        self._due.append(n)

    @property
    def due(self) -> list[int]:
        """What is to be put on a connection now, lowest first: new ones, and ones that failed."""
        return sorted(self._due)

    def fresh(self, n: int) -> bool:
        """Whether it needs a fresh connection: it failed before."""
        return n in self._failed

    def began(self, n: int, now: float) -> None:
        """It was put on a connection."""
        self._due.remove(n)
        self._since[n] = now

    def over(self, n: int) -> None:
        """It was answered."""
        if n in self._due:  # an answer that was quicker than the repeat of what seemed to have failed
            self._due.remove(n)
        self._since.pop(n, None)
        self._failed.pop(n, None)

    def failed(self, n: int) -> None:
        """Another answer came, none in time, or a cut. Raises CarrierLost when it was repeated three times."""
        if self._since.pop(n, None) is None:
            return
        times = self._failed[n] = self._failed.get(n, 0) + 1
        if times > limits.REPEATED:
            raise CarrierLost(f"a request of the http carrier failed {times} times")
        self._due.append(n)

    def overdue(self, now: float, seconds: float) -> list[int]:
        """Those under way for so long."""
        return [n for n, since in self._since.items() if now - since >= seconds]

    def next_at(self, seconds: float) -> float | None:
        """When the next one is overdue."""
        return min(self._since.values()) + seconds if self._since else None
