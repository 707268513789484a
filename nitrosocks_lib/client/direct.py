"""Targets that are reached from this machine, for applications that ask for them at the server's side (`-R`).

One thread for all: it dials, answers, and then carries bytes between an application's connection and its target.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from ..facts import limits
from ..facts.wire import Kind, Reply
from ..net.ondemand import OnDemand
from ..net.race import Place
from ..net.sockets import closed, reset
from ..net.splice import Changes, Splice
from ..net.timers import now
from ..net.turns import Turns
from ..protocol.frames import Address, Target
from ..session.dialling import Found, Reached, Ruling, Unreached
from ..session.dials import Dials, Reach
from ..session.reaching import name_of, numeric, shown
from ..session.streams import Request

log = logging.getLogger(__name__)
ASKED: Final = Target(Kind.TCP, "", 0)  # of a stream whose application is to name its own target
_ASKER: Final = b"direct"  # among those that have names looked up
_LOOK: Final = 1.0  # seconds between looks at applications that wait, and may be gone


@dataclass(frozen=True, slots=True)
class Anywhere(Ruling):
    """A target that this machine's user lets others reach: wherever it leads."""

    target: Target

    def place(self) -> Found | None:
        """As Ruling."""
        if self.target.kind == Kind.UNIX:
            return [(socket.AF_UNIX, self.target.host.encode())]
        return numeric(self.target)

    def permitted(self, found: Iterable[Place]) -> Found:
        """As Ruling."""
        return list(found)

    def reached(self, at: Address) -> None:
        """As Ruling."""


@dataclass(eq=False, slots=True)
class _Asked:
    """An application whose target is being dialled: it has its turn when a socket of the dial is ready, and when it is
    decided."""

    number: int
    target: Target
    local: socket.socket
    request: Request
    owner: Direct
    result: Reached | Unreached | None = None

    def go_on(self) -> None:
        """As Turning."""
        if self.result is None:
            self.owner.fired(self.number)
        else:
            self.owner.decided(self, self.result)

    def close(self) -> None:
        """As Turning: its connection ends without an answer."""
        self.owner.leave(self)
        if isinstance(self.result, Reached):
            reset(self.result.sock)
        self.local.close()


class Direct:
    """`open`, `set` and `stop` may be called by any thread; all else is the thread's of this."""

    def __init__(self, reach: Reach) -> None:
        self._turns = Turns()
        self._thread = OnDemand("direct", self._turns.run)
        self._dials = Dials(_ASKER, Anywhere, reach, self)
        self._numbers = count(1)
        self._asked: dict[int, _Asked] = {}
        self._look_at = 0.0  # when applications that wait are looked at next
        self._buffer = memoryview(bytearray(limits.RELAYED))

    def open(self, target: Target, local: socket.socket, request: Request) -> None:
        """Takes `local` over, and leads it to the target; where that fails, `request` tells it why."""
        asked = _Asked(next(self._numbers), target, local, request, self)
        if not self._thread.give(lambda: self._turns.call(lambda: self._begin(asked))):
            local.close()

    def stop(self) -> None:
        """Resets all connections, and ends the thread."""
        self._thread.stop(self._turns.stop)
        self._turns.close()

    def _begin(self, asked: _Asked) -> None:
        if len(self._asked) >= limits.STREAMS:
            asked.request.failed(asked.local, Reply.GENERAL, "too many targets are being dialled")
            return
        self._asked[asked.number] = asked
        self._turns.join(asked)
        self._turns.join(self)
        self._dials.begin(asked.number, asked.target)
        self.go_on()

    def fired(self, number: int) -> None:
        """A socket of this dial is ready."""
        self._dials.fired(number, now())
        self.go_on()

    def go_on(self) -> None:
        """As Turning: does what is due, and what was decided."""
        at = now()
        due = self._dials.due(at)
        for number, result in self._dials.take():
            self._asked[number].result = result
            self._turns.again(self._asked[number])
        if at >= self._look_at:
            self._look_at = at + _LOOK
            for asked in [each for each in self._asked.values() if closed(each.local)]:
                asked.close()
        if self._asked:
            self._turns.at(min(due or self._look_at, self._look_at), self)

    def decided(self, asked: _Asked, result: Reached | Unreached) -> None:
        """Tells it, and leads it to a target that was reached."""
        self.leave(asked)
        if isinstance(result, Unreached):
            log.warning("an application at the server's side: %s", result.text)
            asked.request.failed(asked.local, result.reply, result.text)
            return
        log.info("an application at the server's side: %s at %s", name_of(asked.target), shown(result.address))
        request = asked.request
        words = request.opened(result.address), request.early
        changes = _belonging(request.belongs) if request.belongs is not None else None, request.told
        Splice(asked.local, result.sock, self._turns, self._buffer, *words, *changes)

    def leave(self, asked: _Asked) -> None:
        """It is not dialled any more."""
        self._dials.stop(asked.number)
        self._asked.pop(asked.number, None)
        self._turns.part(asked)

    def close(self) -> None:
        """As Turning: what is being dialled ends."""
        for asked in list(self._asked.values()):
            asked.close()
        self._dials.close()

    # -- what its dials call: as Watches ----------------------------------------------------------------------------

    def watch(self, fd: int, events: int, what: Any) -> None:
        """A socket of a dial, which `what` names."""
        self._turns.watch(fd, events, self._asked[what[1]])

    def forget(self, fd: int) -> None:
        """That ends."""
        self._turns.forget(fd)

    def set(self) -> None:
        """A name was looked up."""
        self._turns.call(self.go_on)


def _belonging(belongs: Callable[[bytes], int]) -> Changes:
    """Of what an application says, what is for its target."""
    return lambda data: (data[: belongs(data)], False)
