"""UDP ASSOCIATE of SOCKS 5 (RFC 1928, 7): an application's datagrams, each of which names its target.

There is a stream for each target of an association (protocol 5, UD6). The association lives as long as the connection
that asked for it.
"""

from __future__ import annotations

import logging
import selectors
import socket
from contextlib import suppress
from ipaddress import ip_address

from ..facts import limits
from ..facts.errors import CannotCreate
from ..facts.wire import Reply
from ..net.datagrams import AT_ONCE, ROOM, roomy
from ..net.flows import Flows
from ..net.listener import DATAGRAM, bind
from ..net.turns import Turns
from ..protocol.asked import Asked
from ..protocol.frames import Address, Target
from ..protocol.socks_server import Answers5, AnswersDatagram, datagram
from ..session.streams import Request
from .datagrams import Reports
from .pool import Pool

log = logging.getLogger(__name__)
_LOCAL = "127.0.0.1"  # where the application is whose connection came over a unix socket


class Associations:
    """All of a -D; of the thread that has its applications."""

    def __init__(self, pool: Pool, turns: Turns) -> None:
        self.pool, self.turns = pool, turns
        self.flows = Flows(turns)
        self.live: set[Association] = set()
        self.report = Reports().report

    def begin(self, local: socket.socket, asked: Asked) -> bytes:
        """Answers, and takes the connection over; or, where there can be no more, returns the answer that says so."""
        try:
            if len(self.live) >= limits.ASSOCIATIONS:
                raise CannotCreate(f"{limits.ASSOCIATIONS} do so already")
            association = Association(self, local, asked.target)
        except (CannotCreate, OSError) as error:  # or the application is gone
            log.info("an application cannot send datagrams: %s", error)
            return asked.answers.failed(Reply.GENERAL, "")
        self.live.add(association)
        return b""


class Association:
    """One of them: the connection that asked, and a socket for the datagrams of its application, and of nobody else."""

    def __init__(self, owner: Associations, local: socket.socket, sender: Target) -> None:
        """`sender` as the application asked; port 0: the first that comes decides. Raises CannotCreate."""
        unix = local.family == socket.AF_UNIX
        self._owner, self._local, self._port = owner, local, sender.port
        self._host = _LOCAL if unix else str(local.getpeername()[0])
        self._relay = bind(_LOCAL if unix else _unmapped(str(local.getsockname()[0])), 0, kind=DATAGRAM)
        self._relay.setblocking(False)
        roomy(self._relay)
        self._to: tuple[str | int, ...] | None = None  # where answers go
        host, port = self._relay.getsockname()[:2]
        with suppress(OSError):  # that it is gone is seen below
            local.send(Answers5().opened(Address(_plain(host), port)))
        for sock in self._local, self._relay:
            owner.turns.watch(sock.fileno(), selectors.EVENT_READ, self)
        owner.turns.join(self)

    def go_on(self) -> None:
        """As Turning."""
        try:
            if not self._local.recv(ROOM):  # what is said there means nothing; that it ends does
                self.close()
                return
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        for _ in range(AT_ONCE):
            try:
                packet, sender = self._relay.recvfrom(ROOM)
            except OSError:
                return
            if self._is_ours(sender):
                self._pass_on(packet)
        self._owner.turns.again(self)

    def _is_ours(self, sender: tuple[str | int, ...]) -> bool:
        if _plain(str(sender[0])) != _plain(self._host) or (self._port and sender[1] != self._port):
            return False
        self._port, self._to = int(sender[1]), sender
        return True

    def _pass_on(self, packet: bytes) -> None:
        if (asked := datagram(packet)) is not None and asked[1]:
            target, payload = asked
            request = Request(b"", AnswersDatagram().opened, lambda local, code, reason: local.close())
            self._owner.flows.pass_on(
                (self, target),
                payload,
                lambda far: self._owner.pool.open(target, far, self._owner.report, request),
                _Back(self).answer,
            )

    def send(self, packet: bytes) -> None:
        """To the application."""
        if self._to is not None:
            with suppress(OSError):  # what the socket refuses is lost, as on any network
                self._relay.sendto(packet, self._to)

    def close(self) -> None:
        """As Turning: its streams end, too. A second time it does nothing."""
        if self not in self._owner.live:
            return
        self._owner.live.discard(self)
        self._owner.flows.close(self)
        for sock in self._local, self._relay:
            self._owner.turns.forget(sock.fileno())
            sock.close()
        self._owner.turns.part(self)


class _Back:
    """What comes back from one target: first the header of all that follow, which its stream says when it is opened."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._head = b""

    def answer(self, came: bytes) -> None:
        """One of these."""
        if self._head:
            self._association.send(self._head + came)
        else:
            self._head = came


def _plain(host: str) -> str:
    """An IPv4 address in the form of IPv6 as the first; without a zone."""
    return _unmapped(host.partition("%")[0])


def _unmapped(host: str) -> str:
    """The first alone: an application at all interfaces has it so, and no socket of IPv6 alone can be bound to it."""
    address = ip_address(host)
    return str((address.version == 6 and address.ipv4_mapped) or address)
