"""Makes connections for one profile: dials, greets or resumes, and says what is odd about the way there."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..crypto.certificate import issuer
from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port, split_host_port
from ..facts.errors import DecoyAnswer, NetworkError, NitroSocksError, ProtocolError, Unanswered
from ..protocol import greet
from ..protocol.greet import Credentials, Greeted, Recovered
from ..protocol.handshake import Dialogue, T, Terms
from .carriers import Route, client_context, dial
from .dialogue import Conversation, Interrupted
from .link import Link
from .timers import now

log = logging.getLogger(__name__)


@dataclass(slots=True, repr=False)
class Greeting:
    """A new session and the link that it was made on; `server` is where to resume it."""

    link: Link
    greeted: Greeted
    server: tuple[str, int]


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

    def connect(self, server: tuple[str, int]) -> Link:
        """TCP and TLS to one server; raises NetworkError."""
        return dial(server, self._context, self._route.family, limits.DIAL)

    def greet(self) -> Greeting:
        """Makes a new session at the first server that answers; raises the error of the last one that did not."""
        failure: NitroSocksError | None = None
        for server in self.servers:
            try:
                return self._greet_at(server)
            except NetworkError as error:
                failure = error
        assert failure is not None, "a profile names at least one server"
        raise failure

    def _greet_at(self, server: tuple[str, int]) -> Greeting:
        hour = int(time.time()) // 3600
        try:
            return self._greet_in(server, hour)
        except DecoyAnswer as answer:
            told = _hour_of(answer.head)
            if told is None or told == hour:
                raise self._unanswered(server) from None
        try:
            return self._greet_in(server, told)
        except DecoyAnswer:
            raise self._unanswered(server) from None

    def _greet_in(self, server: tuple[str, int], hour: int) -> Greeting:
        link = self.connect(server)
        try:
            greeted = self._converse(link, greet.greet(self.credentials, hour, self.window, os.urandom), server)
        except BaseException:
            link.close()
            raise
        self._look_at_certificate(link, greeted.certificate_hash)
        self._look_at_clock(greeted.server_ms)
        address = greeted.terms.address
        return Greeting(link, greeted, split_host_port(address) if address else server)

    def resume(self, link: Link, server: tuple[str, int], terms: Terms, attempt: int, received: int) -> Recovered:
        """RESUME and RECOVERED on a link that `connect` made; the link stays the caller's (protocol 3.5)."""
        hour = int(time.time()) // 3600
        dialogue = greet.resume(self.credentials, terms, attempt, received, hour, os.urandom)
        recovered = self._converse(link, dialogue, server)
        self._look_at_certificate(link, recovered.certificate_hash)
        return recovered

    def _converse(self, link: Link, dialogue: Dialogue[T], server: tuple[str, int]) -> T:
        try:
            return Conversation(link, now() + limits.DIAL).run(dialogue)
        except Interrupted as error:
            if error.parts == 0:
                raise self._unanswered(server) from None
            raise ProtocolError(
                f"{join_host_port(*server)} ended the handshake before it was done ({error})",
                "bytes were changed on the way, or the server's clock is off; its log says which check failed",
            ) from None
        except DecoyAnswer as answer:
            answer.head += _rest_of_head(link)
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


def _rest_of_head(link: Link) -> bytes:
    """What follows of the decoy's HTTP answer in one more read; nothing when it does not come."""
    try:
        return link.read_first(now() + 2.0)
    except NetworkError:
        return b""


def _hour_of(head: bytes) -> int | None:
    """The hour in the Date header of an HTTP answer (protocol 3.2)."""
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"date:"):
            try:
                return int(parsedate_to_datetime(line[5:].decode("latin-1").strip()).timestamp()) // 3600
            except (ValueError, OverflowError):
                return None
    return None
