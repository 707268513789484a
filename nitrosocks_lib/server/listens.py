"""Where the server listens for its clients (protocol 5, "Listeners"): one thread has all of these sockets.

Each belongs to one session, and is accepted from only while that session is connected and has room for streams: else
connections wait in the kernel. Another session of the same client that asks for the same place takes the socket over,
so a place is never held by the dead.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
from collections.abc import Iterable
from typing import Protocol

from ..facts import limits
from ..facts.errors import CannotCreate
from ..facts.wire import Frame, Kind, Reply
from ..net.listener import PAUSE, bind, is_missing
from ..net.ondemand import OnDemand
from ..net.paths import Named, bind_path
from ..net.race import tune
from ..net.timers import now
from ..net.turns import Turning, Turns
from ..protocol import frames
from ..protocol.frames import Address, Target
from ..protocol.listening import ListenRules, Places
from ..session.dialling import Unreached
from ..session.reaching import name_of

log = logging.getLogger(__name__)
_LOOK = 0.2  # seconds between looks whether a session is connected, or has room again
_JUDGED = 5.0  # seconds between looks at the rules
_AT_ONCE = 64  # connections accepted in one turn of a listener
_NOBODY = Unreached(Reply.NOT_PERMITTED, "this client is not authorised at present")


class Owner(Protocol):
    """A session, as its listeners know it: any thread."""

    client_id: bytes

    @property
    def ready(self) -> bool:
        """Whether it is connected, and has room for one more stream."""

    def listen_rules(self) -> ListenRules | None:
        """As they are now; None where the client is not authorised."""

    def say(self, frame: bytes) -> None:
        """Has a frame of a listener sent."""

    def came(self, listener: int, where: Target, local: socket.socket, peer: Address) -> bool:
        """Carries a connection; False where there is no place for it, and it stays the caller's."""

    def left(self) -> None:
        """Nothing comes any more: the session was over, and its listeners are closed."""

    def listener_told(self, what: str, where: Target, reason: str = "") -> None:
        """Something is to be logged: an event of the audit trail, without "listening-"."""


