"""`-R`: the server listens, and what connects there is carried to targets near this client (protocol 5, "Listeners").

All -R of a program are kept on one session. When it is over, they are asked for on the next one, which is made where
there is none: so the server's ports come back after an outage that no session outlived.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..facts import limits
from ..facts.errors import NetworkError, NitroSocksError, NotAuthorised
from ..facts.wire import Kind, Reply
from ..net.race import Place, find
from ..net.timers import jittered, now
from ..protocol.frames import Address, Reason, Target
from ..session.dialling import Found, Ruling
from ..session.dials import Dials, Reach
from ..session.reaching import unfound
from ..session.streams import Ending, Stream
from .keeper import Keeper
from .session import OWN_END, ClientSession

if TYPE_CHECKING:
    from .pool import Pool

log = logging.getLogger(__name__)
_AGAIN = 10.0  # seconds until a place that was refused later on is asked for again


@dataclass(eq=False, slots=True)
class Remote:
    """One -R: where the server is to listen, and the target near this client."""

    where: Target
    target: Target
    at: Address | None = None  # where it listens; inbound of the session
    refused: Reason | None = None  # why not
    given_up: bool = False  # the server took it away: it is not asked for again
    told: threading.Event = field(default_factory=threading.Event)  # LISTENING came for the first time

    @property
    def place(self) -> str:
        """Where it listens, for people; before LISTENING, where it was asked for."""
        at = self.where if self.at is None else self.where._replace(port=self.at.port)
        return str(at) if at.host else f"*:{at.port}"

    def answered(self, answer: Address | Reason) -> None:
        """LISTENING; inbound of the session."""
        self.at, self.refused = (answer, None) if isinstance(answer, Address) else (None, answer)
        if self.told.is_set() and self.refused is not None:
            log.warning("the server no longer listens on %s: %s", self.place, self.refused.text)
        self.told.set()

    def taken_away(self, draining: bool) -> None:
        """UNLISTEN; inbound of the session. A server that is about to stop is asked again when it is back."""
        self.at = None
        if not draining:
            self.given_up = True
            log.warning(
                "the server no longer listens on %s: another client with this profile does, or the rules changed",
                self.place,
            )

    def over(self, stream: Stream) -> None:
        """A connection that came there is over; inbound, or the owner of the session."""
        if stream.ending is Ending.REFUSED:
            log.warning("%s: a connection to %s at the server was refused: %s", self.target, self.place, stream.reason)
        elif stream.ending is Ending.LOST and stream.reason != OWN_END:
            log.warning("%s: connection reset: %s", self.target, stream.reason)


class Remotes(Keeper):
    """Keeps all -R on one session; a thread of its own. `start`, `hurry` and `stop` may be called by any thread."""

    def __init__(self, pool: Pool, remotes: Iterable[Remote]) -> None:
        self._pool, self.remotes = pool, list(remotes)
        reach = Reach()
        self.dialling = lambda waiter: Dials(b"", _Anywhere, reach, waiter)
        self._changed = threading.Condition()
        self._holder: ClientSession | None = None
        self._stopped = self._hurried = False
        self._thread = threading.Thread(target=self._run, name="remotes", daemon=True)
        pool.keeper = self

    def start(self) -> None:
        """Asks for all, and waits for the answers. Raises NotAuthorised or NetworkError where one is refused."""
        self._thread.start()
        until = now() + limits.HANDSHAKE
        for remote in self.remotes:
            if not remote.told.wait(max(0.0, until - now())):
                raise NetworkError(f"the server does not say whether it listens on {remote.place}")
            if (refused := remote.refused) is not None:
                kind = NotAuthorised if refused.code == Reply.NOT_PERMITTED else NetworkError
                raise kind(
                    f"-R {remote.place}: {refused.text}", "the operator permits it: nitrosocks permit NAME --listen …"
                )

    def hurry(self) -> None:
        """Ends a pause."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Asks for nothing any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def gone(self, session: object) -> None:
        """As Keeper."""
        with self._changed:
            if self._holder is session:
                self._holder = None
                self._changed.notify_all()

    def holds(self, session: object) -> bool:
        """As Keeper."""
        return self._holder is session

    def _run(self) -> None:
        pause = limits.BACKOFF_FIRST
        while not self._stopped:
            try:
                self._ask(self._session())
                pause = limits.BACKOFF_FIRST
            except NitroSocksError as error:
                log.info("no session for -R: %s", error)
                self._wait(jittered(pause), None)
                pause = min(pause * 2, limits.BACKOFF_MAX)
                continue
            while not self._stopped and (holder := self._holder) is not None:
                self._wait(_AGAIN, holder)
                self._ask_refused()

    def _wait(self, seconds: float, holder: ClientSession | None) -> None:
        """Less, where it is stopped or hurried, or where another session than this is the holder, or none."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._hurried or self._holder is not holder, seconds)
            self._hurried = False

    def _session(self) -> ClientSession:
        """One that lives, made where there is none. Raises NitroSocksError."""
        usable = [session for session in self._pool.sessions if session.usable]
        if not usable:
            self._pool.start()
            usable = [session for session in self._pool.sessions if session.usable]
        if not usable:
            raise NetworkError("the session was over at once")
        return usable[0]

    def _ask(self, session: ClientSession) -> None:
        with self._changed:
            self._holder = session
        for remote in self.remotes:
            if not remote.given_up:
                session.tunnel.listen(remote)
        if session not in self._pool.sessions:  # it was over before it was known as the holder
            self.gone(session)

    def _ask_refused(self) -> None:
        holder = self._holder
        for remote in self.remotes if holder is not None else ():
            if remote.refused is not None and not remote.given_up and holder is not None:
                holder.tunnel.listen(remote)


@dataclass(frozen=True, slots=True)
class _Anywhere(Ruling):
    """A target that was named on this machine's command line: wherever it leads."""

    target: Target

    def place(self) -> Found | None:
        """As Ruling."""
        if self.target.kind == Kind.UNIX:
            return [(socket.AF_UNIX, self.target.host.encode())]
        try:
            return find(self.target.host, self.target.port, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return None
        except (OSError, ValueError) as error:
            return unfound(self.target.host, error)

    def permitted(self, found: Iterable[Place]) -> Found:
        """As Ruling."""
        return list(found)

    def reached(self, at: Address) -> None:
        """As Ruling."""
