"""One connection that is HTTP, or that the decoy serves: what came of it, and who answers (protocol 3.6, 6 TK5)."""

from __future__ import annotations

import select
import selectors
from contextlib import suppress
from typing import Any, Final, Protocol

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import ConnectionEnded, NetworkError
from ..net.overlong import Overlong
from ..net.timers import now
from ..protocol.http1 import Head
from ..protocol.judge import Judge, Ours, Piece, Said, Theirs, Whole
from .admission import Place
from .decoy import Decoy
from .upstream import Upstream
from .visitor import Door, Exchange, Found, Visitor

_ROUNDS: Final = 32  # reads and writes of one visit before the others have their turn


class Host(Protocol):
    """What a visit asks of its thread; `Web` is it."""

    door: Door
    decoy: Decoy | None
    buffer: memoryview
    reads: Overlong

    def seat(self, visit: Visit) -> None:
        """As in Web, and so are the others."""

    def unseat(self, visit: Visit) -> None: ...
    def again(self, visit: Visit) -> None: ...
    def at(self, time: float, visit: Visit) -> None: ...
    def watch(self, fd: int, events: int, what: Any) -> None: ...
    def forget(self, fd: int) -> None: ...
    def leave(self, visit: Visit) -> None: ...
    def keep_waiting(self, visit: Visit) -> None: ...


