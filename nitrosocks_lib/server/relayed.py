"""A connection as the decoy serves it: bytes both ways, and who ends how (protocol 3.6, D1)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import ConnectionEnded, NetworkError
from ..net.overlong import Overlong
from ..net.timers import now
from ..net.tls import TlsLink
from ..net.turns import Turns
from ..protocol.judge import Judge
from .admission import Place
from .decoy import Decoy
from .near import Near
from .upstream import Upstream
from .visitor import Door, Exchange, Found, Visitor


class Host(Protocol):
    """What it asks of its thread; `Web` is it."""

    door: Door
    decoy: Decoy | None
    turns: Turns
    buffer: memoryview
    reads: Overlong

    def seat(self, visit: Relayed) -> None:
        """It has a place; another one gives way where there are too many."""

    def unseat(self, visit: Relayed) -> None:
        """It needs none any more."""

    def leave(self, visit: Relayed) -> None:
        """It is over, or another thread's."""

    def keep_waiting(self, visit: Relayed) -> None:
        """It is not ours, and there is no decoy."""


class Relayed(Place):
    """The web thread's, as long as it has it. What is the decoy's, `Visit` says."""

    __slots__ = (
        "_asks", "_exchange", "_first", "_got", "_host", "_judge", "_judging", "_near", "_since", "_stopped",
        "_told", "_upstream", "known", "link", "over", "peer",
    )  # fmt: skip

    def __init__(self, visitor: Visitor, host: Host) -> None:
        super().__init__(visitor.source, visitor.accepted)
        self.link, self.peer = visitor.link, visitor.peer
        self.over = False
        self._host = host
        self._near = Near(visitor.link)
        self._judge: Judge[Found] = Judge(host.door.find, host.door.can_begin)
        self._exchange: Exchange | None = None
        self._upstream = visitor.ahead
        if self._upstream is not None:
            self._upstream.watched_by(*self._watches())
        self._got: bytes | None = visitor.got  # None behind the first turn
        self._told = visitor.told
        self._asks = False  # something came of the visitor behind the decoy's last byte
        self._first = not visitor.got  # nothing came yet
        self._judging = False  # what came is being judged
        self._stopped = False  # not all of it is: it goes on in the next turn
        self.known = False  # a client's carrier came this way
        self._since = visitor.accepted  # when the head that is held back began

    def __str__(self) -> str:
        return join_host_port(*self.peer)

    @property
    def tls(self) -> TlsLink:
        """As in Visitor."""
        assert isinstance(self.link, TlsLink), "what is plain is the decoy's"
        return self.link

    def go_on(self) -> None:
        """Its turn."""
        raise NotImplementedError

    def _judged(self) -> None:
        """Takes what the judge has, as far as it is taken now."""
        raise NotImplementedError

    def relay(self, raw: bytes) -> None:
        """These bytes are the decoy's."""
        if self._upstream is None and not self.reach():
            return
        assert self._upstream is not None, "it was reached for"
        self._host.seat(self)
        self._upstream.push(raw)

    def reach(self) -> bool:
        """Begins a connection to the decoy; without one, the visitor is kept waiting."""
        if self._host.decoy is None:
            self._keep_waiting()
            return False
        self._upstream = Upstream(self._host.decoy.begin(*self._watches()))
        return True

    def _watches(self) -> tuple[Callable[[int, int], None], Callable[[int], None]]:
        turns = self._host.turns
        return lambda fd, events: turns.watch(fd, events, self), turns.forget

    def _drop_idle(self) -> None:
        """What comes is ours: a connection to the decoy that waits for more is closed."""
        if self._upstream is not None:
            self._close_upstream()
            self._judge.forget()

    # -- what the decoy sends -----------------------------------------------------------------------------------------

    def _relay(self) -> bool:
        upstream = self._upstream
        if upstream is None or self.over:
            return False
        try:
            moved = upstream.move(now())
            size = upstream.receive(self._host.buffer) if not self._near.full else 0
        except NetworkError as error:
            self._decoy_broke(error)
            return False
        if size:
            self._decoy_said(bytes(self._host.buffer[:size]))
        elif upstream.ended is not None and not self._near.ends:
            self._decoy_ended(upstream.ended)
            return True
        return moved or size > 0

    def _decoy_said(self, data: bytes) -> None:
        self._near.send(data)
        self._near.tell()  # before it is judged, which takes longer
        self._asks = False
        self._judge.follow(data)
        if self._judge.server and self._host.decoy is not None:
            self._host.decoy.server = self._judge.server
        self._judged()

    def _decoy_ended(self, ended: ConnectionEnded) -> None:
        """It closes as a web server would that had TLS itself: nginx says no word where the visitor sends no more, or
        was silent for too long amid a request."""
        decoy = self._host.decoy
        assert decoy is not None, "it was reached"
        waits = self._judge.amid or self._judge.holds or (self._judge.opaque and self._asks)
        late = waits and now() >= self._near.moved + limits.TIMED_OUT
        self._near.end(ended.notified if decoy.site.tls else not (self._near.hung_up or late))

    def _decoy_broke(self, error: NetworkError) -> None:
        assert self._upstream is not None and self._host.decoy is not None, "it was reached"
        if self._upstream.connected:
            with suppress(NetworkError):
                self._near.tell()
            self.close(reset=True)
            return
        self._host.decoy.failed(error)
        self._keep_waiting()

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _next_at(self) -> float:
        if self._near.finished:
            return self._near.next_at
        times = [self._since + limits.HEAD_TIME] if self._judge.holds else []
        if self._upstream is not None and self._upstream.next_at is not None:
            times.append(self._upstream.next_at)
        if self._idles():
            times.append(self._near.moved + limits.KEPT_ALIVE)
        if self._awaits_body():
            times.append(self._near.moved + limits.BODY_TIME)
        return min(times, default=float("inf"))

    def _end_waits(self) -> None:
        """Looks at what has waited for so long."""
        at = now()
        if at < self._next_at():
            return
        if self._near.finished:
            over = self._near.over(self._upstream)
            if over is not None:
                self.close(reset=over)
        elif self._judge.holds and at >= self._since + limits.HEAD_TIME:
            self._judge.expire()
            self._judged()
            self._host.turns.again(self)
        elif self._awaits_body() and at >= self._near.moved + limits.BODY_TIME:
            self.close()
        elif self._idles() and at >= self._near.moved + limits.KEPT_ALIVE:
            if self._near.waits:
                self.close(reset=True)
            else:
                self._near.end(notify=True)
                self._host.turns.again(self)

    def _idles(self) -> bool:
        """Whether nobody but we would end it."""
        return self._near.ends or (self._upstream is None and self._exchange is None)

    def _awaits_body(self) -> bool:
        """Whether more of a request of ours has to come."""
        return self._exchange is not None and self._exchange.reads

    def _close_upstream(self, reset: bool = False) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if upstream.connected:
                self._host.turns.forget(upstream.fd)
            upstream.close(reset)

    def _keep_waiting(self) -> None:
        self.release()
        self._host.keep_waiting(self)

    def release(self, got: bytes = b"") -> Visitor:
        """As in Asked."""
        got += self._judge.rest
        self.over = True
        self._host.turns.forget(self.link.fd)
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
        self._host.turns.forget(self.link.fd)
        self._close_upstream(reset)
        (self.link.reset if reset else self.link.part)()
        self._host.leave(self)
