"""One `http` carrier that lives: its requests, and the pipe to its session (protocol 6, HP3 to HP8)."""

from __future__ import annotations

import random
import selectors
import socket
from collections import deque
from contextlib import suppress
from typing import Protocol

from ..facts import limits
from ..facts.errors import CarrierLost
from ..net.pipe import Progress
from ..net.timers import now
from ..protocol.downs import NO_CONTENT, Answer, DownAnswerer, Sends
from ..protocol.heads import answer, failure
from ..protocol.http1 import Head
from ..protocol.judge import Piece
from ..protocol.ups import Up, UpReceiver
from .visitor import Asked


class Turns(Protocol):
    """What a carrier asks of its thread, as in `Web`."""

    def watch(self, fd: int, events: int, what: Carrier) -> None: ...
    def forget(self, fd: int) -> None: ...
    def again(self, what: Carrier) -> None: ...
    def at(self, time: float, what: Carrier) -> None: ...


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


class UpRequest:
    """Request n of one connection; an Exchange."""

    def __init__(self, carrier: Carrier, visit: Asked, n: int, head: Head) -> None:
        self.n, self.visit, self.reads = n, visit, False
        self._carrier, self._head = carrier, head
        self._body, self._size = bytearray(), 0
        self._counts = False  # its body is to be kept
        self.is_whole = False

    def begin(self) -> None:
        """As in Exchange."""
        self._carrier.requests.add(self)
        self.judge()

    def judge(self) -> None:
        """What becomes of it now; to be asked again as long as it waits."""
        verdict = self._carrier.ups.judge(self.n, self._head.length or 0)
        if verdict is Up.REFUSED or verdict is Up.TOO_LARGE:
            self._fail(403 if verdict is Up.REFUSED else 413)
        elif verdict is not Up.WAITS and self._carrier.has_room(self.n):
            self.reads, self._counts = True, verdict is Up.READ
            if self._head.expects:
                self.visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body(self, piece: Piece) -> None:
        """As in Exchange."""
        self._size += len(piece.data)
        if self._size > limits.BODY:
            self._fail(413)
        elif self._counts:
            self._body += piece.data
            self._carrier.hold(len(piece.data))

    def whole(self) -> None:
        """As in Exchange."""
        self.is_whole, self.reads = True, False
        body, self._body = self._body, bytearray()
        if not (self._counts and self._carrier.ups.put(self.n, body)):
            self._carrier.hold(-len(body))
        self._carrier.moved()

    def done(self) -> None:
        """Its bytes are in the pipe."""
        self._carrier.requests.discard(self)
        self.visit.answer(self._carrier.said(Answer(200)))

    def _fail(self, status: int) -> None:
        self.gone()
        self.visit.answer(failure(status, self._carrier.host.unix(), self._carrier.host.server()), close=True)

    def gone(self) -> None:
        """As in Exchange."""
        self.reads = False
        self._carrier.hold(-len(self._body))
        self._body = bytearray()
        self._carrier.requests.discard(self)


class DownRequest:
    """Request m of one connection; an Exchange."""

    def __init__(self, carrier: Carrier, visit: Asked, m: int) -> None:
        self.visit, self.reads = visit, True
        self._carrier, self._m = carrier, m

    def begin(self) -> None:
        """As in Exchange."""

    def body(self, piece: Piece) -> None:
        """As in Exchange; it has to be empty."""

    def whole(self) -> None:
        """As in Exchange."""
        self.reads = False
        self._carrier.asked(self, self._m)

    def gone(self) -> None:
        """As in Exchange."""
        self._carrier.downs.gone(self)