class Listens:
    """`ask`, `close`, `leave` and `stop` may be called by any thread; all else is the thread's."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.of: dict[Owner, dict[int, Listener]] = {}
        self._thread = OnDemand("listens", self._run)

    def ask(self, owner: Owner, number: int, where: Target) -> None:
        """LISTEN: `owner` says LISTENING, sooner or later."""
        if not self._thread.give(lambda: self.turns.call(lambda: self._listen(owner, number, where))):
            owner.say(_refusal(number, Unreached(Reply.GENERAL, "the server is short of threads")))

    def close(self, owner: Owner, number: int) -> None:
        """UNLISTEN of the client."""
        self._thread.give(lambda: self.turns.call(lambda: self._close(owner, number)))

    def leave(self, owner: Owner) -> None:
        """The session is over."""
        self._thread.give(lambda: self.turns.call(lambda: self._leave(owner)))

    def stop(self) -> None:
        """Closes all; the server ends."""
        self._thread.stop(self.turns.stop)
        self.turns.close()

    def _run(self) -> None:
        while not self.turns.stopped:
            for what in self.turns.wait():
                self._go_on(what)
        self.turns.wait()  # does what was called for meanwhile
        for what in list(self.turns.live):
            what.close()

    def _go_on(self, what: Turning) -> None:
        try:
            what.go_on()
        except Exception:
            log.exception("internal error; a listener is closed")
            what.close()

    def _close(self, owner: Owner, number: int) -> None:
        if (listener := self.of.get(owner, {}).get(number)) is not None:
            listener.close()

    def _leave(self, owner: Owner) -> None:
        for listener in list(self.of.get(owner, {}).values()):
            listener.close()
        owner.left()

    # -- LISTEN --------------------------------------------------------------------------------------------------------

    def _listen(self, owner: Owner, number: int, where: Target) -> None:
        made = self._made(owner, number, where)
        if isinstance(made, Unreached):
            owner.listener_told("refused", where, made.text)
            owner.say(_refusal(number, made))
            return
        self.of.setdefault(owner, {})[number] = made
        owner.listener_told("started", made.where)
        owner.say(frames.listening(number, made.at))
        self.turns.again(made)

    def _made(self, owner: Owner, number: int, where: Target) -> Listener | Unreached:
        rules = owner.listen_rules()
        if rules is None:
            return _NOBODY
        places = permitted(where, rules)
        if isinstance(places, Unreached):
            return places
        if len(self.of.get(owner, {})) >= limits.LISTENERS:
            return Unreached(Reply.GENERAL, f"{limits.LISTENERS} listeners are open")
        if (taken := self._same(owner, where)) is not None:
            taken.give_to(owner, number)
            return taken
        try:
            bound = _bind(places) if isinstance(places, Places) else [bind_path(places, limits.SOCKET_MODE)]
        except CannotCreate as error:
            return Unreached(Reply.GENERAL, str(error))
        listener = Listener(self, owner, number, where, bound)
        self.turns.join(listener)
        return listener

    def _same(self, owner: Owner, where: Target) -> Listener | None:
        """A listener of the same client at the same place, which is not any free port."""
        if where.kind == Kind.TCP and not where.port:
            return None
        own = (each for each in self.of if each.client_id == owner.client_id)
        return next((at for each in own for at in self.of[each].values() if at.where == where), None)


class Listener:
    """One listener: its sockets, and the session that it belongs to at the moment."""

    def __init__(
        self, owner: Listens, session: Owner, number: int, where: Target, bound: Iterable[socket.socket | Named]
    ) -> None:
        self._owner, self._session, self._number = owner, session, number
        self._bound = list(bound)
        self._socks = [each.sock if isinstance(each, Named) else each for each in self._bound]
        for sock in self._socks:
            sock.setblocking(False)
        name = self._socks[0].getsockname()
        self.at = Address(where.host, 0) if where.kind == Kind.UNIX else Address(str(name[0]), int(name[1]))
        self.where = where if where.port or where.kind == Kind.UNIX else where._replace(port=self.at.port)
        self._judged = now() + _JUDGED

    def give_to(self, session: Owner, number: int) -> None:
        """Another session takes it over, with all that waits in the kernel."""
        self._session.listener_told("ended", self.where, "another session of this client took it over")
        self._session.say(frames.unlisten(self._number))
        self._forget()
        self._session, self._number = session, number

    def go_on(self) -> None:
        """As Turning: accepts what may be accepted."""
        if (at := now()) >= self._judged:
            self._judged = at + _JUDGED
            if not self._permitted():
                self._end("it is no longer permitted")
                return
        ready = all(map(self._accept, self._socks))
        for sock in self._socks:
            self._owner.turns.watch(sock.fileno(), selectors.EVENT_READ if ready else 0, self)
        self._owner.turns.at(self._judged if ready else now() + _LOOK, self)

    def _permitted(self) -> bool:
        rules = self._session.listen_rules()
        return rules is not None and not isinstance(permitted(self.where, rules), Unreached)

    def _accept(self, sock: socket.socket) -> bool:
        """False where it is to be tried again later, and not watched meanwhile."""
        for _ in range(_AT_ONCE):
            if not self._session.ready:
                return False
            try:
                local, peer = sock.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                log.warning("a connection to %s cannot be accepted: %s", name_of(self.where), error.strerror)
                self._owner.turns.at(now() + PAUSE, self)
                return False
            tune(local)
            local.setblocking(False)
            at = Address(str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else Address("", 0)
            if not self._session.came(self._number, self.where, local, at):
                local.close()
        self._owner.turns.again(self)
        return True

    def _end(self, reason: str) -> None:
        self._session.say(frames.unlisten(self._number))
        self.close(reason)

    def _forget(self) -> None:
        mine = self._owner.of[self._session]
        del mine[self._number]
        if not mine:
            del self._owner.of[self._session]

    def close(self, reason: str = "") -> None:
        """As Turning."""
        self._session.listener_told("ended", self.where, reason)
        for sock in self._socks:
            self._owner.turns.forget(sock.fileno())
            sock.close()
        for each in self._bound:
            if isinstance(each, Named):
                each.remove()
        self._owner.turns.part(self)
        self._forget()


def permitted(where: Target, rules: ListenRules) -> Places | str | Unreached:
    """Where a client may listen: places, or the path of a unix socket."""
    denied = Unreached(Reply.NOT_PERMITTED, f"listening on {name_of(where)} is not permitted for this client")
    if where.kind == Kind.UNIX:
        directory, _, name = where.host.rpartition("/")
        path = f"{os.path.realpath(directory)}/{name}" if where.host.startswith("/") and name else ""
        return path if path and rules.permits_path(path) else denied
    if where.kind != Kind.TCP:
        return Unreached(Reply.COMMAND, "this server does not listen for datagrams")
    try:
        return rules.places(where) or denied
    except ValueError:
        return Unreached(Reply.ADDRESS_TYPE, f"{name_of(where)} is not an address; write one, localhost or *")


def _bind(places: Places) -> list[socket.socket]:
    """All of these hosts at the first port that is free at the first of them. Raises CannotCreate."""
    for port in (ports := places.ports):
        try:
            first = bind(places.hosts[0], port)
        except CannotCreate:
            if port == ports[-1]:
                raise
        else:
            break
    bound = [first]
    for host in places.hosts[1:]:
        try:
            bound.append(bind(host, int(first.getsockname()[1])))
        except CannotCreate as error:
            if not is_missing(error):  # a machine may have no ::1
                for sock in bound:
                    sock.close()
                raise
    return bound


def _refusal(number: int, why: Unreached) -> bytes:
    return frames.refusal(Frame.LISTENING, number, why.reply, why.text)
