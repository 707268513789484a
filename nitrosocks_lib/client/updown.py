"""One carrier `http` at the client: a session's stream as ups and downs (protocol 6, HP3 to HP8)."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ..crypto.token import Token, Tokens
from ..facts import limits, wire
from ..facts.errors import CarrierLost, NetworkError
from ..facts.wire import What
from ..net.link import Link
from ..net.pipe import Progress, is_left
from ..net.wake import Waiter
from ..protocol.cookies import Cookies
from ..protocol.downs import Answer, DownAsker
from ..protocol.heads import post
from ..protocol.page import Page
from ..protocol.repeats import Repeats
from ..protocol.ups import UpSender, halved
from .exchange import Answered, Request
from .exchanges import Exchanges

log = logging.getLogger(__name__)
_TOO_LARGE = 413
_MINUTE = 60.0


@dataclass(slots=True, repr=False)
class Way:
    """How requests get to a server, and what they say. Its functions are called by several threads.

    The cookies are those of the carrier that was given some last: the next one should reach the same node.
    """

    dial: Callable[[], Link]  # blocks; raises NetworkError
    tokens: Tokens
    host: str  # of the Host header, with a port where it is not 443
    prefix: str = ""
    most: Callable[[], int] = lambda: limits.BODY  # bytes of a body, as far as the network is known
    refused: Callable[[int], None] = lambda most: None  # 413 came: bodies have `most` bytes from now on
    cookies: Cookies = field(init=False)
    page: Page = field(init=False)  # the http thread's
    met: bool = field(init=False, default=False)  # a carrier has begun there: what cookies it gives is known

    def __post_init__(self) -> None:
        self.cookies = Cookies(self.prefix)
        self.page = Page(self.prefix, os.urandom)


class HttpCarrier:
    """The http thread's. `far` is its end of the pipe, whose other end the session has."""

    def __init__(
        self,
        way: Way,
        hour: Callable[[], int],
        far: socket.socket,
        progress: Progress,
        exchanges: Exchanges,
        waiter: Waiter,
    ) -> None:
        """`hour` is the one of now, at the server's clock as far as that is known."""
        self.over = False
        self.until = float("inf")  # seconds of `timers.now`: behind the session's end, it ends at the latest
        self._id = os.urandom(wire.CARRIER_ID)
        self._way, self._hour, self._far, self._progress = way, hour, far, progress
        self._exchanges, self._waiter = exchanges, waiter
        self._cookies = way.cookies.copy()
        self._ups, self._downs = UpSender(way.most()), DownAsker()
        self._first = b""  # what came of up 0
        self._begun = False  # up 0 is answered
        self._read_all = False  # the session ended what it sends
        self._rest = memoryview(b"")  # of an answer, that the pipe did not take
        self._sent: dict[int, int] = {}  # bytes of each up under way that were counted as sent
        self._took: list[tuple[float, float]] = []  # (when, seconds) of ups: the longest of the last minute is first
        self._heard, self._lively_until = 0.0, float("inf")  # inf: until the first answer with bytes
        self._interest = 0
        self._last_words = b""  # the head of what answered up 0 in our server's place

    # -- moving bytes -------------------------------------------------------------------------------------------------

    def turn(self, at: float) -> None:
        """Does all that is possible now. It ends the carrier, and raises nothing, when that fails."""
        if self.over:
            return
        try:
            self._deliver()
            self._gather(at)
            if self._may_park and not self._is_left:
                self._downs.ask(limits.DOWNS if at < self._lively_until else 1)
            self._submit(at)
        except (CarrierLost, OSError) as error:
            self.lose(str(error))
        else:
            self._end_or_watch()

    @property
    def _may_park(self) -> bool:
        """Downs go beside up 0, so that its answer is there sooner; not before a balancer could give its cookies."""
        return self._begun or (self._way.met and self._ups.least == 1)

    def _deliver(self) -> None:
        """Bytes of answers, into the pipe; while it is full, no further ones are asked for."""
        while True:
            self._rest = self._rest or memoryview(self._downs.take() or b"")
            if not self._rest:
                return
            try:
                sent = self._far.send(self._rest)
            except BlockingIOError:
                return
            except OSError:  # nobody reads any more; what the session wrote before goes out all the same
                self._rest = memoryview(b"")
                return
            self._rest = self._rest[sent:]

    def _gather(self, at: float) -> None:
        """What is in the pipe, into bodies; up 0 waits until it is long enough (HP4)."""
        while not self._read_all and (room := self._ups.room):
            try:
                data = self._far.recv(room - len(self._first))
            except BlockingIOError:
                return
            if not data:
                self._finish(at)
                return
            self._first += data
            if len(self._first) >= self._ups.least:
                self._ups.put(self._first)
                self._first = b""

    def _finish(self, at: float) -> None:
        """The session ended what it sends: an empty up says so. Nothing was begun where up 0 did not get that far."""
        if self._first or self._ups.least > 1:
            raise CarrierLost("the session ended before it began")
        self._read_all = True
        self._ups.put(b"")
        self.until = at + limits.RELEASE

    @property
    def _is_left(self) -> bool:
        """Whether the session has closed its end, or aborted it: nobody reads what comes."""
        return self._read_all and is_left(self._far)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _submit(self, at: float) -> None:
        """Puts what is due on connections, as far as there are any."""
        waiting, fresh = 0, False
        for what in (What.UP,) if self._is_left else (What.UP, What.DOWN):
            requests = self._requests(what)
            for n in requests.due:
                again = requests.fresh(n)
                exchange = None if waiting else self._exchanges.take(what, again)
                if exchange is None:
                    waiting, fresh = waiting + 1, fresh or again
                    continue
                request = self._request(what, n, at)
                requests.began(n, at)
                if what is What.UP and n == 0:  # the session is judged by it
                    self._progress.certificate = exchange.link.certificate()
                self._exchanges.begin(exchange, request, self._head(request), at)
        self._exchanges.want(self, waiting, fresh)

    def _request(self, what: What, n: int, at: float) -> Request:
        if what is What.DOWN:
            return Request(self, what, n, b"", limits.DOWN_ANSWER, _nothing)
        return Request(self, what, n, self._ups.body(n), self._patience(at), lambda sent: self._wrote(n, sent))

    def _head(self, request: Request) -> bytes:
        """Made anew for each attempt: its hour, its cookies and its page are those of now."""
        token = self._way.tokens.make(self._hour(), Token(self._id, request.what, request.n))
        cookies = self._cookies.field(time.time()).decode("latin-1")
        page = self._way.page.address()
        return post(self._way.host, f"{self._way.prefix}/{token}", len(request.body), cookies, page)

    def _wrote(self, n: int, sent: int) -> None:
        """So much of up n has left; what is sent again counts once."""
        if sent > (before := self._sent.get(n, 0)):
            self._sent[n] = sent
            self._progress.sent += sent - before

    def _patience(self, at: float) -> float:
        """As D (DB1), of the ups of this carrier."""
        longest = next((seconds for when, seconds in self._took if at - when < _MINUTE), 0.0)
        return min(max(limits.UP_ANSWER, 4 * longest), limits.DOUBT_MOST)

    # -- what became of them ------------------------------------------------------------------------------------------

    def answered(self, request: Request, answer: Answered, at: float) -> None:
        """An answer came, ours or not."""
        log.debug("http: %s %d: %d, %d bytes", request.what.name.lower(), request.n, answer.status, len(answer.body))
        if given := [content for name, content in answer.headers if name == b"set-cookie"]:
            self._cookies.take(given, time.time())
            self._way.cookies = self._cookies.copy()
        if answer.status == _TOO_LARGE:
            most = halved(min(self._ups.most, len(request.body)))
            self._way.refused(most)
            self.lose(f"a box on the way refuses bodies of {len(request.body)} bytes; {most} are sent from now on")
        elif answer.is_ours(request.what):
            self._settle(request, answer, at)
            self.turn(at)
        else:
            if not self._begun:
                self._last_words = answer.raw
            self.failed(request, f"a web server answered {answer.status}", at)

    def _settle(self, request: Request, answer: Answered, at: float) -> None:
        if request.what is What.DOWN:
            self._downs.answered(request.n, Answer(answer.status, answer.body))
            if size := len(answer.body):
                lively = at - self._heard < limits.LIVELY or size >= limits.LIVELY_BYTES
                self._heard, self._lively_until = at, at + (limits.LIVELY if lively else 0.0)
            return
        self._begun = self._way.met = True
        self._wrote(request.n, len(request.body))
        self._sent.pop(request.n, None)
        self._progress.acknowledged += len(request.body)
        took = at - request.began
        self._progress.round_trip = min(self._progress.round_trip or took, took)
        self._took = [one for one in self._took if one[1] > took and at - one[0] < _MINUTE] + [(at, took)]
        self._ups.answered(request.n)

    def failed(self, request: Request, reason: str, at: float) -> None:
        """It is repeated on a fresh connection; after three times the carrier is lost (HP7)."""
        log.debug("http: %s %d failed: %s", request.what.name.lower(), request.n, reason)
        try:
            self._requests(request.what).failed(request.n)
        except CarrierLost as error:
            self.lose(f"{error}: {reason}")
        else:
            self.turn(at)

    def _requests(self, what: What) -> Repeats:
        return self._ups.requests if what is What.UP else self._downs.requests

    def unreached(self, error: NetworkError, at: float) -> None:
        """A connection could not be made: that counts for the first request that is due."""
        for what in (What.UP, What.DOWN):
            requests = self._requests(what)
            if requests.due:
                n = requests.due[0]
                requests.began(n, at)
                self.failed(self._request(what, n, at), str(error), at)
                return

    # -- the end ------------------------------------------------------------------------------------------------------

    def _end_or_watch(self) -> None:
        """The end of either direction ends the carrier (HP8), behind the last byte of what was answered."""
        if self._downs.ended and not self._rest:
            self._close()
        elif self._is_left:
            self._exchanges.abandon(lambda request: request.asker is self and request.what is What.DOWN)
            if self._ups.ended:
                self._close()
            else:
                self._watch(0)
        else:
            reads = not self._read_all and self._ups.room
            self._watch((selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._rest else 0))

    def _watch(self, interest: int) -> None:
        if interest == self._interest:
            return
        self._interest = interest
        if interest:
            self._waiter.watch(self._far.fileno(), interest, (self.turn, self.lose))
        else:
            self._waiter.forget(self._far.fileno())

    def lose(self, reason: str) -> None:
        """The carrier is lost, as a TCP connection is: the session sees the end of the pipe behind what came."""
        if self.over:
            return
        log.debug("http: the carrier is lost: %s", reason)
        with suppress(OSError):  # the pipe is full, or nobody reads
            if self._last_words and not self._begun:
                self._far.send(self._last_words)  # as on `raw`: then the greeting knows that a web server answered
        self._close()

    def _close(self) -> None:
        self._watch(0)
        self.over = True
        self._far.close()
        self._exchanges.leave(self)


def _nothing(_: int) -> None:
    return None
