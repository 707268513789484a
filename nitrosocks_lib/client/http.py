"""The carrier `http` of a client (protocol 6): one thread that moves the requests of all carriers to all servers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ..facts.errors import NetworkError
from ..facts.words import said
from ..net.ondemand import OnDemand
from ..net.pipe import PipeLink, Progress, pair
from ..net.timers import now
from ..net.wake import Waiter
from .exchanges import Exchanges
from .updown import HttpCarrier, Way

log = logging.getLogger(__name__)
Server = tuple[str, int]


class Http:
    """One per program; any thread may call `open`. Carriers to one server share its connections."""

    def __init__(self) -> None:
        self._waiter = Waiter()
        self._posted: deque[Callable[[float], None]] = deque()
        self._servers: dict[Server, Exchanges] = {}
        self._carriers: set[HttpCarrier] = set()
        self._thread = OnDemand("http", self._run)

    def open(self, server: Server, way: Way, hour: Callable[[], int]) -> PipeLink:
        """A new carrier, when a first connection stands: a server that cannot be reached fails as with `raw`. Blocks.

        `hour` is asked for each request (TK3). Raises NetworkError. The link's first bytes are to be a GREETING or a
        RESUME.
        """
        link = way.dial()
        try:
            progress = Progress(certificate=link.certificate(), version=link.version())
            near, far = pair(progress, link.remote())
        except OSError as error:
            link.close()
            raise NetworkError(f"cannot open the http carrier: {error.strerror}") from None

        def begin(at: float) -> None:
            exchanges = self._exchanges(server, way)
            carrier = HttpCarrier(way, hour, far, progress, exchanges, self._waiter)
            self._carriers.add(carrier)
            exchanges.join(carrier, link, at)
            self._guard(carrier.turn, at, carrier.lose)

        if not self._post(begin):
            link.close()
            far.close()
            near.close()
            raise NetworkError("the http carrier has ended")
        return near

    def _exchanges(self, server: Server, way: Way) -> Exchanges:
        exchanges = self._servers.get(server)
        if exchanges is None:
            exchanges = self._servers[server] = Exchanges(way.dial, self._waiter, self._post)
        exchanges.dial = way.dial
        return exchanges

    def _post(self, action: Callable[[float], None]) -> bool:
        """Has the thread call `action(now)`, any thread; False where there is none, or it ends."""
        given = self._thread.give(lambda: self._posted.append(action))
        if given:
            self._waiter.set()
        return given

    def stop(self) -> None:
        """Ends all carriers; the program, or a test, ends. The caller's last call."""
        self._thread.stop(self._waiter.set)
        self._waiter.close()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._waiter.clear()
            if self._thread.stopped:
                break
            self._take_posts()
            self._guard(self._expire, now())
            for (ready, fail), _ in self._waiter.select(self._wait(now())):
                self._guard(ready, now(), fail)
        self._take_posts()  # they bring connections
        for carrier in self._carriers:
            carrier.lose("the program ends")
        for exchanges in self._servers.values():
            exchanges.close()

    def _take_posts(self) -> None:
        while self._posted:
            self._guard(self._posted.popleft(), now())

    def _guard(self, action: Callable[[float], None], at: float, fail: Callable[[str], None] | None = None) -> None:
        """A fault in one carrier must not end the thread, which is everybody's; `fail` ends that carrier."""
        try:
            action(at)
        except Exception as error:
            log.exception("the http carrier failed")
            if fail is not None:
                fail(said(error))

    def _expire(self, at: float) -> None:
        for exchanges in self._servers.values():
            if exchanges.due <= at:
                exchanges.expire(at)
        for carrier in [each for each in self._carriers if each.over or each.until <= at]:
            carrier.lose("its end was not answered")
            self._carriers.discard(carrier)

    def _wait(self, at: float) -> float | None:
        due = [exchanges.due for exchanges in self._servers.values()] + [each.until for each in self._carriers]
        first = min(due, default=float("inf"))
        return None if first == float("inf") else max(0.0, first - at)
