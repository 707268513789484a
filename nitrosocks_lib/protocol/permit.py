"""An authorised client, and what it may reach: its rules, of which the first one that matches decides (protocol 7).

The host that was asked for can be written in many ways (127.1, 0x7f.1, a name that points home), so it only ever counts
as a name; every rule but a name's looks at the numeric address that the connection is made to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import takewhile
from typing import Final, NamedTuple

from ..facts.errors import UsageError
from ..facts.wire import KEM_PUBLIC, Kind
from ..facts.words import foreign, quoted
from .addresses import Where
from .listening import ListenRules
from .quota import Quota
from .rules import GROUP, LOOPBACK_NAME, Own, Real, Rule, canonical, is_group, linkless, meaning, nobodys, parse
from .welcome import Authorised

MARKS: Final = ("public key", "client_id", "C", "Token")  # of a client

GROUPS: Final = "_groups.toml"  # in clients.d
Groups = Mapping[str, Sequence[str]]  # rules by the name of their group
NONE: Final[Groups] = {}


def is_client(file: str) -> bool:
    """Whether a file of this name in clients.d authorises a client: GROUPS and what is hidden do not."""
    return file.endswith(".toml") and not file.startswith((".", "_"))


def futile(rules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The rules with a name that stands for loopback, where no name leads to, and what to write instead of each."""
    for rule in rules:
        kind = "udp:" * rule.startswith("udp:")
        host, _, port = rule.removeprefix(kind).rpartition(":")
        if not rule.startswith(("/", "!")) and LOOPBACK_NAME.fullmatch(host.lower().rstrip(".")):
            yield rule, f"{kind}127.0.0.1:{port}"


