"""Makes connections for one profile: dials, greets or resumes, and says what is odd about the way there."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ..crypto.certificate import issuer
from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port, split_host_port
from ..facts.errors import (
    CutShort,
    DecoyAnswer,
    NetworkError,
    NitroSocksError,
    ProtocolError,
    Refused,
    Unanswered,
    UsageError,
)
from ..facts.wire import Refusal
from ..net.connect import Route, client_context, dial
from ..net.link import Link
from ..net.timers import now
from ..protocol import greet
from ..protocol.greet import Credentials, Greeted, Recovered
from ..protocol.handshake import Dialogue, T, Terms
from ..session.conversation import Conversation, Interrupted

log = logging.getLogger(__name__)
_DATE = "%a, %d %b %Y %H:%M:%S GMT"  # as web servers write it (RFC 9110); anybody on the way may write anything


@dataclass(slots=True, repr=False)
class Greeting:
    """A new session and the link that it was made on; `server` is where to resume it."""

    link: Link
    greeted: Greeted
    server: tuple[str, int]
    round_trip: float  # seconds


class Dialler:
    """One per profile and run. Its methods block; any thread may call them."""

    def __init__(
        self, credentials: Credentials, servers: tuple[tuple[str, int], ...], route: Route, window: int = limits.WINDOW
    ) -> None:
        """`window` in bytes is what each session receives with."""
        self.credentials = credentials
        self.servers = servers
        self.window = window
        self._route = route
        self._context = client_context(route.verify)
        self._said: set[str] = set()
        self._hours_off = 0  # hours that the servers are ahead of this clock; learnt from who has verified (Q9)
        self._told: int | None = None  # the hour that a web server told, for one attempt

    def connect(self, server: tuple[str, int]) -> Link:
        """TCP and TLS to one server; raises NetworkError."""
        return dial(server, self._context, self._route.family, limits.DIAL)

    def greet(self) -> Greeting:
        """Makes a new session at the first server that takes one.

        Raises what is final wherever it is said (NotAuthorised), else one error with the reasons of all servers.
        """
        failures: list[tuple[tuple[str, int], NitroSocksError]] = []
        for server in self.servers:
            try:
                return self._greet_at(server)
            except (NetworkError, Unanswered, CutShort, Refused) as error:
                if isinstance(error, Refused) and error.reason not in (Refusal.FULL, Refusal.DRAINING):
                    raise
                failures.append((server, error))
        assert failures, "a profile names at least one server"
        raise _of_all(failures)

    def _hour(self) -> int:
        return int(time.time()) // 3600 + self._hours_off

    def _learn(self, hour: int) -> None:
        """The server's hour is this one now."""
        self._hours_off = hour - int(time.time()) // 3600

    def _greet_at(self, server: tuple[str, int]) -> Greeting:
        hour = self._hour()
        try:
            return self._greet_in(server, hour)
        except DecoyAnswer as answer:
            told = _hour_of(answer.head)
            if told is None or told == hour:
                raise self._unanswered(server) from None
        try:
            greeting = self._greet_in(server, told)
        except DecoyAnswer:
            raise self._unanswered(server) from None
        self._learn(told)  # sessions are resumed with it
        return greeting

    def _greet_in(self, server: tuple[str, int], hour: int) -> Greeting:
        link = self.connect(server)
        try:
            talk = Conversation(link, now() + limits.DIAL)
            greeted = self._converse(talk, greet.greet(self.credentials, hour, self.window, os.urandom), server)
            self._look_at_certificate(link, greeted.certificate_hash)
            self._look_at_clock(greeted.server_ms)
            return Greeting(link, greeted, _where_to_resume(greeted.terms, server), talk.round_trip)
        except BaseException:
            link.close()
            raise

    def resume(self, link: Link, server: tuple[str, int], terms: Terms, attempt: int, received: int) -> Recovered:
        """RESUME and RECOVERED on a link that `connect` made; the link stays the caller's (protocol 3.5)."""
        told, self._told = self._told, None
        hour = self._hour() if told is None else told
        dialogue = greet.resume(self.credentials, terms, attempt, received, hour, os.urandom)
        try:
            recovered = self._converse(Conversation(link, now() + limits.DIAL), dialogue, server)
        except DecoyAnswer as answer:  # a clock was set meanwhile: the next attempt, and no other, takes the hour told
            self._told = _hour_of(answer.head)
            raise
        self._learn(hour)
        self._look_at_certificate(link, recovered.certificate_hash)
        return recovered

    def _converse(self, talk: Conversation, dialogue: Dialogue[T], server: tuple[str, int]) -> T:
        try:
            return talk.run(dialogue)
        except Interrupted as error:
            if error.parts == 0:
                self._hours_off = 0  # what was learnt is true no more
                raise self._unanswered(server) from None
            raise CutShort(
                f"{join_host_port(*server)} ended the handshake before it was done ({error})",
                "bytes were changed on the way, or the server's clock is off; its log says which check failed",
            ) from None
        except DecoyAnswer as answer:
            answer.head += _rest_of_head(talk.link)
            raise

    def _unanswered(self, server: tuple[str, int]) -> Unanswered:
        clock = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        key = fingerprint(self.credentials.server_public)
        return Unanswered(
            f"{join_host_port(*server)} did not answer the greeting",
            f"this clock says {clock}: more than an hour off would explain it. Else the server's key is no longer "
            f"{key} (ask the operator what 'nitrosocks keygen' prints there), or no NitroSocks server listens there",
        )

    # -- what people should know, once per run ----------------------------------------------------------------------

    def _look_at_certificate(self, link: Link, stated: bytes) -> None:
        """`stated` is what the server presented, or zeros where a balancer of the operator's ends TLS."""
        if any(stated) and stated != link.certificate_hash():
            name = issuer(link.certificate())
            self._once(f'TLS is intercepted by "{name}"; your data stays end-to-end encrypted')

    def _look_at_clock(self, server_ms: int) -> None:
        skew = time.time() - server_ms / 1000
        if abs(skew) > limits.CLOCK_SKEW:
            self._once(f"this clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's")

    def _once(self, text: str) -> None:
        kind = text.split(maxsplit=1)[0]
        if kind not in self._said:
            self._said.add(kind)
            log.warning("%s", text)


