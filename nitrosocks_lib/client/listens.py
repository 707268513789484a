"""`-R`: the server listens, and what connects there is carried to targets near this client (protocol 5, "Listeners").

A -R that names no target leaves it to whoever connects there (`reverse`).

All -R of a program are kept on one session. When it is over, they are asked for on the next one, which is made where
there is none: so the server's ports come back after an outage that no session outlived.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..facts import limits
from ..facts.errors import NetworkError, NitroSocksError, NotAuthorised
from ..facts.wire import Reply
from ..net.timers import jittered, now
from ..protocol.frames import Address, Reason, Target
from ..session.dials import Dials, Reach
from ..session.streams import Ending, Stream
from .direct import ASKED, Anywhere
from .keeper import Keeper, Reaching
from .refusals import listening
from .session import OWN_END, ClientSession

if TYPE_CHECKING:
    from ..protocol.proxy_auth import Login
    from .pool import Pool
    from .reverse import Reverse

log = logging.getLogger(__name__)
_AGAIN = 10.0  # seconds until a place that was refused later on is asked for again


@dataclass(eq=False, slots=True)
class Remote:
    """One -R: where the server is to listen, and the target near this client; None: each connection names its own."""

    where: Target
    target: Target | None
    session: ClientSession | None = None  # where it was asked for last
    picked: int = 0  # the port that the server picked for port 0: it is asked for again
    at: Address | None = None  # where it listens; inbound of the session
    refused: Reason | None = None  # why not
    given_up: bool = False  # the server took it away: it is not asked for again
    told: threading.Event = field(default_factory=threading.Event)  # LISTENING came for the first time

    @property
    def place(self) -> str:
        """Where it listens, for people; before LISTENING, where it was asked for."""
        at = self.where if self.at is None else self.where._replace(port=self.at.port)
        return str(at) if at.host else f"*:{at.port}"

    @property
    def forbidden(self) -> bool:
        """Whether no rule of this client permits it."""
        return self.refused is not None and self.refused.code == Reply.NOT_PERMITTED

    @property
    def wanted(self) -> Target:
        """What LISTEN says."""
        return self.where._replace(port=self.where.port or self.picked)

    def answered(self, answer: Address | Reason) -> None:
        """LISTENING; inbound of the session."""
        first, before, port = not self.told.is_set(), self.refused, self.picked
        self.at, self.refused = (answer, None) if isinstance(answer, Address) else (None, answer)
        self.picked = 0 if self.where.port or self.at is None else self.at.port
        if self.refused is not None and not first and self.refused != before:
            log.warning("the server does not listen on %s: %s", self.place, self.refused.text)
        elif self.at is not None and not first and (before is not None or port != self.picked):
            log.warning("the server listens on %s", self.place)
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
            log.warning("a connection to %s at the server was refused: %s", self.place, stream.reason)
        elif stream.ending is Ending.LOST and stream.reason != OWN_END:
            log.warning("%s: connection reset: %s", self.target or "the proxy", stream.reason)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A Remote as it was asked for on one session: what another session says of it later does not count."""

    remote: Remote
    session: ClientSession

    @property
    def where(self) -> Target:
        """As in tunnel.Remote."""
        return self.remote.wanted

    @property
    def target(self) -> Target:
        """As in tunnel.Remote."""
        return self.remote.target or ASKED

    def answered(self, answer: Address | Reason) -> None:
        """As in tunnel.Remote."""
        if self.remote.session is self.session:
            self.remote.answered(answer)

    def taken_away(self, draining: bool) -> None:
        """As in tunnel.Remote."""
        if self.remote.session is self.session:
            self.remote.taken_away(draining)

    def over(self, stream: Stream) -> None:
        """As in tunnel.Remote."""
        self.remote.over(stream)


class Remotes(Keeper):
    """Keeps all -R on one session; a thread of its own. `start`, `hurry` and `stop` may be called by any thread."""

    def __init__(self, pool: Pool, remotes: Iterable[Remote], login: Login | None = None) -> None:
        """With `login` only applications that give it are served, where they name their targets."""
        self._pool, self.remotes = pool, list(remotes)
        self._reverse: Reverse | None = None
        self.dialling = self._reaching(login)
        self._changed = threading.Condition()
        self._holder: ClientSession | None = None
        self._stopped = self._hurried = False
        self._thread = threading.Thread(target=self._run, name="remotes", daemon=True)
        pool.keeper = self

    def _reaching(self, login: Login | None) -> Reaching:
        reach = Reach()
        if all(each.target for each in self.remotes):
            return lambda waiter: Dials(b"", Anywhere, reach, waiter)
        from .reverse import Leading, Reverse  # what others do not need is slow to import

        reverse = self._reverse = Reverse(reach, login)
        return lambda waiter: Leading(reverse, reach, waiter)

    def start(self, retry: bool = False) -> None:
        """Asks for all, and waits for the answers. Where one is refused, raises NotAuthorised or NetworkError, or with
        `retry` says so, and it is asked for again."""
        self._thread.start()
        until = now() + limits.HANDSHAKE
        for remote in self.remotes:
            remote.told.wait(max(0.0, until - now()))
        for remote in self.remotes:
            if remote.at is not None:
                continue
            error = _error(remote, [remote] if retry else self.remotes)
            if not retry:
                raise error
            log.warning("%s; asking again every %.0f s", error.in_full, _AGAIN)
            remote.told.set()

    def hurry(self) -> None:
        """Ends a pause."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Asks for nothing any more, and ends what asked for targets."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._reverse is not None:
            self._reverse.stop()

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
        pause, told, again = limits.BACKOFF_FIRST, False, False
        while not self._stopped:
            try:
                self._ask(self._session())
                log.log(  # the last that was told may be that the connection is lost
                    logging.WARNING if told or again else logging.INFO,
                    "-R: there is a %ssession, and the server is asked to listen",
                    "new " * again,
                )
                pause, told, again = limits.BACKOFF_FIRST, False, True
            except NitroSocksError as error:
                if not told:
                    log.warning("-R: the server cannot listen: %s; trying again", error)
                told = True
                self._wait(jittered(pause), None)
                pause = min(pause * 2, limits.BACKOFF_MAX)
                continue
            while not self._stopped and (holder := self._holder) is not None:
                self._wait(_AGAIN, holder)
                self._ask_refused(holder)

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
                self._ask_for(remote, session)
        if session not in self._pool.sessions or session.spent:  # it was so before it was known as the holder
            self.gone(session)

    def _ask_refused(self, holder: ClientSession) -> None:
        for remote in self.remotes if self._holder is holder else ():
            if remote.refused is not None and not remote.given_up:
                self._ask_for(remote, holder)

    def _ask_for(self, remote: Remote, session: ClientSession) -> None:
        remote.session = session
        session.tunnel.listen(_Asked(remote, session))


def _error(remote: Remote, remotes: Iterable[Remote]) -> NitroSocksError:
    """Why the server does not listen for it; the hint is for all that are not permitted."""
    refused, given = remote.refused, f"-R {remote.place}"
    if refused is None:
        return NetworkError(f"{given}: the server does not say whether it listens")
    if not remote.forbidden:
        return NetworkError(f"{given}: {refused.text}")
    return NotAuthorised(f"{given}: {refused.text}", listening(each.where for each in remotes if each.forbidden))
