"""The connections to one server over which requests of the carrier `http` go (protocol 6, HP2): few, and disposable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from ..facts import limits
from ..facts.errors import NetworkError
from ..facts.wire import What
from ..facts.words import said
from ..net.link import Link
from ..net.timers import now
from ..net.wake import Waiter
from .exchange import Asker, Exchange, Request

log = logging.getLogger(__name__)
_READ = 1 << 18  # bytes that one read takes at most: a down's answer comes in few pieces


class Exchanges:
    """The http thread's, but for the short threads that dial.

    Whoever has requests that are due calls `take` for each, then `begin`; where there is none to be had, `want`. Then
    its `turn` is called when one may be free.
    """

    def __init__(
        self, dial: Callable[[], Link], waiter: Waiter, post: Callable[[Callable[[float], None]], bool]
    ) -> None:
        """`dial` blocks and raises NetworkError; `post` has the http thread call something, False when it ended."""
        self.dial = dial  # the latest way there
        self._waiter, self._post = waiter, post
        self._all: dict[int, Exchange] = {}  # by descriptor
        self._idle: list[Exchange] = []  # the one that was used last is last
        self._askers: set[Asker] = set()
        self._wanting: dict[Asker, int] = {}  # how many each wants; in turn
        self._dialling = 0
        self._disposable = False  # the last one took no further request: some boxes have it so
        self._buffer = memoryview(bytearray(_READ))
        self.due = float("inf")  # when to call `expire` (seconds of `timers.now`)

    def __len__(self) -> int:
        return len(self._all)

    # -- who asks -----------------------------------------------------------------------------------------------------

    def join(self, asker: Asker, link: Link, at: float) -> None:
        """A new carrier, with the connection that was made for it.

        Those that are idle are closed: the carrier may be new because the network changed, and they lead nowhere.
        """
        self._askers.add(asker)
        self._close_idle()
        self._add(link, at)

    def leave(self, asker: Asker) -> None:
        """A carrier is over: its requests are abandoned, and nobody hears of them."""
        self._askers.discard(asker)
        self._wanting.pop(asker, None)
        self.abandon(lambda request: request.asker is asker)
        if not self._askers:
            self._close_idle()

    def abandon(self, which: Callable[[Request], bool]) -> None:
        """Ends the connections of these requests."""
        for exchange in list(self._all.values()):
            if exchange.request is not None and which(exchange.request):
                self._close(exchange)

    def take(self, what: What, fresh: bool) -> Exchange | None:
        """An idle connection, not used before where it is to be fresh; None when there is none.

        One connection is kept from downs, which would park on it: no up might go then where no more can be made.
        """
        if what is What.DOWN and self._parked + 1 >= len(self._all):
            return None
        for exchange in reversed(self._idle):
            if not (fresh and exchange.used):
                self._idle.remove(exchange)
                return exchange
        return None

    def begin(self, exchange: Exchange, request: Request, head: bytes, at: float) -> None:
        """Puts a request on a connection that was taken.

        A spare is made beside the last idle one where downs follow soon, or connections take one request each.
        """
        exchange.begin(request, head, at)
        self._watch(exchange)
        soon = self._disposable or (request.what is What.UP and not request.n)
        if soon and not self._idle and not self._dialling and len(self._all) <= self._most:
            self._start_dial()

    def want(self, asker: Asker, count: int, fresh: bool) -> None:
        """So many requests of it are due that found no connection; it waits at the end of the row. 0: none."""
        self._wanting.pop(asker, None)
        if not count:
            return
        self._wanting[asker] = count
        if fresh and self._idle and len(self._all) + self._dialling >= self._most:
            self._close(self._idle[0])
        while self._dialling < sum(self._wanting.values()) and len(self._all) + self._dialling < self._most:
            if not self._start_dial():
                break

    @property
    def _parked(self) -> int:
        """Connections that have a down."""
        return sum(each.request is not None and each.request.what is What.DOWN for each in self._all.values())

    @property
    def _most(self) -> int:
        return limits.EXCHANGES + limits.DOWNS * len(self._askers)

    # -- dialling -----------------------------------------------------------------------------------------------------

    def _start_dial(self) -> bool:
        try:
            threading.Thread(target=self._dial, args=[self.dial], name="http dial", daemon=True).start()
        except RuntimeError:  # no thread is left; what is due waits for the connections that there are
            return False
        self._dialling += 1
        return True

    def _dial(self, dial: Callable[[], Link]) -> None:
        try:
            link = dial()
        except NetworkError as error:
            failed = error
            self._post(lambda at: self._unreached(failed, at))
        except Exception as error:  # a fault in one dial must not leave those waiting that need it
            log.exception("a dial failed")
            fault = NetworkError(said(error))
            self._post(lambda at: self._unreached(fault, at))
        else:
            if not self._post(lambda at: self._reached(link, at)):
                link.close()

    def _reached(self, link: Link, at: float) -> None:
        self._dialling -= 1
        if self._askers:
            self._add(link, at)
            self._serve(at)
        else:
            link.close(now())

    def _unreached(self, error: NetworkError, at: float) -> None:
        """Counts for the one who has waited for longest; a spare that was not reached counts for nobody."""
        self._dialling -= 1
        if self._wanting:
            asker = next(iter(self._wanting))
            del self._wanting[asker]  # it says anew what it wants
            self._tell(asker, lambda: asker.unreached(error, at))

    def _add(self, link: Link, at: float) -> None:
        exchange = Exchange(link, at)
        self._all[link.fd] = exchange
        self._idle.append(exchange)
        self._watch(exchange)

    # -- events -------------------------------------------------------------------------------------------------------

    def _watch(self, exchange: Exchange) -> None:
        acts = partial(self.ready, exchange), partial(self._fault, exchange)
        self._waiter.watch(exchange.link.fd, exchange.wants, acts)
        self.due = min(self.due, exchange.deadline)

    def ready(self, exchange: Exchange, at: float) -> None:
        """The descriptor of a connection is ready."""
        if self._all.get(exchange.link.fd) is not exchange:  # ended by what was told before it
            return
        request, wanted = exchange.request, exchange.wants
        try:
            answered = exchange.advance(self._buffer, at)
        except NetworkError as error:
            self._fail(exchange, str(error), at)
            return
        if answered is None:
            if exchange.wants != wanted:
                self._watch(exchange)
            return
        assert request is not None, "there is no answer without a request"
        self._disposable = exchange.deadline <= at
        if not self._disposable:
            self._idle.append(exchange)
            if exchange.wants != wanted:
                self._watch(exchange)
        else:
            self._close(exchange)
        self._tell(request.asker, lambda: request.asker.answered(request, answered, at))
        self._serve(at)

    def _fault(self, exchange: Exchange, reason: str) -> None:
        """An error of ours: whoever asked is lost by it, and nobody else."""
        request = exchange.request
        self._close(exchange)
        if request is not None:
            request.asker.lose(reason)

    def _fail(self, exchange: Exchange, reason: str, at: float) -> None:
        request = exchange.request
        self._close(exchange)
        if request is not None:
            self._tell(request.asker, lambda: request.asker.failed(request, reason, at))
        self._serve(at)

    def _serve(self, at: float) -> None:
        """Those that wait for a connection, each once."""
        for asker in list(self._wanting):
            if not self._idle and self._dialling:
                return
            if asker in self._wanting:
                self._tell(asker, partial(asker.turn, at))

    def _tell(self, asker: Asker, what: Callable[[], None]) -> None:
        """An error of ours in one carrier ends that one, and no other."""
        try:
            what()
        except Exception as error:
            log.exception("an http carrier failed")
            asker.lose(said(error))

    def expire(self, at: float) -> None:
        """Requests without an answer fail; a time-out makes idle connections suspect. Idle ones end in time."""
        for exchange in list(self._all.values()):
            if exchange.deadline > at or self._all.get(exchange.link.fd) is not exchange or exchange.progresses(at):
                continue
            if exchange.request is not None:
                self._close_idle()
                self._fail(exchange, "no answer in time", at)
            else:
                self._close(exchange)
        self.due = min((exchange.deadline for exchange in self._all.values()), default=float("inf"))

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _close_idle(self) -> None:
        for exchange in list(self._idle):
            self._close(exchange)

    def _close(self, exchange: Exchange) -> None:
        self._waiter.forget(exchange.link.fd)
        if self._all.pop(exchange.link.fd, None) is not None:
            if exchange in self._idle:
                self._idle.remove(exchange)
            exchange.request = None
            exchange.link.close(now())

    def close(self) -> None:
        """Ends them all."""
        for exchange in list(self._all.values()):
            self._close(exchange)
