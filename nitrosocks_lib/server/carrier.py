"""One `http` carrier that lives: its requests, and the pipe to its session (protocol 6, HP3 to HP8)."""

from __future__ import annotations

import math
import random
import selectors
import socket
from collections import deque
from contextlib import suppress
from typing import Protocol

from ..facts import limits
from ..facts.errors import CarrierLost
from ..net.pipe import Progress, is_left
from ..net.timers import now
from ..net.turns import Turns
from ..protocol.downs import NO_CONTENT, Answer, DownAnswerer, Sends
from ..protocol.heads import answer, failure
from ..protocol.http1 import Head
from ..protocol.ups import Up, UpReceiver
from .updown import DownRequest, UpRequest
from .visitor import Asked


class Host(Protocol):
    """What it asks of those who know all carriers; `Carriers` is it."""

    held: int  # bytes of bodies that are held, of all carriers

    @property
    def turns(self) -> Turns:
        """Of the web thread."""

    def unix(self) -> float:
        """Seconds, as on the wall."""

    def server(self) -> str:
        """How the decoy names itself, else a common server."""

    def over(self, carrier: Carrier) -> None:
        """It answers nothing any more."""


class Carrier:
    """The web thread's."""

    def __init__(self, host: Host, carrier_id: bytes, pipe: socket.socket, progress: Progress) -> None:
        """`pipe` is the carrier's end of the pair."""
        self.host, self.id = host, carrier_id
        self._ups, self._downs = UpReceiver(), DownAnswerer()
        self._requests, self._asks = set[UpRequest](), set[DownRequest]()  # not answered
        self._admitted = False  # its handshake is done
        self._holds = 0  # bytes of bodies
        self._pipe: socket.socket | None = pipe
        self._progress = progress
        self._into = memoryview(b"")  # what the pipe did not take yet
        self._in_pipe = self._taken = 0  # so many bodies are in the pipe, and were taken for it
        self._gathered, self._gather_until = bytearray(), 0.0  # out of the pipe, and until when; 0: nothing is
        self._given: deque[tuple[int, int, float]] = deque()  # m, bytes of all up to it, and when it was answered
        self._bulk = False  # the last answer with bytes was a large one
        self._asked = now()  # when the last request came
        self._left = math.inf  # since when nobody is seen to be behind the pipe, while nobody asks for its last bytes

    # -- up -----------------------------------------------------------------------------------------------------------

    def first(self, body: bytearray) -> None:
        """The body of up 0."""
        self.hold(len(body))
        self._ups.put(0, body)
        self._fill()

    def up(self, visit: Asked, n: int, head: Head) -> UpRequest:
        """Request n came on a connection."""
        self._asked = now()
        return UpRequest(self, visit, n, head)

    def admit(self) -> None:
        """Its handshake is done: it may have more requests."""
        self._admitted = True

    def _crowded(self, these: int) -> bool:
        """Whether there are too many: of one direction, and as long as anybody who knows S can have them, of both."""
        return these > limits.REQUESTS if self._admitted else len(self._unanswered()) > limits.WAITING

    def begun(self, request: UpRequest) -> None:
        """As in updown.Ups, and so are the others."""
        self._requests.add(request)

    def over(self, request: UpRequest) -> None:
        """As in Ups."""
        self._requests.discard(request)

    def judge(self, n: int, size: int) -> Up:
        """As in Ups: the next one is always read, others while not too much is held of all carriers."""
        verdict = self._ups.judge(n, size)
        later = n > self._in_pipe or any(each.n == n and each.keeps for each in self._requests)
        if verdict is Up.READ and later and self.host.held >= limits.CARRIED:
            return Up.WAITS
        return Up.REFUSED if self._crowded(len(self._requests)) else verdict

    def put(self, n: int, body: bytearray) -> None:
        """As in Ups."""
        if not self._ups.put(n, body):
            self.hold(-len(body))

    def failure(self, status: int) -> bytes:
        """As in Ups."""
        return failure(status, self.host.unix(), self.host.server())

    def hold(self, size: int) -> None:
        """As in Ups."""
        self._holds += size
        self.host.held += size

    @property
    def lives(self) -> bool:
        """As in Ups: whether it has not ended."""
        return self._pipe is not None

    def moved(self) -> None:
        """As in Ups."""
        self.host.turns.again(self)

    def _fill(self) -> bool:
        """Bodies into the pipe, as far as it takes them; whether something went."""
        before = self._in_pipe
        while self._pipe is not None:
            if not self._into:
                self._in_pipe = self._taken
                body = self._ups.take()
                if body is None:
                    break
                self._taken += 1
                self._into = memoryview(body)
            try:
                size = self._pipe.send(self._into)
            except BlockingIOError:
                break
            except OSError:
                self._end_pipe()
                break
            self._into = self._into[size:]
            self.hold(-size)
        if self._pipe is None:
            self._forget_bodies()
        return self._in_pipe > before

    def _forget_bodies(self) -> None:
        """Behind the end they are answered, and lead nowhere."""
        self.hold(-len(self._into))
        self._into = memoryview(b"")
        while (body := self._ups.take()) is not None:
            self.hold(-len(body))
            self._taken += 1
        self._in_pipe = self._taken

    def _answer_ups(self) -> None:
        ended = self._ups.ended
        for request in list(self._requests):
            if request.is_whole and (request.n < self._in_pipe or (ended and request.n <= self._taken)):
                request.done()
            elif not request.is_whole and not request.reads:
                request.judge()
                if request.reads:
                    request.visit.resume()
        if ended and self._pipe is not None:
            self.end()

    # -- down ---------------------------------------------------------------------------------------------------------

    def down(self, visit: Asked, m: int) -> DownRequest:
        """Request m came on a connection."""
        self._asked = now()
        return DownRequest(self, visit, m)

    def asked(self, request: DownRequest, m: int) -> None:
        """As in updown.Downs."""
        at = now()
        try:
            sends = self._downs.ask(request, m, at, random.uniform(-1.0, 1.0))
        except CarrierLost:
            self.end()
            self._send([(request, Answer(NO_CONTENT))])
            return
        while self._given and self._given[0][0] <= m - limits.DOWNS:
            _, self._progress.acknowledged, gave = self._given.popleft()
            if not self._progress.round_trip or at - gave < self._progress.round_trip:
                self._progress.round_trip = at - gave
        self._send(sends)
        self.moved()

    def came(self, request: DownRequest) -> bool:
        """As in Downs."""
        self._asks.add(request)
        return not self._crowded(len(self._asks))

    def gone(self, request: DownRequest) -> None:
        """As in Downs."""
        self._asks.discard(request)
        self._downs.gone(request)

    def _drain(self) -> None:
        """Out of the pipe, into an answer, as soon as somebody waits for one."""
        at = now()
        while self._pipe is not None and (room := self._downs.wants - len(self._gathered)) > 0:
            try:
                came = self._pipe.recv(room)
            except BlockingIOError:
                break
            except OSError:
                came = b""
            if not came:
                self._end_pipe()
                break
            self._gathered += came
            if not self._gather_until:
                self._gather_until = at + (limits.GATHER if self._bulk else 0.0)
        due = at >= self._gather_until or len(self._gathered) >= limits.PIPE or self._pipe is None
        if self._gathered and self._downs.wants and due:
            self._give(at)
        if self._pipe is None and not self._gathered:
            self._send(self._downs.end(at))

    def _give(self, at: float) -> None:
        data, self._gathered, self._gather_until = bytes(self._gathered), bytearray(), 0.0
        self._bulk = len(data) >= limits.GATHER_FROM
        self._progress.sent += len(data)
        self._given.append((self._downs.next_m, self._progress.sent, at))
        self._send(self._downs.give(data, at))

    def _send(self, sends: Sends) -> None:
        for request, given in sends:
            assert isinstance(request, DownRequest), "no others ask"
            self._asks.discard(request)
            request.visit.answer(self.said(given))

    def said(self, given: Answer) -> bytes:
        """As in Ups."""
        return answer(given.status, len(given.body), self.host.unix(), self.host.server()) + given.body

    # -- its turn, and its end ----------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Does what can be done without waiting, and asks its host to be told of more."""
        at = now()
        self._fill()
        self._answer_ups()
        self._drain()
        self._send(self._downs.expire(at))
        left = self._pipe is not None and not self._downs.wants and is_left(self._pipe)
        self._left = min(self._left, at) if left else math.inf
        if at >= min(self._asked + limits.CARRIER_IDLE, self._left + limits.HANDSHAKE):
            self.end()
        if self._downs.over(at):
            self.host.over(self)
        else:
            self._watch(at)

    def _watch(self, at: float) -> None:
        times = [self._asked + limits.CARRIER_IDLE] if self._pipe is not None else [at + limits.REPEATS]
        if self._downs.next_at is not None:
            times.append(self._downs.next_at)
        if self._pipe is not None:
            reads = self._downs.wants > len(self._gathered)
            events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._into else 0)
            self.host.turns.watch(self._pipe.fileno(), events, self)
            if not events:
                times.append(at + limits.HANDSHAKE)
            if self._gathered and self._gather_until:
                times.append(self._gather_until)
        self.host.turns.at(min(times), self)

    def end(self) -> None:
        """The carrier is over; repeats are still answered."""
        self._end_pipe()
        self._gathered = bytearray()
        self._send(self._downs.end(now()))
        self.moved()

    def _end_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self.host.turns.forget(pipe.fileno())
            with suppress(OSError):
                pipe.close()
            for request in list(self._requests):
                request.shorten()
            for each in self._unanswered():
                each.visit.seat()  # nobody is known to be behind them any more

    def close(self) -> None:
        """Nothing is answered any more; what it held is free."""
        self._end_pipe()
        for request in self._unanswered():
            request.refuse()
        self.hold(-self._holds)

    def _unanswered(self) -> list[UpRequest | DownRequest]:
        return [*self._requests, *self._asks]
