"""The decoy: a web server that the operator names, which serves whatever is not ours (protocol 3.6, D1)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NetworkError
from ..net.connect import client_context
from ..net.ends import End
from ..net.outgoing import Outgoing
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
    """The web thread's, but for `look`."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.server = "nginx"  # how it names itself, as soon as it did
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
        with suppress(OSError, ValueError, NetworkError):
            self.server = self._ask() or self.server

    def _ask(self) -> str:
        waiter, until, end = Waiter(), now() + limits.DECOY_DIAL, None
        outgoing = self.begin(lambda fd, events: waiter.watch(fd, events, fd), waiter.forget)
        try:
            while (end := outgoing.advance(now())) is None:
                waiter.select(max(0.0, outgoing.next_at - now()))
            return _named(end, _ASKS % self.site.host.encode("idna"), until)
        finally:
            if end is None:
                outgoing.close()
            else:
                end.close()
            waiter.close()

    def begin(self, watch: Callable[[int, int], None], forget: Callable[[int], None]) -> Outgoing:
        """A connection to it, as in Outgoing."""
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


def _named(end: End, asks: bytes, until: float) -> str:
    """The Server header of the answer; nothing where none comes in time. Raises NetworkError."""
    answers, buffer = Answers(), memoryview(bytearray(limits.FIRST_READ))
    answers.expect(b"HEAD")
    end.write_some(memoryview(asks))  # the first bytes of a connection: they fit
    while (left := until - now()) > 0:
        if size := end.read_some(buffer):
            answers.feed(bytes(buffer[:size]))
            event = answers.next()
            if event is not None:
                return value(event.headers, b"server").decode("latin-1") if isinstance(event, AnswerHead) else ""
        elif end.dry:
            wait({end.fd: end.read_wants}, left)
    return ""
