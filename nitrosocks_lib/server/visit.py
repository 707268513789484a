"""One connection that is HTTP, or that the decoy serves: what came of it, and who answers (protocol 3.6, 6 TK5)."""

from __future__ import annotations

import select
import selectors
import time
from contextlib import suppress

from ..facts import limits
from ..facts.errors import ConnectionEnded, NetworkError
from ..net.timers import now
from ..protocol.http1 import Head
from ..protocol.judge import Ours, Piece, Said, Theirs, Whole
from .relayed import Relayed
from .visitor import Exchange, Found, Visitor


class Visit(Relayed):
    """The web thread's, as long as it has it; the rest of it is `Relayed`."""

    __slots__ = ()

    # -- its turn -----------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Does what can be done without waiting, and asks to be told of more."""
        try:
            if self._got is not None:
                self._begin(self._got)
            until = time.thread_time() + limits.JUDGED
            while not self.over and (self._go_on_judging() | self._hear() | self._relay() | self._tell()):
                if time.thread_time() >= until:
                    self._host.turns.again(self)
                    break
            if not self.over:
                self._end_waits()
        except NetworkError:  # the visitor has broken the connection, or TLS
            self.close(reset=self.link.gone())
        if not self.over:
            self._watch()

    def _tell(self) -> bool:
        return not self.over and self._near.tell()

    def _begin(self, got: bytes) -> None:
        self._got = None
        if got:
            self._came(got)
            if not self.link.has_more():  # what came together goes on together, since web servers see the difference
                self._relay()
        elif self._host.decoy is not None and self._upstream is None:
            self.reach()  # so that its time begins

    def _watch(self) -> None:
        turns, upstream = self._host.turns, self._upstream
        turns.watch(self.link.fd, _events(self._near.wants(self._hears())), self)
        if upstream is not None and upstream.connected:
            turns.watch(upstream.fd, _events(upstream.wants(not self._near.full)), self)
        if (at := self._next_at()) < float("inf"):
            turns.at(at, self)

    def _hears(self) -> bool:
        """Whether more of the visitor is wanted; its end is seen only then."""
        if self._near.finished:
            return True
        if self._stopped:
            return False
        full = self._upstream is not None and self._upstream.full
        return not (self._near.hung_up or full or len(self._judge.rest) >= limits.RELAYED)

    def _hear(self) -> bool:
        if self.over or not self._hears():
            return False
        if self._near.finished:
            if self._near.swallow(self._upstream):
                self.close()
            return False
        buffer = self._host.buffer
        try:
            size = self._host.reads.read_some(self.link, buffer)
        except ConnectionEnded:
            if self.link.gone():  # OpenSSL may tell a reset as an end
                raise
            self._near.hung_up = True
            self._hung_up()
            return True
        if size:
            self._came(bytes(buffer[:size]))
        return size > 0

    # -- what the visitor sends ---------------------------------------------------------------------------------------

    def _came(self, data: bytes) -> None:
        self._near.moved = at = now()
        self._asks = True
        if self._first and at < self.accepted + limits.HANDSHAKE and self._host.door.knocks(data):
            self._host.door.back(self.release(data))
            return
        if not self._first and self._judge.idle:
            self._since = at
        self._first = False
        if self._told:
            self._told = False
            self._judge.passed(data)
        else:
            self._judge.feed(data)
        self._judged()
        if self._judge.holds and not self.over and self._upstream is None and self._host.decoy is not None:
            self.reach()  # it is held back from the decoy, whose time begins all the same

    def _judged(self) -> None:
        """Takes what the judge has, as far as it is taken now.

        What it takes may call this again, which does nothing then: who sends a thousand small requests at once would
        else have them answered on top of each other. Nor does it go on for long, or ahead of who reads no answers.
        """
        if self._judging:
            return
        self._judging, self._stopped = True, False
        until = time.thread_time() + limits.JUDGED
        try:
            while not self.over and self._takes() and (said := self._judge.next()) is not None:
                self._take(said)
                if self._near.full or time.thread_time() >= until:
                    self._stopped = True
                    self._host.turns.again(self)
                    return
        finally:
            self._judging = False

    def _takes(self) -> bool:
        """Whether more of what came is taken now; nothing is behind an answer of ours that was the last."""
        if self._exchange is not None:
            return self._exchange.reads
        return self._upstream is not None or not self._near.ends

    def _go_on_judging(self) -> bool:
        if not self._stopped or self._near.full:
            return False
        self._judged()
        if self._near.hung_up and not (self._stopped or self.over):
            self._hung_up()
        return True

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
            else:
                self._exchange.broken(said.raw)

    def _hung_up(self) -> None:
        """The visitor sends no more, and perhaps still reads."""
        if self._exchange is not None:
            self.close()
            return
        self._judge.expire()
        self._judged()
        if self._stopped:  # once the rest was judged, then
            return
        if self._upstream is not None:
            self._upstream.finish()
        else:
            self._near.end(notify=False)

    # -- requests of ours ---------------------------------------------------------------------------------------------

    def answer(self, data: bytes, close: bool = False) -> None:
        """As in Asked."""
        self._exchange = None
        self._host.seat(self)
        self.send(data)
        if close:
            self._near.end(notify=True)
        else:
            self._judge.answered()
            self._since = now()
            self._judged()

    def send(self, data: bytes) -> None:
        """As in Asked."""
        self._near.send(data)
        self._host.turns.again(self)

    def refuse(self, head: Head, raw: bytes) -> None:
        """As in Asked."""
        self._exchange = None
        self._judge.refuse(head)
        self.relay(raw)
        self._host.turns.again(self)
        self._judged()

    def resume(self) -> None:
        """As in Asked."""
        self._judged()
        self._host.turns.again(self)

    def give(self, exchange: Exchange) -> None:
        """As in Asked."""
        self._exchange = exchange
        exchange.begin()
        self._host.turns.again(self)

    def upgrade(self, head: bytes) -> Visitor | None:
        """As in Asked."""
        with suppress(NetworkError):
            if not self._near.waits and self.link.write_some(memoryview(head)) == len(head):
                return self.release()
        self.close()
        return None

    def unseat(self) -> None:
        """As in Asked."""
        self.known = True
        self._host.unseat(self)

    def seat(self) -> None:
        """As in Asked."""
        if not self.over:
            self._host.seat(self)


def _events(wants: int) -> int:
    """Of `selectors`, for those of `select.poll`."""
    read = selectors.EVENT_READ if wants & select.POLLIN else 0
    return read | (selectors.EVENT_WRITE if wants & select.POLLOUT else 0)
