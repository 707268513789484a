"""What a session asks of the pool that it belongs to, and what keeps it though it has no stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from ..net.wake import Waiter
from ..session.dialling import Dialling
from ..session.streams import Stream
from .outage import Outage

S_contra = TypeVar("S_contra", contravariant=True)  # the session
Reaching: TypeAlias = Callable[[Waiter], Dialling]


class Owner(Protocol[S_contra]):
    """What a session asks of the pool that it belongs to; any thread."""

    outage: Outage
    keeper: Keeper

    def changed(self, session: S_contra) -> None:
        """A stream is over, or the server drains."""

    def withdraw(self, session: S_contra) -> None:
        """The session is about to be over: when this returned, nothing more is opened on it."""

    def gone(self, session: S_contra, moved: list[Stream]) -> None:
        """The session is over; `moved` are streams that another one may carry."""


class Keeper:
    """What keeps a session though it has no stream; this one keeps none. Any thread."""

    dialling: Reaching | None = None  # makes what reaches targets near this client, if any are

    def holds(self, session: object) -> bool:
        """Whether this session is kept."""
        return False

    def gone(self, session: object) -> None:
        """It is over, or about to be."""
