"""`-L udp:…`: datagrams that come to a port near the client go to one target; each sender has a stream of its own."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable

from ..facts import limits
from ..net.flows import Entry, Flows
from ..net.ondemand import OnDemand
from ..net.timers import now
from ..net.turns import Turns
from ..protocol.frames import Target
from ..session.streams import Ending, Stream
from .pool import Pool
from .refusals import refusal
from .session import OWN_END

log = logging.getLogger(__name__)
_SAID_MOST = 64  # different lines in that time; who asks for many targets may be refused many


class Datagrams:
    """All such ports of a program, in one thread; `start` and `stop` may be called by any."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.turns = Turns()
        self.flows = Flows(self.turns)
        self._thread = OnDemand("datagrams", self.turns.run)
        self._report = Reports().report

    def start(self, bound: Iterable[tuple[socket.socket, Target]]) -> None:
        """Takes bound sockets over: what comes there goes to their targets."""
        kept = list(bound)
        self._thread.give(lambda: self.turns.call(lambda: self._enter(kept)))

    def stop(self) -> None:
        """Closes all, and ends the thread."""
        self._thread.stop(self.turns.stop)
        self.turns.close()

    def _enter(self, bound: list[tuple[socket.socket, Target]]) -> None:
        for sock, target in bound:
            self._serve(sock, target)

    def _serve(self, sock: socket.socket, target: Target) -> None:
        Entry(self.flows, sock, lambda far, _: self._pool.open(target, far, self._report))


class Reports:
    """Says why datagrams do not get through: each sender's next one would say the same again. Any thread."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}  # what was said, and when

    def report(self, stream: Stream) -> None:
        """A stream is over."""
        if stream.ending is Ending.REFUSED:
            self._say(refusal(stream.target, stream.detail, stream.reason).in_full)
        elif stream.ending is Ending.LOST and stream.reason != OWN_END:
            self._say(f"{stream.target}: datagrams are lost: {stream.reason}")

    def _say(self, text: str) -> None:
        at = now()
        self._said = {each: since for each, since in self._said.items() if at - since < limits.SAID}
        if text not in self._said and len(self._said) < _SAID_MOST:
            log.warning("%s", text)
            self._said[text] = at