class Placed(NamedTuple):
    """A rule at its place among those of a client: as it is written, and in which group."""

    text: str
    rule: Rule
    group: str = ""  # "@web"

    @property
    def permits(self) -> bool:
        """Whether what it decides about is permitted."""
        return not self.rule.forbids


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one client. Without a rule nothing is permitted; `texts` are rules and groups as they were written.

    The first rule that matches decides. One that permits matches what it permits for sure, one that forbids what it may
    be about.
    """

    texts: tuple[str, ...] = ()
    _rules: tuple[Placed, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str], groups: Groups = NONE) -> Rules:
        """Raises UsageError, which names the first invalid rule, or the group that is not there.

        A host is a name, `*`, an address or a CIDR block, IPv6 in brackets; a port is a number, a range or `*`.
        """
        kept = tuple(texts)
        return cls(kept, tuple(each for text in dict.fromkeys(kept) for each in _placed(text, groups)))

    @property
    def grouped(self) -> bool:
        """Whether some of them are in groups."""
        return any(text.startswith(GROUP) for text in self.texts)

    @property
    def any_path(self) -> bool:
        """Whether a unix socket could be permitted."""
        return any(each.permits and each.rule.kind == Kind.UNIX for each in self._rules)

    def deciding(self, host_asked: str, address: str, port: int, kind: Kind, own: Own = nobodys) -> Placed | None:
        """The rule that decides about the resolved numeric `address`; None where none does. Raises what `own` does.

        Loopback, link-local, multicast, unspecified and broadcast addresses, and those of which `own` says that they
        are this machine's, need a rule with an address or block that contains them; `*` and names never lead there.
        `own` is asked only where it decides. IPv6 forms of an IPv4 address count as that IPv4 address.
        """
        try:
            where = Where.of(ip_address(address.partition("%")[0]))
        except ValueError:
            return None
        asked = canonical(host_asked)
        return next((each for each in self._rules if each.rule.matches(asked, where, port, kind, own)), None)

    def permits(self, host_asked: str, address: str, port: int, kind: Kind, own: Own = nobodys) -> bool:
        """Whether a connection (or datagrams) to the resolved numeric `address` is permitted, as `deciding` says."""
        decided = self.deciding(host_asked, address, port, kind, own)
        return decided is not None and decided.permits

    def may_permit(self, host_asked: str, port: int, kind: Kind) -> bool:
        """Whether `permits` could say yes, whatever address the host turns out to have; else nobody need resolve it."""
        first = self.certain(host_asked, port, kind)
        return first is not None and first.permits

    def certain(self, host_asked: str, port: int, kind: Kind) -> Placed | None:
        """The first rule that could permit it, or one before that forbids it whatever address the host has."""
        asked = canonical(host_asked)
        fitting = (each for each in self._rules if each.rule.may_match(asked, port, kind))
        return next((each for each in fitting if each.permits or each.rule.network is None), None)

    def deciding_path(self, asked: str, resolved: str, real: Real = linkless) -> Placed | None:
        """The rule that decides about the unix socket at this path, which is `resolved` without links; `real` takes
        them out of the path of a rule that forbids."""
        return next((each for each in self._rules if each.rule.matches_path(asked, resolved, real)), None)

    def permits_path(self, asked: str, resolved: str, real: Real = linkless) -> bool:
        """Whether the unix socket at this path is permitted."""
        decided = self.deciding_path(asked, resolved, real)
        return decided is not None and decided.permits

    # -- changes, and rules beside each other --------------------------------------------------------------------------

    def like(self, text: str) -> str | None:
        """The rule here, as it is written, that means the same as this one; raises UsageError."""
        return {meaning(own): own for own in self.texts}.get(meaning(text))

    def plus(self, texts: Iterable[str], groups: Groups = NONE) -> tuple[Rules, list[str]]:
        """With these rules added, and those that were there already, as they are written here; raises UsageError.

        Those that forbid come before all others, or they would do nothing there.
        """
        known, there, new = {meaning(own): own for own in self.texts}, [], list[str]()
        forbidding = list[str]()
        for text in texts:
            means = meaning(text)
            if own := known.get(means):
                there.append(own)
            else:
                known[means] = text
                (forbidding if isinstance(means, Rule) and means.forbids else new).append(text)
        return Rules.parse((*forbidding, *self.texts, *new), groups), there

    def minus(self, gone: Iterable[str]) -> Rules:
        """Without these, which are written as they are here."""
        removed = {*gone}
        left = tuple(text for text in self.texts if text not in removed)
        return Rules(left, tuple(each for each in self._rules if (each.group or each.text) in left))

    def covering(self, text: str) -> list[str]:
        """The rules, but for this one, that permit what it does, as far as no name is resolved; raises UsageError."""
        rule, found = meaning(text), list[str]()
        for own, each, group in self._rules if isinstance(rule, Rule) and not rule.forbids else ():
            assert isinstance(rule, Rule)
            if each.precludes(rule):
                break
            if each != rule and not each.forbids and each.covers(rule):
                found.append(group or own)
        return [*dict.fromkeys(found)]

    def precluding(self, text: str) -> str | None:
        """The rule that forbids, for sure, all that this one here permits; raises UsageError."""
        rule = meaning(text)
        if not isinstance(rule, Rule) or rule.forbids:
            return None
        before = takewhile(lambda each: each.rule != rule, self._rules)
        return next((each.group or each.text for each in before if each.rule.precludes(rule)), None)


def _placed(text: str, groups: Groups) -> Iterator[Placed]:
    if not is_group(text):
        yield Placed(text, parse(text))
    elif (rules := groups.get(text[1:])) is None:
        known = ", ".join(f"{GROUP}{foreign(name)}" for name in groups)
        hint = f"groups there are {known}" if known else 'write it there as: name = ["host:port", …]'
        raise UsageError(f"rule {quoted(text)}: there is no such group in {GROUPS}", hint)
    else:
        yield from (Placed(rule, parse(rule), text) for rule in rules)


@dataclass(frozen=True, slots=True)
class Client:
    """One authorised client: what the handshake needs, where it may connect to, where the server may listen for it."""

    name: str
    authorised: Authorised
    permit: Rules
    listen: ListenRules = ListenRules()
    quota: Quota = Quota()

    def marks(self) -> tuple[tuple[str, bytes], ...]:
        """What no two clients may share (protocol 2), the plainest reason first."""
        key = self.authorised.public
        values = key.raw, key.client_id, key.raw[:KEM_PUBLIC], self.authorised.token
        return tuple(zip(MARKS, values, strict=True))
