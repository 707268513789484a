"""The decoy: a web server that the operator names, which serves whatever is not ours (protocol 3.6, D1)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NetworkError
from ..facts.words import said
from ..net.connect import client_context
from ..net.ends import End
from ..net.outgoing import Outgoing
from ..net.own import Address, is_own
from ..net.race import Place, find
from ..net.timers import Seldom, now
from ..net.wake import Waiter, wait
from ..protocol.http1 import AnswerHead, Answers, value

log = logging.getLogger(__name__)
_ASKS = b"HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
_HTTP = ["http/1.1"]  # what a request is relayed as; HTTP/2 could not carry it unchanged


@dataclass(frozen=True, slots=True)
class Site:
    """Where the decoy is, and whether it is reached by TLS, as its name, which its certificate must bear."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


class Decoy:
    """The web thread's, but for `look` and `begin`, and for `warn` and `leads_to` before that thread begins."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.server = "nginx"  # how it names itself, as soon as it did
        self._flaw = ""  # what was wrong when it was looked at
        self._places: list[Place] = []
        self._looks = threading.Lock()
        self._seldom = Seldom()
        self._context = client_context(True) if site.tls else None
        if self._context is not None:
            self._context.set_alpn_protocols(_HTTP)

    def look(self) -> None:
        """Looks its name up, and how it names itself: the first answer of ours is to say so, too. Blocks; any thread.

        What was found before stays where nothing is found.
        """
        with suppress(OSError, ValueError):
            self._places = find(self.site.host, self.site.port) or self._places
        try:
            self.server, self._flaw = self._ask() or self.server, ""
        except (OSError, ValueError, NetworkError) as error:
            self._flaw = said(error)

    def warn(self) -> None:
        """Says what is wrong with it, if anything was when it was looked at: better at the start than to a visitor."""
        if self._flaw:
            log.warning("the decoy %s does not serve now: %s", self.site, self._flaw)

    def leads_to(self, addresses: Iterable[tuple[str, int]]) -> bool:
        """Whether it is at one of these, at which we listen ourselves: requests would go in a circle."""
        listening = [(_address(host), port) for host, port in addresses]
        for there, port in ((_address(str(place[0])), place[1]) for _, place in self._places):
            ours = [here for here, at in listening if at == port and here.version == there.version]
            if there in ours or (any(here.is_unspecified for here in ours) and is_own(there)):
                return True
        return False

    def _ask(self) -> str:
        waiter, until, end = Waiter(), now() + limits.DECOY_DIAL, None
        outgoing = self.begin(lambda fd, events: waiter.watch(fd, events, fd), waiter.forget)
        try:
            while (end := outgoing.advance(now())) is None:
                waiter.select(max(0.0, outgoing.next_at - now()))
            head = _asked(end, _ASKS % self.site.host.encode("idna"), until)
            if head.status == 400 and not self.site.tls:
                raise NetworkError(f"it answers 400 to HEAD /; if it speaks TLS, name it as https://{self.site}")
            return value(head.headers, b"server").decode("latin-1")
        finally:
            if end is None:
                outgoing.close()
            else:
                end.close()
            waiter.close()

    def begin(self, watch: Callable[[int, int], None], forget: Callable[[int], None]) -> Outgoing:
        """A connection to it, as in Outgoing; any thread."""
        tls = (self._context, self.site.host) if self._context is not None else None
        return Outgoing(self._places, now() + limits.DECOY_DIAL, watch, forget, tls)

    def failed(self, error: NetworkError) -> None:
        """It could not be reached: says so once a minute, and has its name looked up again, in a thread."""
        if not self._seldom.due():
            return
        log.warning("the decoy %s cannot be reached: %s; what is not ours is not answered", self.site, error)
        with suppress(RuntimeError):  # no thread is left: in a minute, then
            threading.Thread(target=self._look_again, name="decoy", daemon=True).start()

    def _look_again(self) -> None:
        if self._looks.acquire(blocking=False):
            with suppress(Exception):
                self.look()
            self._looks.release()


def _address(text: str) -> Address:
    return ip_address(text.partition("%")[0])  # without its zone


def _asked(end: End, asks: bytes, until: float) -> AnswerHead:
    """The head of its answer. Raises NetworkError."""
    answers, buffer = Answers(), memoryview(bytearray(limits.FIRST_READ))
    answers.expect(b"HEAD")
    end.write_some(memoryview(asks))  # the first bytes of a connection: they fit
    while (left := until - now()) > 0:
        if size := end.read_some(buffer):
            answers.feed(bytes(buffer[:size]))
            event = answers.next()
            if isinstance(event, AnswerHead):
                return event
            if event is not None:
                raise NetworkError("it does not answer in HTTP/1.1")
        elif end.dry:
            wait({end.fd: end.read_wants}, left)
    raise NetworkError("no answer in time")