class Carrier:
    """The web thread's."""

    def __init__(self, host: Host, carrier_id: bytes, pipe: socket.socket, progress: Progress) -> None:
        """`pipe` is the carrier's end of the pair."""
        self.host, self.id = host, carrier_id
        self.ups, self.downs = UpReceiver(), DownAnswerer()
        self.requests: set[UpRequest] = set()  # not answered
        self._pipe: socket.socket | None = pipe
        self._progress = progress
        self._into = memoryview(b"")  # what the pipe did not take yet
        self._in_pipe = 0  # so many bodies are in the pipe
        self._taken = 0  # so many were taken for it
        self._gathered = bytearray()  # out of the pipe
        self._gather_until = 0.0  # 0: nothing is gathered
        self._given: deque[tuple[int, int, float]] = deque()  # m, bytes of all up to it, and when it was answered
        self._bulk = False  # the last answer with bytes was a large one
        self._asked = now()  # when the last request came

    # -- up -------------------------------------------------------------------------------------------------------------

    def first(self, body: bytearray) -> None:
        """The body of up 0."""
        self.hold(len(body))
        self.ups.put(0, body)
        self._fill()

    def up(self, visit: Asked, n: int, head: Head) -> UpRequest:
        """Request n came on a connection."""
        self._asked = now()
        return UpRequest(self, visit, n, head)

    def has_room(self, n: int) -> bool:
        """Whether the body of n may be read: the next one always, others while not too much is held of all."""
        return n <= self._in_pipe or self.host.held < limits.CARRIED

    def hold(self, size: int) -> None:
        """So many bytes more are held."""
        self.host.held += size

    def moved(self) -> None:
        """Something may go on."""
        self.host.turns.again(self)

    def _fill(self) -> bool:
        """Bodies into the pipe, as far as it takes them; whether something went."""
        before = self._in_pipe
        while self._pipe is not None:
            if not self._into:
                self._in_pipe = self._taken
                body = self.ups.take()
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
        while (body := self.ups.take()) is not None:
            self.hold(-len(body))
            self._taken += 1
        self._in_pipe = self._taken

    def _answer_ups(self) -> None:
        ended = self.ups.ended
        for request in list(self.requests):
            if request.is_whole and (request.n < self._in_pipe or (ended and request.n <= self._taken)):
                request.done()
            elif not request.is_whole and not request.reads:
                request.judge()
                if request.reads:
                    request.visit.resume()
        if ended and self._pipe is not None:
            self.end()

    # -- down -----------------------------------------------------------------------------------------------------------

    def down(self, visit: Asked, m: int) -> DownRequest:
        """Request m came on a connection."""
        self._asked = now()
        return DownRequest(self, visit, m)

    def asked(self, request: DownRequest, m: int) -> None:
        """It is whole."""
        at = now()
        try:
            sends = self.downs.ask(request, m, at, random.uniform(-1.0, 1.0))
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

    def _drain(self) -> None:
        """Out of the pipe, into an answer, as soon as somebody waits for one."""
        at = now()
        while self._pipe is not None and (room := self.downs.wants - len(self._gathered)) > 0:
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
        if self._gathered and self.downs.wants and due:
            self._give(at)
        if self._pipe is None and not self._gathered:
            self._send(self.downs.end(at))

    def _give(self, at: float) -> None:
        data, self._gathered, self._gather_until = bytes(self._gathered), bytearray(), 0.0
        self._bulk = len(data) >= limits.GATHER_FROM
        self._progress.sent += len(data)
        self._given.append((self.downs.next_m, self._progress.sent, at))
        self._send(self.downs.give(data, at))

    def _send(self, sends: Sends) -> None:
        for request, given in sends:
            assert isinstance(request, DownRequest), "no others ask"
            request.visit.answer(self.said(given))

    def said(self, given: Answer) -> bytes:
        """An answer with its head."""
        return answer(given.status, len(given.body), self.host.unix(), self.host.server()) + given.body

    # -- its turn, and its end ------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Does what can be done without waiting, and asks its host to be told of more."""
        at = now()
        self._fill()
        self._answer_ups()
        self._drain()
        self._send(self.downs.expire(at))
        if at >= self._asked + limits.CARRIER_IDLE:
            self.end()
        if self.downs.over(at):
            self.host.over(self)
        else:
            self._watch(at)

    def _watch(self, at: float) -> None:
        times = [self._asked + limits.CARRIER_IDLE] if self._pipe is not None else [at + limits.REPEATS]
        if self.downs.next_at is not None:
            times.append(self.downs.next_at)
        if self._pipe is not None:
            reads = self.downs.wants > len(self._gathered)
            events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._into else 0)
            self.host.turns.watch(self._pipe.fileno(), events, self)
            if self._gathered and self._gather_until:
                times.append(self._gather_until)
        self.host.turns.at(min(times), self)

    def end(self) -> None:
        """The carrier is over; repeats are still answered."""
        self._end_pipe()
        self._gathered = bytearray()
        self._send(self.downs.end(now()))
        self.moved()

    def _end_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self.host.turns.forget(pipe.fileno())
            with suppress(OSError):
                pipe.close()

    def close(self) -> None:
        """The thread ends."""
        self._end_pipe()

