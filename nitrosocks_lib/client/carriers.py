"""Which carrier leads to a server from here: what worked is remembered, per server and network (protocol 6, CA5)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.wire import Carrier
from ..net.network import network
from ..net.timers import now
from ..protocol.carriers import Known, Turn, order, patience

Server = tuple[str, int]
Key = tuple[str, str]  # server, network


class Memory(Protocol):
    """What outlives this program."""

    def look(self, server: str, network: str) -> Known | None:
        """What is known of the way to a server, host:port, from a network."""

    def keep(self, server: str, network: str, known: Known) -> None:
        """It is known from now on. Where that fails nothing is raised."""


class Carriers:
    """Any thread. `offered` are those that may be tried; with one alone nothing is chosen, nor remembered."""

    def __init__(
        self,
        offered: Sequence[Carrier] = (Carrier.RAW,),
        memory: Memory | None = None,
        here: Callable[[], str] = network,
        forced: bool = False,
    ) -> None:
        """`here()` names the network that this machine is on; `forced`: somebody asked for this carrier alone."""
        self.offered, self.forced = offered, forced
        self._memory, self._here = memory, here
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, Known | None] = OrderedDict()  # None: looked for
        self._unkept: OrderedDict[Key, Known] = OrderedDict()  # learnt, and not written yet
        self._round_trips: OrderedDict[Key, float] = OrderedDict()  # seconds
        self._turns: OrderedDict[Key, Turn] = OrderedDict()  # to resume over, until a new session is made

    def order(self, server: Server) -> list[Carrier]:
        """In which order a new session tries them."""
        return order(self.offered, self._look(self._key(server)), time.time())

    def current(self, server: Server) -> Carrier:
        """The one for the next attempt to resume: what worked, or where that failed since, each other one in turn."""
        return self._turn(self._key(server))[0].now

    def hurried(self, server: Server, carrier: Carrier) -> bool:
        """Whether an attempt to resume over it is soon given up, since the next one takes another."""
        turn, ordered = self._turn(self._key(server))
        return turn.now is not carrier or turn.hurried(ordered)

    def first(self, server: Server, carrier: Carrier, doubtful: bool = False) -> float | None:
        """Until when, of `timers.now`, an attempt that begins to resume over it must have an answer to go on.

        `doubtful`: it may get none for another reason than the carrier, and the next one would.
        """
        with self._lock:
            round_trip = self._round_trips.get(self._key(server), 0.0)
        return now() + patience(round_trip) if doubtful or self.hurried(server, carrier) else None

    def worked(self, server: Server, carrier: Carrier, round_trip: float = 0.0) -> None:
        """A new session was made over it, with an answer after so many seconds: this is remembered."""
        key = self._key(server)
        before = self._look(key)
        with self._lock:
            self._turns.pop(key, None)
            self._round_trips[key] = round_trip
            _bound(self._round_trips)
        if order(self.offered, before, time.time())[0] is not carrier:
            self._learn(key, Known(carrier, int(time.time()), before.most if before is not None else limits.BODY))
        self._keep()

    def resumed(self, server: Server, carrier: Carrier) -> None:
        """A session was resumed over it. That is remembered for other sessions to be resumed, until a new one is made:
        where the others failed it may have been the network that did."""
        key = self._key(server)
        with self._lock:
            self._turns[key] = Turn(carrier, carrier, carrier)
            _bound(self._turns)
        self._keep()

    def failed(self, server: Server, carrier: Carrier) -> None:
        """An attempt to resume over it brought no answer: the next attempt takes another."""
        key = self._key(server)
        turn, ordered = self._turn(key)
        with self._lock:
            if turn.now is carrier and self._turns.get(key, turn) == turn:
                self._turns[key] = turn.failed(ordered)
                _bound(self._turns)

    def most(self, server: Server) -> int:
        """Bytes of a body that this network takes, as far as is known (HP7)."""
        known = self._look(self._key(server))
        return known.most if known is not None else limits.BODY

    def refused(self, server: Server, most: int) -> None:
        """It takes no larger bodies than `most`. Never blocks: what is remembered is written when something worked."""
        key = self._key(server)
        known = self._look(key) or Known(Carrier.HTTP, int(time.time()))
        self._learn(key, known._replace(most=most))

    def _key(self, server: Server) -> Key:
        return join_host_port(*server), self._here()

    def _turn(self, key: Key) -> tuple[Turn, list[Carrier]]:
        """And the order from which the others come."""
        ordered = order(self.offered, self._look(key), time.time())
        with self._lock:
            return self._turns.get(key) or Turn(ordered[0], ordered[0], ordered[0]), ordered

    def _look(self, key: Key) -> Known | None:
        with self._lock:
            if key in self._known:
                return self._known[key]
        known = self._memory.look(*key) if self._memory is not None else None
        with self._lock:
            self._known.setdefault(key, known)
            _bound(self._known)
            return self._known.get(key)

    def _learn(self, key: Key, known: Known) -> None:
        with self._lock:
            self._known[key] = known
            self._unkept[key] = known
            _bound(self._known)
            _bound(self._unkept)

    def _keep(self) -> None:
        with self._lock:
            unkept, self._unkept = self._unkept, OrderedDict()
        for key, known in unkept.items():
            if self._memory is not None:
                self._memory.keep(*key, known)


def _bound(kept: OrderedDict[Key, Any]) -> None:
    while len(kept) > limits.CARRIERS_KNOWN:
        kept.popitem(last=False)
