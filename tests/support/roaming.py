"""What Roam works with: a tunnel that counts as connected, dials that a test holds, and lines."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from roles import Roles
from world import BOUND

from nitrosocks_lib.client.roam import Roam
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.session.state import Outcome

SOON = 0.01


class Line:
    """What Roam knows of a link."""

    def __init__(self, waits: int = 0) -> None:
        self.closed = threading.Event()
        self.waits = waits
        self.silence = math.inf

    def unacknowledged(self) -> int:
        return self.waits

    def silent(self) -> float:
        return self.silence

    def close(self) -> None:
        self.closed.set()


class Roaming:
    """A tunnel that counts as connected, and what its Roam did with it."""

    def __init__(self, dial: Callable[[], Any], age: float | None = None) -> None:
        self.roles, self.ended, self.asked = Roles(), threading.Event(), threading.Semaphore(0)
        self.tunnel, self.state = self.roles.client, self.roles.client.state
        self.state.begin()
        end = self.state.end

        def told(outcome: Outcome, reason: str) -> None:
            end(outcome, reason)
            self.ended.set()

        def counted() -> Any:
            self.asked.release()
            return dial()

        self.state.end = told  # type: ignore[method-assign]
        self.roam = Roam(self.tunnel, counted, age)

    def __enter__(self) -> Roaming:
        return self

    def __exit__(self, *_: object) -> None:
        self.roam.close()
        self.roles.close()

    def heard(self) -> None:
        """Bytes come."""
        self.state.last_heard = now()


class Held:
    """Dials that last until `go`; each makes the next of `lines`, and the last of them again and again."""

    def __init__(self, *lines: Line) -> None:
        self.go, self._lines = threading.Event(), list(lines)

    def __call__(self) -> Line:
        line = self._lines.pop(0) if len(self._lines) > 1 else self._lines[0]
        assert self.go.wait(BOUND)
        return line
