"""What keeps a session of the pool alive though it has no stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..net.wake import Waiter
from ..session.dialling import Dialling

Reaching: TypeAlias = Callable[[Waiter], Dialling]


class Keeper:
    """What keeps a session though it has no stream; this one keeps none. Any thread."""

    dialling: Reaching | None = None  # makes what reaches targets near this client, if any are

    def holds(self, session: object) -> bool:
        """Whether this session is kept."""
        return False

    def gone(self, session: object) -> None:
        """It is over, or about to be."""
