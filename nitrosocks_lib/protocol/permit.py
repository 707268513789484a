"""An authorised client, and what it may reach: the rules `host:port`, `udp:host:port` and `/path` (protocol 7).

The host that was asked for can be written in many ways (127.1, 0x7f.1, a name that points home), so it only ever counts
as a name; every rule but a name's looks at the numeric address that the connection is made to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ..facts.wire import KEM_PUBLIC, Kind
from .addresses import meant
from .listening import ListenRules
from .rules import LOOPBACK_NAME, Own, Rule, canonical, is_path, meaning, nobodys, parse
from .welcome import Authorised

MARKS: Final = ("public key", "client_id", "C", "Token")  # of a client


def futile(rules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The rules with a name that stands for loopback, where no name leads to, and what to write instead of each."""
    for rule in rules:
        kind = "udp:" * rule.startswith("udp:")
        host, _, port = rule.removeprefix(kind).rpartition(":")
        if not rule.startswith("/") and LOOPBACK_NAME.fullmatch(host.lower().rstrip(".")):
            yield rule, f"{kind}127.0.0.1:{port}"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one client. Without a rule nothing is permitted; `texts` are the rules as they were written."""

    texts: tuple[str, ...] = ()
    _rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Rules:
        """Raises UsageError, which names the first invalid rule.

        A host is a name, `*`, an address or a CIDR block, IPv6 in brackets; a port is a number, a range or `*`.
        """
        kept = tuple(texts)
        return cls(kept, tuple(parse(text) for text in kept if not is_path(text)))

    def permits(self, host_asked: str, address: str, port: int, kind: Kind, own: Own = nobodys) -> bool:
        """Whether a connection (or datagrams) to the resolved numeric `address` is permitted; raises what `own` does.

        Loopback, link-local, multicast, unspecified and broadcast addresses, and those of which `own` says that they
        are this machine's, need a rule with an address or block that contains them; `*` and names never lead there.
        `own` is asked only where it decides. IPv6 forms of an IPv4 address count as that IPv4 address.
        """
        try:
            where = meant(ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        asked = canonical(host_asked)
        return any(rule.matches(asked, where, port, kind, own) for rule in self._rules)

    def may_permit(self, host_asked: str, port: int, kind: Kind) -> bool:
        """Whether `permits` could say yes, whatever address the host turns out to have; else nobody need resolve it."""
        asked = canonical(host_asked)
        return any(rule.may_match(asked, port, kind) for rule in self._rules)

    def like(self, text: str) -> str | None:
        """The rule here, as it is written, that means the same as this one; raises UsageError."""
        return {meaning(own): own for own in self.texts}.get(meaning(text))

    def plus(self, texts: Iterable[str]) -> tuple[Rules, list[str]]:
        """With these rules added, and those that were there already, as they are written here; raises UsageError."""
        known, there, new = {meaning(own): own for own in self.texts}, [], []
        for text in texts:
            if own := known.get(means := meaning(text)):
                there.append(own)
            else:
                known[means] = text
                new.append(text)
        return Rules.parse((*self.texts, *new)), there

    def covering(self, text: str) -> list[str]:
        """The rules, but for this one, that permit what it does, as far as no name is resolved; raises UsageError."""
        rule, all_of_them = meaning(text), [(own, meaning(own)) for own in self.texts]
        others = [(own, each) for own, each in all_of_them if isinstance(each, Rule) and each != rule]
        return [own for own, each in others if isinstance(rule, Rule) and each.covers(rule)]

    def permits_path(self, path: str) -> bool:
        """Whether the unix socket at exactly this path is permitted."""
        return path.startswith("/") and path in self.texts


@dataclass(frozen=True, slots=True)
class Client:
    """One authorised client: what the handshake needs, where it may connect to, where the server may listen for it."""

    name: str
    authorised: Authorised
    permit: Rules
    listen: ListenRules = ListenRules()

    def marks(self) -> tuple[tuple[str, bytes], ...]:
        """What no two clients may share (protocol 2), the plainest reason first."""
        key = self.authorised.public
        values = key.raw, key.client_id, key.raw[:KEM_PUBLIC], self.authorised.token
        return tuple(zip(MARKS, values, strict=True))
