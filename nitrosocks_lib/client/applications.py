"""Applications that ask for their targets, by SOCKS or HTTP; one thread has them until they have asked.

What was asked for goes to the pool (`-D`), or to a target that is reached from here (`direct`). Where it is refused, or
lost, before it was opened, the application comes back here to be told why, and its connection ends in order: a reset
would overtake the answer.
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
from ..net.sockets import reset
from ..net.timers import now
from ..net.turns import Turns
from ..protocol.asked import Asked, Rejected
from ..protocol.frames import Target
from ..protocol.local_proxy import asks
from ..protocol.proxy_auth import Login
from ..session.streams import Request
from .associations import Associations
from .pool import Pool

log = logging.getLogger(__name__)


class Applications:
    """`take` and `stop` may be called by any thread; all else is the thread's of this."""

    def __init__(
        self,
        carry: Callable[[Target, socket.socket, Request], None],
        login: Login | None = None,
        datagrams: Pool | None = None,
        resets: bool = False,
    ) -> None:
        """`carry` takes over what has asked, and must not block; with `login` only applications that give it are
        served; `datagrams` carries theirs, and without it they may not ask for that. `resets`: what never asks is
        reset, and not closed; where it is a stream, that would wait for an end of its other direction."""
        self._carry, self.login, self.resets = carry, login, resets
        self.turns = Turns()
        self.associations = Associations(datagrams, self.turns) if datagrams is not None else None
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
        if asked.target.kind != Kind.UDP or self.associations is None:
            self._open(local, asked)
        elif refused := self.associations.begin(local, asked):
            self.part(local, refused)

    def _open(self, local: socket.socket, asked: Asked) -> None:
        """Hands it on, to whom it is said how it went."""

        def failed(local: socket.socket, code: int, reason: str) -> None:
            answer = asked.answers.failed(code, reason)
            if not self._thread.give(lambda: self.turns.call(lambda: self.part(local, answer))):
                local.close()

        request = Request(asked.early, asked.answers.opened, failed, asked.belongs, asked.told)
        self._carry(asked.target, local, request)

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
        self._talk = asks(owner.login, datagrams=owner.associations is not None)
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
            self._leave()
            self._local.close()

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
        (reset if self._owner.resets else socket.socket.close)(self._local)


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
