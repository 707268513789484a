"""One attempt to reconnect (protocol 3.5), in a thread of its own, so that the session's can give up meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from ..crypto.seal import overwrite_used
from ..facts.errors import NetworkError, NitroSocksError
from ..facts.wire import Abort
from ..facts.words import said
from ..net.link import Link
from ..net.timers import now
from ..protocol.greet import Recovered
from ..protocol.handshake import Terms
from .dialler import Dialler
from .farewell import abort_first
from .ticket import Ticket

log = logging.getLogger(__name__)


class Attempt:
    """Begins at once. When `done`, either `error` is set, or `link` and `recovered` are the owner's to use."""

    def __init__(
        self, dialler: Dialler, server: tuple[str, int], link: Link | None, finished: Callable[[], None]
    ) -> None:
        """`link` is one that is connected already; `finished()` is called by the attempt's thread at its end."""
        self._dialler, self._server, self._finished = dialler, server, finished
        self.link = link
        self.recovered: Recovered | None = None
        self.round_trip = 0.0  # seconds from RESUME to RECOVERED
        self.error: NitroSocksError | None = None
        self.done = False
        self._abandoned = False
        self._left = Ticket()

    def start(self, terms: Terms, number: int, received: int) -> None:
        """`number` is j, `received` our count of numbered frames, which is final."""
        self._terms = terms
        thread = threading.Thread(target=self._run, args=(terms, number, received), name="attempt", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # none is left: as good as a network that is down
            self._fail(error)
            self.done = True

    def abandon(self) -> None:
        """The owner waits no longer: when the attempt succeeds all the same, the session is ended with ABORT."""
        self._abandoned = True
        if self.done:
            self._discard()

    def _run(self, terms: Terms, number: int, received: int) -> None:
        try:
            if self.link is None:
                self.link = self._dialler.connect(self._server)
            asked = now()
            self.recovered = self._dialler.resume(self.link, self._server, terms, number, received)
            self.round_trip = now() - asked
        except Exception as error:
            self._fail(error)
        overwrite_used()
        self.done = True
        if self._abandoned:
            self._discard()
        self._finished()

    def _fail(self, error: Exception) -> None:
        """Descriptors or memory may be there again at the next attempt, so whatever it was ends this one only."""
        if isinstance(error, NitroSocksError):
            self.error = error
        else:
            log.info("an attempt to reconnect failed", exc_info=error)
            self.error = NetworkError(f"no attempt can be made: {said(error)}")
        if self.link is not None:
            self.link.close()

    def _discard(self) -> None:
        """Nobody uses what came of it; run by whichever thread is the second to know."""
        if self.recovered is None or self.link is None or not self._left.take():
            return
        with suppress(NetworkError):
            abort_first(self.link, self.recovered.keys, self._terms.encrypt_type, Abort.OTHER)
        self.link.close(now() + 1.0)
