"""Whether something can be read; select.select takes low descriptors only, and a test process may have many."""

from __future__ import annotations

import select
from typing import Protocol


class HasFileno(Protocol):
    def fileno(self) -> int: ...


def readable(what: int | HasFileno, seconds: float = 0.0) -> bool:
    """Waits until it is, or so long."""
    return _polled(what, select.POLLIN, seconds)


def broken(what: int | HasFileno, seconds: float = 0.0) -> bool:
    """Waits until it has an error, or nobody is at its other end."""
    return _polled(what, 0, seconds)


def _polled(what: int | HasFileno, events: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(what, events)
    return bool(poll.poll(int(seconds * 1000)))
