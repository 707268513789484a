"""`-D`: applications that ask for their targets, by SOCKS or HTTP; one thread has them until they have asked.

What was asked for goes to the pool. Where it is refused, or lost, before it was opened, the application comes back here
to be told why, and its connection ends in order: a reset would overtake the answer.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress

from ..facts import limits
from ..facts.errors import NetworkError
from ..facts.wire import Kind
from ..net.ends import PlainEnd
from ..net.ondemand import OnDemand
from ..net.timers import now
from ..net.turns import Turns
from ..protocol.asked import Asked, Rejected
from ..protocol.local_proxy import asks
from ..protocol.proxy_auth import Login
from ..session.streams import Request, Stream
from .associations import Associations
from .pool import Pool

log = logging.getLogger(__name__)


class Applications:
    """`take` and `stop` may be called by any thread; all else is the thread's of this."""

    def __init__(self, pool: Pool, finished: Callable[[Stream], None], login: Login | None = None) -> None:
        """`finished` as in Pool.open; with `login` only applications that give it are served."""
        self._pool, self._finished, self.login = pool, finished, login
        self.turns = Turns()
        self._associations = Associations(pool, self.turns)
        self.asking: dict[_Asking, None] = {}  # the one that came first is the first
        self._thread = OnDemand("applications", self.turns.run)

    def take(self, local: socket.socket) -> None:
        """Takes over an accepted connection; one of those that have not asked gives way where there are too many."""
        if not self._thread.give(lambda: self.turns.call(lambda: self._enter(local))):
            local.close()

    def stop(self) -> None:
        """Closes what has not asked, and ends the thread."""
        self._thread.stop(self.turns.stop)
        self.turns.close()

    def _enter(self, local: socket.socket) -> None:
        if len(self.asking) >= limits.APPLICATIONS:
            first = next(iter(self.asking))
            self.turns.go_on(first)  # of many at once, what it asks for may be there, and not read yet
            if first in self.asking:
                first.close()
        asking = _Asking(local, self)
        self.asking[asking] = None
        self.turns.join(asking)
        self.turns.again(asking)

    # -- what those that ask call -------------------------------------------------------------------------------------

    def go_to(self, local: socket.socket, asked: Asked) -> None:
        """Has it do what it asked for."""
        if asked.target.kind != Kind.UDP:
            self._open(local, asked)
        elif refused := self._associations.begin(local, asked):
            self.part(local, refused)

    def _open(self, local: socket.socket, asked: Asked) -> None:
        """Hands it to the pool, which says how it went."""

        def failed(local: socket.socket, code: int, reason: str) -> None:
            answer = asked.answers.failed(code, reason)
            if not self._thread.give(lambda: self.turns.call(lambda: self.part(local, answer))):
                local.close()

        request = Request(asked.early, asked.answers.opened, failed, asked.belongs, asked.told)
        self._pool.open(asked.target, local, self._finished, request)

    def part(self, local: socket.socket, answer: bytes) -> None:
        """Ends a connection with an answer."""
        parting = _Parting(local, self)
        self.turns.join(parting)
        parting.begin(answer)


class _Asking:
    """A connection until its application has asked."""

    def __init__(self, local: socket.socket, owner: Applications) -> None:
        local.setblocking(False)
        self._local, self._owner = local, owner
        self._until = now() + limits.ASKING
        self._talk = asks(owner.login, datagrams=True)
        next(self._talk)  # it sends nothing before something came

    def go_on(self) -> None:
        """As Turning."""
        if now() >= self._until:
            self.close()
            return
        try:
            came = self._local.recv(limits.FIRST_READ)
        except BlockingIOError:
            self._owner.turns.watch(self._local.fileno(), selectors.EVENT_READ, self)
            self._owner.turns.at(self._until, self)
            return
        except OSError:
            came = b""
        if came:
            self._read(came)
        else:
            self.close()

    def _read(self, came: bytes) -> None:
        try:
            while answer := self._talk.send(came):
                if self._local.send(answer) < len(answer):  # of a few bytes: nobody reads them
                    raise BrokenPipeError
                came = b""
        except StopIteration as ended:
            self._leave()
            self._owner.go_to(self._local, ended.value)
        except Rejected as error:
            log.info("an application's request is rejected: %s", error)
            self._leave()
            self._owner.part(self._local, error.answer)
        except OSError:
            self.close()
        else:
            self._owner.turns.again(self)

    def _leave(self) -> None:
        self._owner.turns.forget(self._local.fileno())
        self._owner.turns.part(self)
        self._owner.asking.pop(self, None)

    def close(self) -> None:
        """As Turning."""
        self._leave()
        self._local.close()


class _Parting:
    """A connection that was answered, and whose rest is read: with something unread its end would be a reset."""

    def __init__(self, local: socket.socket, owner: Applications) -> None:
        self._end, self._owner = PlainEnd(local), owner
        self._until = now() + limits.LINGER_REFUSED

    def begin(self, answer: bytes) -> None:
        """Sends the answer, which a kernel takes at once, and ends this direction."""
        with suppress(NetworkError):
            self._end.write_some(memoryview(answer))
        self._end.finish(notify=False)
        self._owner.turns.watch(self._end.fd, selectors.EVENT_READ, self)
        self._owner.turns.at(self._until, self)

    def go_on(self) -> None:
        """As Turning."""
        try:
            while now() < self._until and self._end.swallow():
                pass
        except NetworkError:
            self.close()
            return
        if now() >= self._until:
            self.close()
        else:
            self._owner.turns.at(self._until, self)

    def close(self) -> None:
        """As Turning."""
        self._owner.turns.forget(self._end.fd)
        self._owner.turns.part(self)
        self._end.close()
