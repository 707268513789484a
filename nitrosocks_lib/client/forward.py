"""`-L` and `-D`: listens near the client, and gives each accepted connection to the pool; datagrams to theirs."""

from __future__ import annotations

import logging
import select
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..facts import limits
from ..facts.errors import CannotCreate
from ..facts.wire import Kind
from ..net.listener import DATAGRAM, PAUSE, bind_all, bind_at, is_taken, listen
from ..net.paths import Named, bind_path
from ..net.race import tune
from ..net.wake import Wake
from ..protocol.frames import Target
from ..session.streams import Ending, Request, Stream
from .pool import Pool
from .refusals import refusal
from .session import OWN_END

if TYPE_CHECKING:
    from ..protocol.proxy_auth import Login
    from .applications import Applications
    from .datagrams import Datagrams

log = logging.getLogger(__name__)


LOOPBACK: Final = "localhost"  # of a Forward: FIRST, and [::1] where there is one; it is not looked up
FIRST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Forward:
    """One -L or -D: where to listen (an empty host: all interfaces), and the target at the server's side."""

    where: Target
    target: Target | None  # None: each application asks for its own


class Forwarder:
    """`bind` all, then `start`; one thread accepts for all listeners.

    Between the two a port is ours, and refuses connections: a client, or a health check, is not to wait for a session.
    """

    def __init__(self, pool: Pool, login: Login | None = None, mode: int = limits.SOCKET_MODE) -> None:
        """With `login` only applications that give it are served, where they ask; `mode` is of unix sockets."""
        self._pool, self._mode = pool, mode
        self._login = login
        self._applications: Applications | None = None  # where a -D is
        self._datagrams: Datagrams | None = None  # where a -L udp: is
        self._unserved: list[tuple[socket.socket, Target]] = []  # of it, until `start`
        self._targets: dict[int, tuple[socket.socket, Target | None]] = {}
        self._besides: list[tuple[socket.socket, Target | None]] = []  # at [::1], which others may have
        self.besides: set[int] = set()  # ports of 127.0.0.1 at which [::1] listens, too; once it has started
        self._paths: list[Named] = []
        self._wake = Wake()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def bind(self, forward: Forward) -> Target:
        """Binds all addresses of one; returns the first. A failure leaves nothing bound. Raises CannotCreate."""
        try:
            return self._bind(forward.where, forward.target)
        except CannotCreate:
            self.stop()
            raise

    def _bind(self, where: Target, target: Target | None) -> Target:
        if target is None and self._applications is None:
            from .applications import Applications  # what -L does not need is slow to import

            self._applications = Applications(self._carry, self._login, self._pool)
        if where.kind == Kind.UNIX:
            named = bind_path(where.host, self._mode, listening=False)
            self._paths.append(named)
            self._targets[named.sock.fileno()] = (named.sock, target)
            return where
        if where.kind == Kind.UDP and target is not None:
            return self._bind_datagrams(where, target)
        bound, besides = _bind_all(where.host, where.port)
        self._targets |= {each.fileno(): (each, target) for each in bound}
        self._besides += [(each, target) for each in besides]
        host, port = bound[0].getsockname()[:2]
        return Target(Kind.TCP, str(host), int(port))

    def _bind_datagrams(self, where: Target, target: Target) -> Target:
        """At [::1], too, behind LOOPBACK, if this machine has it."""
        if self._datagrams is None:
            from .datagrams import Datagrams

            self._datagrams = Datagrams(self._pool)
        if where.host == LOOPBACK:
            bound = bind_at((FIRST, "::1"), (where.port,), kind=DATAGRAM)
        else:
            bound = bind_all(where.host, where.port, kind=DATAGRAM)
        self._unserved += [(each, target) for each in bound]
        host, port = bound[0].getsockname()[:2]
        if len(bound) > 1:
            self.besides.add(int(port))
        return Target(Kind.UDP, str(host), int(port))

    def _carry(self, target: Target, local: socket.socket, request: Request) -> None:
        """As Applications has it."""
        self._pool.open(target, local, _report, request)

    def start(self) -> None:
        """Listens at all that was bound, and begins to accept. A failure leaves nothing bound. Raises CannotCreate."""
        try:
            for listener, _ in self._targets.values():
                listen(listener)
        except CannotCreate:
            self.stop()
            raise
        self._listen_ipv6()
        for listener, _ in self._targets.values():
            listener.setblocking(False)
        if self._datagrams is not None:
            self._datagrams.start(self._unserved)
            self._unserved = []
        self._thread = threading.Thread(target=self._accept, name="accept", daemon=True)
        self._thread.start()

    def _listen_ipv6(self) -> None:
        while self._besides:
            listener, target = self._besides.pop()
            port = int(listener.getsockname()[1])
            try:
                listen(listener)
            except CannotCreate as error:
                _tell_taken(error, port)
            else:
                self._targets[listener.fileno()] = (listener, target)
                self.besides.add(port)

    def stop(self) -> None:
        """Accepts no more; a second time it does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()  # its poll would keep a closed listener alive
        for listener, _ in [*self._targets.values(), *self._besides, *self._unserved]:
            listener.close()
        for named in self._paths:
            named.remove()
        for served in self._applications, self._datagrams:
            if served is not None:
                served.stop()

    def _accept(self) -> None:
        interest = dict.fromkeys(self._targets, select.POLLIN)
        while not self._stopped:
            for fd in self._wake.wait(interest, None):
                if not self._stopped:
                    self._accept_one(*self._targets[fd])

    def _accept_one(self, listener: socket.socket, target: Target | None) -> None:
        try:
            local, _ = listener.accept()
        except OSError as error:
            log.warning("a connection cannot be accepted: %s", error.strerror)
            self._wake.wait({}, PAUSE)
            return
        tune(local, carried=True)
        if target is not None:
            self._pool.open(target, local, _report)
        elif self._applications is not None:
            self._applications.take(local)


def _bind_all(host: str, port: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """What listens there; and behind LOOPBACK at [::1], as ssh does, if this machine has it and it is free there."""
    if host != LOOPBACK:
        return bind_all(host, port, listening=False), []
    try:
        first, *besides = bind_at((FIRST, "::1"), (port,), listening=False)
    except CannotCreate as error:
        bound = bind_all(FIRST, port, listening=False)
        _tell_taken(error, int(bound[0].getsockname()[1]))
        return bound, []
    return [first], besides


def _tell_taken(error: CannotCreate, port: int) -> None:
    if is_taken(error):
        log.warning("something else listens on [::1]:%d; connections to that address do not come here", port)


def _report(stream: Stream) -> None:
    """Says why a connection did not end well; well-ended ones are no news, nor what the local side did itself."""
    where = str(stream.target)
    if stream.ending is Ending.REFUSED:
        log.warning("%s", refusal(stream.target, stream.detail, stream.reason).in_full)
    elif stream.ending is Ending.LOST and stream.reason != OWN_END:
        log.warning("%s: connection reset: %s", where, stream.reason)
    elif stream.ending in (Ending.RESET_HERE, Ending.RESET_THERE):
        log.info("%s: connection reset: %s", where, stream.reason)
