"""Makes connections for one profile: dials, greets or resumes, and says what is odd about the way there."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port, split_host_port
from ..facts.errors import (
    CutShort,
    DecoyAnswer,
    Intercepted,
    NetworkError,
    NitroSocksError,
    ProtocolError,
    Refused,
    Unanswered,
    Unreachable,
    UsageError,
)
from ..facts.wire import Carrier, Refusal
from ..net.connect import Route
from ..net.link import Link
from ..net.timers import now
from ..protocol import greet
from ..protocol.carriers import patience
from ..protocol.greet import Credentials, Greeted, Recovered
from ..protocol.handshake import Dialogue, T, Terms
from ..session.conversation import Conversation, Interrupted
from .carriers import Carriers
from .failures import of_carriers, of_servers, unanswered
from .notices import Notices
from .openers import PLAIN, Openers, Web

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
        self,
        credentials: Credentials,
        servers: tuple[tuple[str, int], ...],
        route: Route,
        window: int = limits.WINDOW,
        carriers: Carriers | None = None,
        web: Web = PLAIN,
    ) -> None:
        """`window` in bytes is what each session receives with; without `carriers` it is `raw` alone."""
        self.credentials = credentials
        self.servers = servers
        self.window = window
        self._carriers = carriers or Carriers()
        self._openers = Openers(credentials.server_public, route, web, self._carriers)
        self.notices = Notices(credentials.server_public, route.direct)
        self._hours_off = 0  # hours that the servers are ahead of this clock; learnt from who has verified (Q9)
        self._told: int | None = None  # the hour that a web server told, for one attempt

    def connect(self, server: tuple[str, int]) -> Link:
        """A connection to one server, to resume a session on: over what worked, or the next carrier where that failed.

        Raises NetworkError, or DecoyAnswer where a web server answers the upgrade.
        """
        carrier, hour = self._carriers.current(server), self._hour_now()
        hurried = self._told is not None or self._carriers.hurried(server, carrier)
        try:
            return self._openers.open(carrier, server, hour, hurried)
        except NetworkError as error:
            self._told = None  # whoever told it need not be on the way any more
            if not isinstance(error, Unreachable):
                self._carriers.failed(server, carrier)
            raise
        except DecoyAnswer as answer:
            self._told = None
            self._on_decoy(server, carrier, answer, hour)
            raise

    def strangled(self, server: tuple[str, int], carrier: Carrier) -> None:
        """Sessions get through over it, and no further: the next attempt to resume takes another."""
        if len(self._carriers.offered) > 1:
            log.info("%s over %s is cut again and again", join_host_port(*server), carrier)
        self._carriers.failed(server, carrier)

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
        raise of_servers(failures)

    def _hour(self) -> int:
        return int(time.time()) // 3600 + self._hours_off

    def _hour_now(self) -> int:
        """With what a web server told, as long as that counts."""
        return self._hour() if self._told is None else self._told

    def _learn(self, hour: int) -> None:
        """The server's hour is this one now."""
        self._hours_off = hour - int(time.time()) // 3600

    def _greet_at(self, server: tuple[str, int]) -> Greeting:
        """Over the first carrier that brings an answer (CA5). What is refused by who has verified is final."""
        failures: list[tuple[Carrier, NitroSocksError]] = []
        carriers = self._carriers.order(server)
        for carrier in carriers:
            try:
                greeting = self._greet_over(carrier, server, hurried=carrier is not carriers[-1])
            except Intercepted:
                raise
            except (NetworkError, ProtocolError) as error:
                failures.append((carrier, error))
                if isinstance(error, Unreachable):
                    break
                if len(carriers) > 1:
                    log.info("%s over %s: %s", join_host_port(*server), carrier, error)
            else:
                for place in {server, greeting.server}:
                    self._carriers.worked(place, carrier, greeting.round_trip)
                if len(carriers) > 1:
                    log.info("carrier to %s: %s", join_host_port(*server), carrier)
                return greeting
        raise of_carriers(server, failures)

    def _greet_over(self, carrier: Carrier, server: tuple[str, int], hurried: bool) -> Greeting:
        hour = self._hour()
        try:
            return self._greet_in(carrier, server, hour, hurried)
        except DecoyAnswer as answer:
            told = _hour_of(answer.head)
            if told is None or told == hour:
                raise self._unanswered(server, carrier, answer) from None
        try:
            greeting = self._greet_in(carrier, server, told, hurried)
        except DecoyAnswer as answer:
            raise self._unanswered(server, carrier, answer) from None
        self._learn(told)  # sessions are resumed with it
        return greeting

    def _greet_in(self, carrier: Carrier, server: tuple[str, int], hour: int, hurried: bool) -> Greeting:
        begun = now()
        link = self._openers.open(carrier, server, hour, hurried)
        try:
            first = now() + patience((now() - begun) / 2) if hurried else None
            talk = Conversation(link, now() + limits.DIAL, first=first)
            greeted = self._converse(talk, greet.greet(self.credentials, hour, self.window, os.urandom), server)
            self.notices.session("made", server, link, greeted, greeted.terms)
            self.notices.clock(greeted.server_ms)
            return Greeting(link, greeted, _where_to_resume(greeted.terms, server), talk.round_trip)
        except BaseException:
            link.close()
            raise

    def resume(self, link: Link, server: tuple[str, int], terms: Terms, attempt: int, received: int) -> Recovered:
        """RESUME and RECOVERED on a link that `connect` made; the link stays the caller's (protocol 3.5)."""
        hour, first = self._hour_now(), self._carriers.first(server, link.carrier, self._told is not None)
        self._told = None
        dialogue = greet.resume(self.credentials, terms, attempt, received, hour, os.urandom)
        try:
            recovered = self._converse(Conversation(link, now() + limits.DIAL, first=first), dialogue, server)
        except DecoyAnswer as answer:
            self._on_decoy(server, link.carrier, answer, hour)
            raise
        except (NetworkError, ProtocolError):
            self._carriers.failed(server, link.carrier)
            raise
        self._carriers.resumed(server, link.carrier)
        self._learn(hour)
        self.notices.session("resumed", server, link, recovered, terms)
        return recovered

    def _on_decoy(self, server: tuple[str, int], carrier: Carrier, answer: DecoyAnswer, hour: int) -> None:
        """A clock was set meanwhile, or the carrier fails. The next attempt, and no other, takes the hour told."""
        self._told = _hour_of(answer.head)
        if self._told in (None, hour):
            self._carriers.failed(server, carrier)

    def _converse(self, talk: Conversation, dialogue: Dialogue[T], server: tuple[str, int]) -> T:
        try:
            return talk.run(dialogue)
        except Interrupted as error:
            if error.parts == 0:
                self._hours_off = 0  # what was learnt is true no more
                raise self._unanswered(server, talk.link.carrier) from None
            raise CutShort(
                f"{join_host_port(*server)} ended the handshake early ({error})",
                "bytes were changed on the way, or the server's clock is off; its log says which check failed",
            ) from None
        except DecoyAnswer as answer:
            answer.head += _rest_of_head(talk.link)
            raise

    def _unanswered(
        self, server: tuple[str, int], carrier: Carrier = Carrier.RAW, answer: DecoyAnswer | None = None
    ) -> Unanswered:
        key = fingerprint(self.credentials.server_public)
        return unanswered(server, key, carrier, None if answer is None else answer.head, self._carriers.forced)


def _where_to_resume(terms: Terms, server: tuple[str, int]) -> tuple[str, int]:
    """The address that SESSION states, else where the session was made."""
    if not terms.address:
        return server
    try:
        return split_host_port(terms.address)
    except UsageError as error:
        raise ProtocolError(f"the server sent an invalid reconnect address: {error}") from None


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
