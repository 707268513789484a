"""What inbound asks of whoever reaches the targets of streams that the peer opens."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ..facts.wire import Reply
from ..net.race import Place
from ..protocol.frames import Address, Target


@dataclass(frozen=True, slots=True)
class Reached:
    """A target that was connected to; the socket is non-blocking, and the taker's."""

    sock: socket.socket
    address: Address


@dataclass(frozen=True, slots=True)
class Unreached:
    """Why a target was not reached: a reply code of RFC 1928, a text for the peer's user, and more for our own log."""

    reply: Reply
    text: str
    more: str = ""


Found = list[Place] | Unreached


class Ruling(Protocol):
    """Where one target may lead, by the rules as they were when it was asked for; nothing here waits."""

    def place(self) -> Found | None:
        """Where an address or a path leads; None where a name is to be looked up for it."""

    def permitted(self, found: Iterable[Place]) -> Found:
        """Of the places of a name, those that may be connected to."""

    def reached(self, at: Address) -> None:
        """It was connected to."""


class Dialling(Protocol):
    """All dials of one session. Its methods never block, and belong to the inbound thread."""

    def __len__(self) -> int:
        """Dials under way, of which descriptors may be watched."""

    @property
    def left(self) -> int:
        """Look-ups that were given up but still run: they count as streams."""

    def begin(self, number: int, target: Target) -> None:
        """Begins to reach a target; `take` tells the result."""

    def fired(self, number: int, now: float) -> None:
        """A descriptor that was watched as ("dial", number) is ready."""

    def due(self, now: float) -> float | None:
        """Goes on with what is due; returns when to be called next."""

    def stop(self, number: int) -> None:
        """Gives a dial up, if there is one: its result is not told."""

    def take(self) -> list[tuple[int, Reached | Unreached]]:
        """What was decided since the last call."""

    def close(self) -> None:
        """Gives all of them up."""


class NoDialling:
    """Of a side whose peer opens no streams."""

    left = 0

    def __len__(self) -> int:
        return 0

    def begin(self, number: int, target: Target) -> None:
        """Not called: the peer's OPEN or ACCEPTED is a violation here."""
        raise AssertionError("nobody opens streams here")

    def fired(self, number: int, now: float) -> None:
        """Nothing is watched."""

    def due(self, now: float) -> float | None:
        """Never."""
        return None

    def stop(self, number: int) -> None:
        """Nothing to give up."""

    def take(self) -> list[tuple[int, Reached | Unreached]]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing to give up."""