def _of_all(failures: list[tuple[tuple[str, int], NitroSocksError]]) -> NitroSocksError:
    """One error with every server's reason. Its class and hint are those of the last one that somebody can act on."""
    errors = [error for _, error in failures]
    kinds = (ProtocolError, Refused, NetworkError)
    telling = next(error for kind in kinds for error in reversed(errors) if isinstance(error, kind))
    if len(failures) > 1:
        telling.args = ("; ".join(_named(error, server) for server, error in failures),)
    return telling


def _named(error: NitroSocksError, server: tuple[str, int]) -> str:
    """A refusal alone does not say who refuses; the others do."""
    return f"{join_host_port(*server)}: {error}" if isinstance(error, Refused) else str(error)


def _where_to_resume(terms: Terms, server: tuple[str, int]) -> tuple[str, int]:
    """The address that SESSION states, else where the session was made."""
    if not terms.address:
        return server
    try:
        return split_host_port(terms.address)
    except UsageError as error:
        raise ProtocolError(f"the address to reconnect to, which the server states, is none: {error}") from None


def _rest_of_head(link: Link) -> bytes:
    """What follows of the decoy's HTTP answer in one more read; nothing when it does not come."""
    try:
        return link.read_first(now() + 2.0)
    except NetworkError:
        return b""


def _hour_of(head: bytes) -> int | None:
    """The hour in the Date header of an HTTP answer, from 2020 to 2099 (protocol 3.2)."""
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"date:"):
            try:
                told = datetime.strptime(line[5:].decode("ascii").strip(), _DATE)
            except ValueError:
                return None
            hour = int(told.replace(tzinfo=UTC).timestamp()) // 3600
            return hour if limits.DATE_FIRST <= hour <= limits.DATE_LAST else None
    return None
