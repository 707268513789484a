"""Where the server listens for its clients (protocol 5, "Listeners"): one thread has all of these sockets.

Each belongs to one session, and is accepted from only while that session is connected and has room for streams: else
connections wait in the kernel. Another session of the same client that asks for the same place takes the socket over,
so a place is never held by the dead.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
from collections.abc import Iterable
from typing import Protocol

from ..facts import limits
from ..facts.errors import CannotCreate
from ..facts.wire import Frame, Kind, Reply
from ..net.flows import Entry, Flows, Sender
from ..net.listener import PAUSE
from ..net.ondemand import OnDemand
from ..net.paths import Named
from ..net.race import tune
from ..net.sockets import descriptors
from ..net.timers import now
from ..net.turns import Turns
from ..protocol import frames
from ..protocol.frames import Address, Target
from ..protocol.listening import ListenRules
from ..session.dialling import Unreached
from ..session.reaching import name_of
from ..session.shares import Shares
from .binding import bound, permitted

log = logging.getLogger(__name__)
_LOOK = 0.2  # seconds between looks whether a session is connected, or has room again
_JUDGED = 5.0  # seconds between looks at the rules
_AT_ONCE = 64  # connections accepted in one turn of a listener
_EACH = 16  # of so many descriptors one is for a listener, which may take two
_NOBODY = Unreached(Reply.NOT_PERMITTED, "this client is not authorised at present")
_STOPS = "the server is about to stop"
_ELSEWHERE = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)  # another place may do
_NEW = "a rule for a new directory counts when 'nitrosocks serve' is started again"  # Landlock: files.profiles


class Owner(Protocol):
    """A session, as its listeners know it: any thread."""

    client_id: bytes

    @property
    def connected(self) -> bool:
        """Whether it has a connection."""

    @property
    def ready(self) -> bool:
        """Whether it is connected, and has room for one more stream."""

    @property
    def used_up(self) -> bool:
        """Whether it can never carry one more."""

    def listen_rules(self) -> ListenRules | None:
        """As they are now; None where the client is not authorised."""

    def say(self, frame: bytes) -> None:
        """Has a frame of a listener sent, unless the session is over."""

    def over(self, listener: int) -> None:
        """This one is over, or never began."""

    def came(self, listener: int, where: Target, local: socket.socket, peer: Address) -> None:
        """Carries a connection, or resets it where there is no place for it."""

    def left(self) -> None:
        """Nothing comes any more: the session was over, and its listeners are closed."""

    def listener_told(self, what: str, where: Target, reason: str = "") -> None:
        """Something is to be logged: an event of the audit trail, without "listening-"."""


class Listens:
    """`ask`, `close`, `leave` and `stop` may be called by any thread; all else is the thread's."""

    def __init__(self, shares: Shares | None = None) -> None:
        """`shares` bounds how many listeners there are."""
        self.turns = Turns()
        self.of: dict[Owner, dict[int, Listener]] = {}
        self.shares = shares or Shares(min(limits.LISTENERS_IN_ALL, descriptors() // _EACH))
        self._thread = OnDemand("listens", self.turns.run)
        self._draining = False

    def ask(self, owner: Owner, number: int, where: Target) -> None:
        """LISTEN: `owner` says LISTENING, sooner or later."""
        if not self._thread.give(lambda: self.turns.call(lambda: self._listen(owner, number, where))):
            owner.over(number)
            owner.say(_refusal(number, Unreached(Reply.GENERAL, "the server is short of threads, or stops")))

    def close(self, owner: Owner, number: int) -> None:
        """UNLISTEN of the client."""
        self._thread.give(lambda: self.turns.call(lambda: self._close(owner, number)))

    def leave(self, owner: Owner) -> None:
        """The session is over."""
        if not self._thread.give(lambda: self.turns.call(lambda: self._leave(owner))):
            owner.left()

    def drain(self) -> None:
        """Closes all, says so, and lets no further ones begin; any thread."""
        self._draining = True
        self._thread.give(lambda: self.turns.call(self._drain))

    def stop(self) -> None:
        """Closes all; the server ends."""
        self._thread.stop(self.turns.stop)
        self.turns.close()

    def _close(self, owner: Owner, number: int) -> None:
        if (listener := self.of.get(owner, {}).get(number)) is not None:
            listener.close()

    def _leave(self, owner: Owner) -> None:
        for listener in list(self.of.get(owner, {}).values()):
            listener.close()
        owner.left()

    def _drain(self) -> None:
        for listener in [at for own in self.of.values() for at in own.values()]:
            listener.end(_STOPS)

    # -- LISTEN --------------------------------------------------------------------------------------------------------

    def _listen(self, owner: Owner, number: int, where: Target) -> None:
        made = self._made(owner, number, where)
        if isinstance(made, Unreached):
            owner.listener_told("refused", where, made.text)
            owner.over(number)
            owner.say(_refusal(number, made))
            return
        self.of.setdefault(owner, {})[number] = made
        owner.listener_told("started", made.where)
        owner.say(frames.listening(number, made.at))
        self.turns.again(made)

    def _made(self, owner: Owner, number: int, where: Target) -> Listener | Unreached:
        rules = owner.listen_rules()
        if self._draining:
            return Unreached(Reply.GENERAL, _STOPS)
        if rules is None:
            return _NOBODY
        places = permitted(where, rules)
        if isinstance(places, Unreached):
            return places
        if (taken := self._same(owner, where)) is not None:
            if taken.session is owner:
                return Unreached(Reply.GENERAL, f"this session listens on {name_of(where)} already")
            taken.give_to(owner, number)
            return taken
        if not self.shares.take(owner.client_id):
            return Unreached(Reply.GENERAL, "the server listens at as many places as it can for this client")
        try:
            listener = Listener(self, owner, number, where, bound(places, where.kind))
        except CannotCreate as error:
            self.shares.give_back(owner.client_id)
            return Unreached(Reply.GENERAL, _reason(where, error))
        self.turns.join(listener)
        return listener

    def _same(self, owner: Owner, where: Target) -> Listener | None:
        """A listener of the same client at the same place, which is not any free port."""
        if where.kind != Kind.UNIX and not where.port:
            return None
        own = (each for each in self.of if each.client_id == owner.client_id)
        return next((at for each in own for at in self.of[each].values() if at.where == where), None)


class Listener:
    """One listener: its sockets, and the session that it belongs to at the moment."""

    def __init__(
        self, owner: Listens, session: Owner, number: int, where: Target, bound: Iterable[socket.socket | Named]
    ) -> None:
        self._owner, self.session, self._number = owner, session, number
        self._bound = list(bound)
        self._socks = [each.sock if isinstance(each, Named) else each for each in self._bound]
        for sock in self._socks:
            sock.setblocking(False)
        name = self._socks[0].getsockname()
        self._entries: list[Entry] = []  # of datagrams
        if where.kind == Kind.UDP:
            flows = Flows(owner.turns)
            self._entries = [Entry(flows, sock, self._began, self._is_open) for sock in self._socks]
            self._socks = []
        self.at = Address(where.host, 0) if where.kind == Kind.UNIX else Address(str(name[0]), int(name[1]))
        self.where = where if where.port or where.kind == Kind.UNIX else where._replace(port=self.at.port)
        self._judged = now() + _JUDGED

    def give_to(self, session: Owner, number: int) -> None:
        """Another session takes it over, with all that waits in the kernel."""
        self.session.listener_told("ended", self.where, "another session of this client took it over")
        self.session.say(frames.unlisten(self._number))
        self._forget()
        self.session, self._number = session, number

    def go_on(self) -> None:
        """As Turning: accepts what may be accepted."""
        if (at := now()) >= self._judged:
            self._judged = at + _JUDGED
            if why := self._ends_for():
                self.end(why)
                return
        ready = all(map(self._accept, self._socks))  # of datagrams entries take care
        for sock in self._socks:
            self._owner.turns.watch(sock.fileno(), selectors.EVENT_READ if ready else 0, self)
        self._owner.turns.at(self._judged if ready else now() + _LOOK, self)

    def _ends_for(self) -> str:
        """Why it may not go on, or nothing."""
        if self.session.used_up:
            return "the session can open no more streams"
        rules = self.session.listen_rules()
        allowed = rules is not None and not isinstance(permitted(self.where, rules), Unreached)
        return "" if allowed else "it is no longer permitted"

    def _accept(self, sock: socket.socket) -> bool:
        """False where it is to be tried again later, and not watched meanwhile."""
        for _ in range(_AT_ONCE):
            if not self.session.ready:
                return False
            try:
                local, peer = sock.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                log.warning("a connection to %s cannot be accepted: %s", name_of(self.where), error.strerror)
                self._owner.turns.at(now() + PAUSE, self)
                return False
            tune(local, carried=True)
            local.setblocking(False)
            at = Address(str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else Address("", 0)
            self.session.came(self._number, self.where, local, at)
        self._owner.turns.again(self)
        return True

    def _is_open(self) -> bool:
        return self.session.connected

    def _began(self, local: socket.socket, sender: Sender) -> None:
        """Datagrams of a new sender came."""
        if not self.session.ready:
            local.close()
            return
        self.session.came(self._number, self.where, local, Address(str(sender.address[0]), int(sender.address[1])))

    def end(self, reason: str) -> None:
        """Closes it, and says so to the client."""
        session, number = self.session, self._number
        self.close(reason)
        session.say(frames.unlisten(number))

    def _forget(self) -> None:
        self.session.over(self._number)
        mine = self._owner.of[self.session]
        del mine[self._number]
        if not mine:
            del self._owner.of[self.session]

    def close(self, reason: str = "") -> None:
        """As Turning."""
        for sock in self._socks:
            self._owner.turns.forget(sock.fileno())
            sock.close()
        for entry in self._entries:
            entry.close()
        for each in self._bound:
            if isinstance(each, Named):
                each.remove()
        self.session.listener_told("ended", self.where, reason)
        self._owner.turns.part(self)
        self._owner.shares.give_back(self.session.client_id)
        self._forget()


def _reason(where: Target, error: CannotCreate) -> str:
    """Why there is no listener; who asked knows where."""
    reason, cause = str(error).rpartition(": ")[2], error.__cause__
    if where.kind == Kind.UNIX and isinstance(cause, PermissionError):
        return f"{reason}; {_NEW}"
    return f"{reason}; {error.hint}" if isinstance(cause, OSError) and cause.errno in _ELSEWHERE else reason


def _refusal(number: int, why: Unreached) -> bytes:
    return frames.refusal(Frame.LISTENING, number, why.reply, why.text)