class Visit(Place):
    """The web thread's, as long as it has it."""

    __slots__ = (
        "_decoy_ends", "_ended", "_exchange", "_finished", "_first", "_got", "_host", "_judge", "_moved", "_nudges",
        "_out", "_since", "_upstream", "link", "over", "peer", "seated",
    )  # fmt: skip

    def __init__(self, visitor: Visitor, host: Host) -> None:
        super().__init__(visitor.source, visitor.accepted)
        self.link, self.peer = visitor.link, visitor.peer
        self.seated = self.over = False
        self._host = host
        self._judge: Judge[Found] = Judge(host.door.find, host.door.can_begin)
        self._exchange: Exchange | None = None
        self._upstream: Upstream | None = None
        self._out = bytearray()  # to the visitor
        self._first = not visitor.got  # nothing came yet
        self._since = visitor.accepted  # when the head that is held back began
        self._moved = now()  # when something came or went last
        self._ended = False  # the visitor sends no more
        self._decoy_ends: bool | None = None  # what the visitor gets ends behind `_out`, with a word of TLS or without
        self._finished = False  # it has ended
        self._nudges: list[float] = []
        self._got = visitor.got

    def __str__(self) -> str:
        return join_host_port(*self.peer)

    def begin(self) -> None:
        """Its first turn."""
        got, self._got = self._got, b""
        if got:
            self._came(got)
        elif self._host.decoy is not None:
            self._reach()  # so that its time begins
        self.go_on()

    # -- its turn -----------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Does what can be done without waiting, and asks its host to be told of more."""
        try:
            for _ in range(_ROUNDS):
                if self.over or not (self._hear() | self._relay() | self._tell()):
                    break
            else:
                self._host.again(self)
            if not self.over:
                self._end_waits()
        except NetworkError:  # the visitor has broken the connection, or TLS
            self.close(reset=self.link.gone())
        if not self.over:
            self._watch()

    def _watch(self) -> None:
        read = self.link.read_wants if self._hears() else 0
        self._host.watch(self.link.fd, _events(read | (self.link.write_wants if self._out else 0)), self)
        upstream = self._upstream
        if upstream is not None and upstream.connected:
            self._host.watch(upstream.fd, _events(upstream.wants(len(self._out) < limits.RELAYED)), self)
        if (at := self._next_at()) < float("inf"):
            self._host.at(at, self)

    def _hears(self) -> bool:
        """Whether more of the visitor is wanted; its end is seen only then."""
        if self._finished:
            return True
        full = self._upstream is not None and self._upstream.full
        return not (self._ended or full or len(self._judge.rest) >= limits.RELAYED)

    def _hear(self) -> bool:
        if not self._hears():
            return False
        if self._finished:
            return self._hear_late()
        buffer = self._host.buffer
        try:
            size = self._host.reads.read_some(self.link, buffer)
        except ConnectionEnded:
            self._ended = True
            self._hung_up()
            return True
        if size:
            self._came(bytes(buffer[:size]))
        return size > 0

    def _tell(self) -> bool:
        if not self._out:
            if self._decoy_ends is None or self._finished:
                return False
            self.link.finish(self._decoy_ends)
            self._finished, self._moved = True, now()
            return True
        with memoryview(self._out) as view:
            size = self.link.write_some(view)
        del self._out[:size]
        self._moved = now() if size else self._moved
        return size > 0

    # -- what the visitor sends ---------------------------------------------------------------------------------------

    def _came(self, data: bytes) -> None:
        self._moved = at = now()
        if self._first and at < self.accepted + limits.HANDSHAKE and self._host.door.knocks(data):
            self._host.door.back(self.release(data))
            return
        if not self._first and self._judge.idle:
            self._since = at
        self._first = False
        self._judge.feed(data)
        self._judged()
        if self._judge.holds and not self.over and self._upstream is None and self._host.decoy is not None:
            self._reach()  # it is held back from the decoy, whose time begins all the same

    def _judged(self) -> None:
        """Takes what the judge has, as far as it is taken now."""
        while not self.over and (self._exchange is None or self._exchange.reads):
            said = self._judge.next()
            if said is None:
                return
            self._take(said)

    def _take(self, said: Said[Found]) -> None:
        if isinstance(said, Theirs):
            self.relay(said.raw)
        elif isinstance(said, Ours):
            self._drop_idle()
            exchange = self._host.door.begin(self, said)
            if exchange is not None:
                self.give(exchange)
            elif not self.over:
                self.refuse(said.head, said.head.raw)
        elif self._exchange is not None:
            if isinstance(said, Piece):
                self._exchange.body(said)
            elif isinstance(said, Whole):
                self._exchange.whole()

    def relay(self, raw: bytes) -> None:
        """These bytes are the decoy's."""
        if self._upstream is None and not self._reach():
            return
        assert self._upstream is not None, "it was reached for"
        self._host.seat(self)
        self._upstream.push(raw)

    def _reach(self) -> bool:
        """Begins a connection to the decoy; without one, the visitor is kept waiting."""
        if self._host.decoy is None:
            self._keep_waiting()
            return False
        watch = self._host.watch
        self._upstream = Upstream(self._host.decoy.begin(lambda fd, events: watch(fd, events, self), self._host.forget))
        return True

    def _drop_idle(self) -> None:
        """What comes is ours: a connection to the decoy that waits for more is closed."""
        if self._upstream is not None:
            self._close_upstream()
            self._judge.forget()

    def _hung_up(self) -> None:
        """The visitor sends no more, and perhaps still reads."""
        if self._exchange is not None or self._upstream is None:
            self.close()
            return
        self._judge.expire()
        self._judged()
        if self._upstream is not None:
            self._upstream.finish()

    # -- requests of ours ---------------------------------------------------------------------------------------------

    def answer(self, data: bytes, close: bool = False) -> None:
        """As in Asked."""
        self._exchange = None
        self._host.seat(self)
        self.send(data)
        if close:
            self._decoy_ends = True
        else:
            self._judge.answered()
            self._since = now()
            self._judged()

    def send(self, data: bytes) -> None:
        """As in Asked."""
        self._out += data
        self._moved = now()
        self._host.again(self)

    def refuse(self, head: Head, raw: bytes) -> None:
        """As in Asked."""
        self._exchange = None
        self._judge.refuse(head)
        self.relay(raw)
        self._host.again(self)
        self._judged()

    def resume(self) -> None:
        """As in Asked."""
        self._judged()
        self._host.again(self)

    # -- what the decoy sends -----------------------------------------------------------------------------------------

    def _relay(self) -> bool:
        upstream = self._upstream
        if upstream is None or self.over:
            return False
        try:
            moved = upstream.move(now())
            size = upstream.receive(self._host.buffer) if len(self._out) < limits.RELAYED else 0
        except NetworkError as error:
            self._decoy_broke(error)
            return False
        if size:
            self._decoy_said(bytes(self._host.buffer[:size]))
        elif upstream.ended is not None and self._decoy_ends is None:
            self._decoy_ended(upstream.ended)
            return True
        return moved or size > 0

    def _decoy_said(self, data: bytes) -> None:
        self._out += data
        self._moved = now()
        self._judge.follow(data)
        if self._judge.server and self._host.decoy is not None:
            self._host.decoy.server = self._judge.server
        self._judged()

    def _decoy_ended(self, ended: ConnectionEnded) -> None:
        """It closes as a web server would that had TLS itself: nginx says no word where the visitor sends no more, or
        was silent for too long amid a request."""
        decoy = self._host.decoy
        assert decoy is not None, "it was reached"
        late = (self._judge.amid or self._judge.holds) and now() >= self._moved + limits.TIMED_OUT
        self._decoy_ends = ended.notified if decoy.site.tls else not (self._ended or late)

    def _decoy_broke(self, error: NetworkError) -> None:
        assert self._upstream is not None and self._host.decoy is not None, "it was reached"
        if self._upstream.connected:
            with suppress(NetworkError):
                self._tell()
            self.close(reset=True)
            return
        self._host.decoy.failed(error)
        self._keep_waiting()

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _hear_late(self) -> bool:
        """Behind an end that was passed on: whether the decoy's kernel would say that it is too late."""
        try:
            came = self.link.swallow()
        except ConnectionEnded:
            self.close()
            return False
        if came and self._upstream is not None:
            self._upstream.nudge()
            self._nudges = [now() + each for each in limits.NUDGED]
        return came

    def _next_at(self) -> float:
        if self._finished:
            return min([self._moved + limits.HELD_OPEN, *self._nudges])
        times = [self._since + limits.HEAD_TIME] if self._judge.holds else []
        if self._upstream is not None and self._upstream.next_at is not None:
            times.append(self._upstream.next_at)
        if self._idles():
            times.append(self._moved + limits.KEPT_ALIVE)
        return min(times, default=float("inf"))

    def _end_waits(self) -> None:
        """Looks at what has waited for so long."""
        at = now()
        if at < self._next_at():
            return
        if self._finished:
            self._nudges = [each for each in self._nudges if each > at]
            if self._upstream is not None and self._upstream.gone:
                self.close(reset=True)
            elif at >= self._moved + limits.HELD_OPEN:
                self.close()
        elif self._judge.holds and at >= self._since + limits.HEAD_TIME:
            self._judge.expire()
            self._judged()
            self._host.again(self)
        elif self._idles() and at >= self._moved + limits.KEPT_ALIVE:
            if not self._out:
                self.link.finish(True)
            self.close(reset=bool(self._out))

    def _idles(self) -> bool:
        """Whether nobody but we would end it."""
        return self._decoy_ends is not None or (self._upstream is None and self._exchange is None)

    def _close_upstream(self, reset: bool = False) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if upstream.connected:
                self._host.forget(upstream.fd)
            upstream.close(reset)

    def _keep_waiting(self) -> None:
        self.release()
        self._host.keep_waiting(self)

    def give(self, exchange: Exchange) -> None:
        """As in Asked."""
        self._exchange = exchange
        exchange.begin()
        self._host.again(self)

    def upgrade(self, head: bytes) -> Visitor | None:
        """As in Asked."""
        with suppress(NetworkError):
            if not self._out and self.link.write_some(memoryview(head)) == len(head):
                return self.release()
        self.close()
        return None

    def unseat(self) -> None:
        """As in Asked."""
        self._host.unseat(self)

    def release(self, got: bytes = b"") -> Visitor:
        """As in Asked."""
        got += self._judge.rest
        self.over = True
        self._host.forget(self.link.fd)
        self._close_upstream()
        self._host.leave(self)
        return Visitor(self.link, self.peer, self.source, self.accepted, got)

    def close(self, reset: bool = False) -> None:
        """Ends it; with `reset`, for both that see it, with one."""
        if self.over:
            return
        self.over = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.gone()
        self._host.forget(self.link.fd)
        self._close_upstream(reset)
        (self.link.reset if reset else self.link.part)()
        self._host.leave(self)


def _events(wants: int) -> int:
    """Of `selectors`, for those of `select.poll`."""
    read = selectors.EVENT_READ if wants & select.POLLIN else 0
    return read | (selectors.EVENT_WRITE if wants & select.POLLOUT else 0)
