"""Connections that are HTTP, or that the decoy serves: one thread has them all, in one selector (protocol 3.6, 6).

The entrance hands them over, and gets back what turns out to be a knock.
"""

from __future__ import annotations

import logging
import random
import time

from ..facts import limits
from ..net.ends import PlainEnd
from ..net.ondemand import OnDemand
from ..net.overlong import Overlong
from ..net.timers import now
from ..net.tls import TlsLink
from ..net.turns import Turning, Turns
from .admission import Held, turns
from .decoy import Decoy
from .plain import PlainVisit
from .relayed import Relayed
from .tarpit import Tarpit
from .visit import Visit
from .visitor import Door, Visitor

log = logging.getLogger(__name__)


class Web:
    """`take`, `wants` and `stop` may be called by any thread; all else is the web thread's."""

    def __init__(
        self, door: Door, decoy: Decoy | None, tarpit: Tarpit, turns: Turns, most: int = limits.PLACES_VISITS
    ) -> None:
        """`most` visits there are at once; beyond them one of whoever has most gives way to the next."""
        self.door, self.decoy, self.turns = door, decoy, turns
        self.buffer = memoryview(bytearray(limits.RELAYED))
        self.reads = Overlong()
        self.most = most
        self._tarpit = tarpit
        self._places = Held(most)
        self._seated: set[Relayed] = set()
        self._ready: dict[Relayed, float] = {}  # strangers that wait for their turn
        self._thread = OnDemand("web", self._run)

    def __len__(self) -> int:
        return len(self._seated)

    def wants(self, got: bytes) -> bool:
        """Whether a connection that begins like this is to be taken: any where there is a decoy."""
        return self.decoy is not None or (bool(got) and self.door.can_begin(got))

    def take(self, visitor: Visitor) -> None:
        """Takes over a connection behind its TLS, with what was read of it."""
        if not self._thread.give(lambda: self.turns.call(lambda: self._enter(visitor))):
            self._give_back(visitor)

    def _give_back(self, visitor: Visitor) -> None:
        if visitor.ahead is not None:
            visitor.ahead.close()
        self._wait_late(visitor.accepted, visitor.link)

    def stop(self) -> None:
        """Closes them all; the server ends."""
        self._thread.stop(self.turns.stop)
        self.turns.close()

    def _run(self) -> None:
        while not self.turns.stopped:
            try:
                self.turn()
            except Exception:  # of one connection; without this thread nobody would be served any more
                log.exception("internal error; the server goes on")
        self.turns.wait()  # does what was called for meanwhile
        for what in list(self.turns.live):
            what.close()

    def turn(self) -> None:
        """Waits for something, and does what can be done without waiting: strangers behind those that are known, and
        as many as there is time for, each network in turn."""
        if self._ready:
            self.turns.again(next(iter(self._ready)))  # so this is no wait
        for what in self.turns.wait():
            if isinstance(what, Relayed) and what in self._seated and not what.known:
                self._ready.setdefault(what, now())
            else:
                self._go_on(what)
        until = time.thread_time() + limits.TURN
        for visit in turns(self._ready, 0.0):
            if self._ready.pop(visit, None) is not None:
                self._go_on(visit)
            if time.thread_time() >= until:
                break

    def _go_on(self, what: Turning) -> None:
        if what not in self.turns.live:
            return
        try:
            what.go_on()
        except Exception:
            log.exception("internal error; the connection is over")
            what.close()

    def _enter(self, visitor: Visitor) -> None:
        visit = (PlainVisit if isinstance(visitor.link, PlainEnd) else Visit)(visitor, self)
        self.turns.join(visit)
        self.seat(visit)
        self.turns.again(visit)

    # -- what visits call ---------------------------------------------------------------------------------------------

    def seat(self, visit: Relayed) -> None:
        """It has a place; another one gives way where there are too many."""
        if visit in self._seated:
            return
        if len(self._seated) >= self._places.most:
            victim = self._places.picked(random.randrange)
            assert isinstance(victim, Relayed), "no others are seated"
            victim.close()
        self._places.add(visit)
        self._seated.add(visit)

    def unseat(self, visit: Relayed) -> None:
        """It needs none any more."""
        if visit in self._seated:
            self._seated.remove(visit)
            self._places.remove(visit)

    def leave(self, visit: Relayed) -> None:
        """It is over, or another thread's."""
        self.unseat(visit)
        self._ready.pop(visit, None)
        self.turns.part(visit)

    def keep_waiting(self, visit: Relayed) -> None:
        """What is not ours, and has no decoy: read, and closed late."""
        self._wait_late(visit.accepted, visit.link)

    def _wait_late(self, accepted: float, link: TlsLink | PlainEnd) -> None:
        if isinstance(link, PlainEnd):
            link.part()
        else:
            self._tarpit.add(accepted, link)
