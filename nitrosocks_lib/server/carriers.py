"""Requests whose token is ours: WebSockets, and the `http` carriers by their ids (protocol 6, TK4, WS, HP9)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from ..facts import limits, wire
from ..facts.wire import Carrier as Kind
from ..facts.wire import What
from ..net.pipe import Progress, pair
from ..net.timers import now
from ..net.turns import Turns
from ..net.websocket import WebSocketLink
from ..protocol.downs import Answer
from ..protocol.heads import accepted, switching
from ..protocol.http1 import Head, value
from ..protocol.judge import Ours, Piece
from ..protocol.nonces import Carried, Nonces
from .carrier import Carrier
from .stranger import Stranger
from .visitor import Asked, Exchange, Found
from .web import Web

log = logging.getLogger(__name__)
_LEAST = wire.KNOCK + wire.HELLO  # bytes of up 0 (HP4)


class Parked:
    """A request whose id has no up 0 yet, unread; an Exchange."""

    reads = False

    def __init__(self, id_: Waiting, visit: Asked, ours: Ours[Found]) -> None:
        self.visit, self.ours = visit, ours
        self._id = id_

    def begin(self) -> None:
        """As in Exchange."""

    def body(self, piece: Piece) -> None:
        """As in Exchange; it is not read."""

    def whole(self) -> None:
        """As in Exchange; it is not read."""

    def broken(self, raw: bytes) -> None:
        """As in Exchange; it is not read."""

    def gone(self) -> None:
        """As in Exchange."""
        self._id.parked.remove(self)

    def refuse(self) -> None:
        """It goes to the decoy."""
        self.visit.refuse(self.ours.head, self.ours.head.raw)


class First(Parked):
    """Up 0, whose body is to begin a carrier; an Exchange."""

    def __init__(self, id_: Waiting, visit: Asked, ours: Ours[Found]) -> None:
        super().__init__(id_, visit, ours)
        self.reads = True
        self.data = bytearray()
        self._raw = bytearray(ours.head.raw)

    def begin(self) -> None:
        """As in Exchange."""
        if self.ours.head.expects:
            self.visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body(self, piece: Piece) -> None:
        """As in Exchange."""
        self.data += piece.data
        self._raw += piece.raw
        if len(self.data) > limits.BODY or len(self._raw) > 2 * limits.BODY:
            self._id.refuse()

    def whole(self) -> None:
        """As in Exchange."""
        self.reads = False
        self._id.came(self)

    def broken(self, raw: bytes) -> None:
        """As in Exchange."""
        self._raw += raw
        self._id.refuse()

    def gone(self) -> None:
        """As in Exchange."""
        self._id.first = None
        self._id.go_on_with_repeat()

    def refuse(self) -> None:
        """It goes to the decoy, with all that came of it."""
        self.visit.refuse(self.ours.head, bytes(self._raw))


class Waiting:
    """An id that no up 0 has brought a knock for yet. It has turns of the web thread."""

    def __init__(self, carriers: Carriers, carried: Carried) -> None:
        self.carried = carried
        self.parked: list[Parked] = []
        self.first: First | None = None
        self._carriers = carriers
        self._until = now() + limits.WAITING_TIME
        self._judged = False  # the body of an up 0 is with the entrance

    def take(self, visit: Asked, ours: Ours[Found]) -> Exchange | None:
        """One more request of it."""
        said, _ = ours.found
        if said.what is What.UP and said.n == 0 and self.first is None and not self._judged:
            self.first = First(self, visit, ours)
            return self.first
        if len(self.parked) >= limits.WAITING:
            return None
        self.parked.append(Parked(self, visit, ours))
        return self.parked[-1]

    def go_on_with_repeat(self) -> None:
        """The up 0 that was read has gone with its connection: one that came meanwhile takes its place."""
        repeats = (each for each in self.parked if each.ours.found[0].what is What.UP and not each.ours.found[0].n)
        if not self._judged and (repeat := next(repeats, None)) is not None:
            self.parked.remove(repeat)
            self.first = First(self, repeat.visit, repeat.ours)
            repeat.visit.give(self.first)
            repeat.visit.resume()

    def came(self, first: First) -> None:
        """The body of up 0 is whole."""
        if len(first.data) < _LEAST or not self._carriers.show(self, first):
            self.refuse()
        else:
            self._judged = True

    def refuse(self) -> None:
        """All of it is the decoy's."""
        self._carriers.forget(self)
        for request in [*([self.first] if self.first is not None else []), *self.parked]:
            request.refuse()

    def go_on(self) -> None:
        """Looks at the time."""
        if now() >= self._until and not self._judged:
            self.refuse()
        else:
            self._carriers.turns.at(self._until if not self._judged else now() + limits.HANDSHAKE, self)

    def close(self) -> None:
        """The thread ends."""


