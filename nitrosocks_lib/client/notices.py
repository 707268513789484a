"""What people should know of the way to a server: who is in between, a clock that is off; and, with -v, what it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import Intercepted, NetworkError
from ..facts.wire import Abort
from ..net.link import Link
from ..net.timers import now
from ..protocol.greet import Greeted, Recovered
from ..protocol.handshake import Terms
from .failures import refused_as_indirect
from .farewell import abort_first

log = logging.getLogger(__name__)


class Notices:
    """One per profile and run; any thread may call it. Warnings come once each."""

    def __init__(self, server_public: bytes, direct: bool) -> None:
        """`direct`: nobody may end the TLS in between."""
        self._server_public, self._direct = server_public, direct
        self._said: set[str] = set()
        self.on_intercepted: Callable[[Intercepted], None] = lambda error: None

    def session(self, how: str, server: tuple[str, int], link: Link, made: Greeted | Recovered, terms: Terms) -> None:
        """A session was made or resumed, which is `how`, on a link. The server states the certificate that it
        presented, or zeros where a balancer of the operator's ends TLS.

        Raises Intercepted, and ends the session, where TLS must be direct and is not, or that cannot be told;
        `on_intercepted` heard it then.
        """
        stated = made.certificate_hash
        same = stated == link.certificate_hash()
        if log.isEnabledFor(logging.INFO):
            met = "not intercepted" if same else "intercepted" if any(stated) else "perhaps intercepted"
            log.info(
                "session %s at %s: address %s, %s, certificate issued by \"%s\", %s, carrier %s, server key %s",
                how, join_host_port(*server), link.remote() or "unknown", link.version() or "TLS", _issuer(link), met,
                link.carrier, fingerprint(self._server_public),
            )  # fmt: skip
        if same:
            return
        intercepted = f'TLS is intercepted by "{_issuer(link)}"' if any(stated) else ""
        if self._direct:
            error = refused_as_indirect(intercepted)
            self.on_intercepted(error)
            with suppress(NetworkError):
                abort_first(link, made.keys, terms.encrypt_type, Abort.OTHER)
                link.say_goodbye(now() + 1.0)
            raise error
        if intercepted:
            self._once(f"{intercepted}; your data stays end-to-end encrypted")

    def clock(self, server_ms: int) -> None:
        """The server's clock, in ms since 1970, as it said just now."""
        skew = time.time() - server_ms / 1000
        if abs(skew) > limits.CLOCK_SKEW:
            self._once(f"this clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's")

    def _once(self, text: str) -> None:
        kind = text.split(maxsplit=1)[0]
        if kind not in self._said:
            self._said.add(kind)
            log.warning("%s", text)


def _issuer(link: Link) -> str:
    from ..crypto.certificate import issuer  # slow to import, and few need it

    return issuer(link.certificate())
