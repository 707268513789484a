"""Whether something can be read; select.select takes low descriptors only, and a test process may have many."""

from __future__ import annotations

import select
from typing import Protocol


class HasFileno(Protocol):
    def fileno(self) -> int: ...


def readable(what: int | HasFileno, seconds: float = 0.0) -> bool:
    """Waits until it is, or so long."""
    poll = select.poll()
    poll.register(what, select.POLLIN)
    return bool(poll.poll(int(seconds * 1000)))