class Carriers:
    """The web thread's."""

    def __init__(self, nonces: Nonces, served: frozenset[Kind], come: Callable[[Stranger], None]) -> None:
        """`come` hands a stranger to the entrance; `web` is to be set before the first request."""
        self.web: Web
        self.held = 0
        self._nonces, self._served, self._come = nonces, served, come
        self._living: dict[bytes, Carrier] = {}
        self._waiting: dict[bytes, Waiting] = {}

    def begin(self, visit: Asked, ours: Ours[Found]) -> Exchange | None:
        """What answers a request whose token is ours; None: it is the decoy's, or the visit was given away."""
        said, hour = ours.found
        carried = Carried(said.id, hour)
        if said.what is What.WEBSOCKET:
            self._upgrade(visit, ours.head, carried)
            return None
        if Kind.HTTP not in self._served or ours.head.method != b"POST":
            return None
        if (carrier := self._living.get(said.id)) is not None:
            return self._of(carrier, visit, ours)
        return self._wait(visit, ours, carried)

    def _wait(self, visit: Asked, ours: Ours[Found], carried: Carried) -> Exchange | None:
        waiting = self._waiting.get(carried.id)
        if waiting is None:  # else the entrance may have stored the id just now
            full = len(self._waiting) >= limits.IDS_WAITING or len(self._living) >= limits.CARRIERS
            if full or not self._nonces.may_begin(carried):
                return None
            waiting = self._waiting[carried.id] = Waiting(self, carried)
            self.turns.join(waiting)
            self.turns.again(waiting)
        return waiting.take(visit, ours)

    def _of(self, carrier: Carrier, visit: Asked, ours: Ours[Found]) -> Exchange:
        said, _ = ours.found
        if carrier.lives:
            visit.unseat()
        if said.what is What.UP:
            return carrier.up(visit, said.n, ours.head)
        return carrier.down(visit, said.n)

    # -- websocket ----------------------------------------------------------------------------------------------------

    def _upgrade(self, visit: Asked, head: Head, carried: Carried) -> None:
        key = value(head.headers, b"sec-websocket-key")
        asks = value(head.headers, b"upgrade").lower() == b"websocket" and head.method == b"GET" and key
        version = value(head.headers, b"sec-websocket-version")
        if not asks or version != b"13" or Kind.WEBSOCKET not in self._served or not self._nonces.may_begin(carried):
            return
        visitor = visit.upgrade(switching(accepted(key.decode("latin-1")), self.unix(), self.server()))
        if visitor is not None:
            link = WebSocketLink(visitor.tls, serving=True, unread=visitor.got)
            self._come(Stranger.over(link, visitor.peer, visitor.source, now()).by(Kind.WEBSOCKET, carried))

    # -- http ---------------------------------------------------------------------------------------------------------

    def show(self, waiting: Waiting, first: First) -> bool:
        """Has the entrance look at the body of an up 0; False where no pipe can be made."""
        progress, visit = Progress(), first.visit
        try:
            link, pipe = pair(progress, visit.tls.remote(), presented=visit.tls.presented_hash())
        except OSError:
            return False
        carrier = Carrier(self, waiting.carried.id, pipe, progress)
        self.turns.join(carrier)
        carrier.first(first.data)
        verdict = partial(self._known, waiting, carrier)
        stranger = Stranger.over(link, visit.peer, visit.source, now())
        call = self.turns.call
        admitted = lambda: call(carrier.admit)  # noqa: E731
        self._come(stranger.by(Kind.HTTP, waiting.carried, lambda ours: call(lambda: verdict(ours)), admitted))
        return True

    def _known(self, waiting: Waiting, carrier: Carrier, ours: bool) -> None:
        """The entrance has looked at it."""
        if not ours:
            carrier.close()
            self.turns.part(carrier)
            waiting.refuse()
            return
        self._living[carrier.id] = carrier
        self.forget(waiting)
        first = waiting.first
        if first is not None:
            first.visit.answer(carrier.said(Answer(200)))
        for parked in list(waiting.parked):
            parked.visit.give(self._of(carrier, parked.visit, parked.ours))
            parked.visit.resume()
        carrier.moved()

    def forget(self, waiting: Waiting) -> None:
        """It waits no more."""
        self._waiting.pop(waiting.carried.id, None)
        self.turns.part(waiting)

    # -- what carriers call -------------------------------------------------------------------------------------------

    def over(self, carrier: Carrier) -> None:
        """It answers nothing any more."""
        carrier.close()
        self._living.pop(carrier.id, None)
        self.turns.part(carrier)

    @property
    def turns(self) -> Turns:
        """As in carrier.Host, and so are the others."""
        return self.web.turns

    def unix(self) -> float:
        """As in Host."""
        return time.time()

    def server(self) -> str:
        """As in Host."""
        return self.web.decoy.server if self.web.decoy is not None else "nginx"
