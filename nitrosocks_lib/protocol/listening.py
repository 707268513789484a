"""Where the server may listen for a client (protocol 5, LISTEN; 7, `listen`): `host:port`, `udp:host:port`, `/path`.

Nothing is permitted without a rule. All interfaces are only where a rule says so, and so are ports below 1024.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from ..facts.address import halves, parse_port
from ..facts.errors import UsageError
from ..facts.wire import Kind
from ..facts.words import foreign, quoted
from .frames import Target
from .rules import PORT_HINT, UDP, check_form, fits

HINT: Final = (
    "rules to listen are like 127.0.0.1:8000-8100, [::1]:8080, *:8080 for all interfaces, udp:127.0.0.1:5353, "
    "and /run/app/*.sock"
)
EVERYWHERE: Final = ""  # all interfaces
LOOPBACKS: Final = ("127.0.0.1", "::1")
_LOCALHOST: Final = "localhost"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")  # IPv4 addresses in the form of IPv6
_PRIVILEGED: Final = 1024  # ports below it
_ANY: Final = range(_PRIVILEGED, 65_536)
_WILD: Final = "*"
Network = IPv4Network | IPv6Network


class Places(NamedTuple):
    """Where one LISTEN may be fulfilled: at all of these hosts, at the first of these ports that is free."""

    hosts: tuple[str, ...]
    ports: Sequence[int]  # 0: the kernel picks one


@dataclass(frozen=True, slots=True)
class _Rule:
    networks: tuple[Network, ...]  # none: all interfaces, and each of them
    ports: range
    kind: Kind

    def admits(self, host: str) -> bool:
        if host == EVERYWHERE or not self.networks:
            return not self.networks
        address = ip_address(host)
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class ListenRules:
    """The rules of one client; `texts` as they were written."""

    texts: tuple[str, ...] = ()
    _rules: tuple[_Rule, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> ListenRules:
        """Raises UsageError, which names the first rule that is invalid."""
        kept = tuple(texts)
        return cls(kept, tuple(_parse(text) for text in kept if not _is_path(text)))

    def plus(self, texts: Iterable[str]) -> tuple[ListenRules, list[str]]:
        """With further rules, and those of the given ones that were there already. Raises UsageError."""
        kept, there = [*self.texts], []
        for text in self.parse(texts).texts:
            if _like(text, kept) is None:
                kept.append(text)
            else:
                there.append(text)
        return self.parse(kept), there

    def like(self, text: str) -> str | None:
        """The rule that means the same, as it was written. Raises UsageError where this is none."""
        return _like(text, self.texts)

    def without(self, texts: Iterable[str]) -> ListenRules:
        """All but these, which are written as they are here."""
        gone = set(texts)
        return self.parse(text for text in self.texts if text not in gone)

    def places(self, target: Target) -> Places | None:
        """Where a listener for TCP or for datagrams may be; None where it is not permitted. Raises ValueError where the
        host is a name."""
        hosts, rules = _hosts(target.host), [rule for rule in self._rules if rule.kind == target.kind]
        if target.port:
            fitting = [rule for rule in rules if target.port in rule.ports]
            allowed = tuple(host for host in hosts if any(rule.admits(host) for rule in fitting))
            return Places(allowed, (target.port,)) if allowed else None
        for rule in rules:
            allowed = tuple(host for host in hosts if rule.admits(host))
            if allowed:
                return Places(allowed, (0,) if rule.ports == _ANY else rule.ports)
        return None

    def permits_path(self, path: str) -> bool:
        """Whether a unix socket may be made at this path, whose directory was resolved. `*` stands for no `/`."""
        return any(fits(text, path) for text in self.texts if _is_path(text))


def _like(text: str, among: Iterable[str]) -> str | None:
    meant = _meaning(text)
    return next((each for each in among if _meaning(each) == meant), None)


def _meaning(text: str) -> str | _Rule:
    return text if _is_path(text) else _parse(text)


def _hosts(asked: str) -> tuple[str, ...]:
    """However they are written: no form of an address stands for more than that address."""
    if asked in (EVERYWHERE, _WILD):
        return (EVERYWHERE,)
    if asked == _LOCALHOST:
        return LOOPBACKS
    address = ip_address(asked)
    mapped = address.ipv4_mapped if address.version == 6 else None  # which the system binds as that IPv4 address
    address = mapped or address
    return (EVERYWHERE,) if address.is_unspecified else (str(address),)


def _is_path(text: str) -> bool:
    if text.startswith("/") and (not text.isprintable() or ".." in text.split("/")):
        raise _wrong(text, "a path has no control characters and no '..'")
    if text.startswith("/") and text.endswith("/"):
        raise _wrong(text, "a directory is no socket", f"for all sockets in it write {foreign(text)}*")
    return text.startswith("/")


def _parse(text: str) -> _Rule:
    if text.startswith(("!", "@")):
        hint = (
            "where no rule permits it, the server does not listen" if text[0] == "!" else "write the rules themselves"
        )
        raise _wrong(text, f"no {text[0]} in rules to listen", hint)
    check_form(text, text)
    bare = text.removeprefix(UDP)
    host, port, bracketed = halves(bare, f"rule {quoted(text)}")
    return _Rule(_networks(text, host, bracketed), _ports(text, port), Kind.TCP if bare == text else Kind.UDP)


def _networks(text: str, host: str, bracketed: bool) -> tuple[Network, ...]:
    if host == _WILD:
        return ()
    if host == _LOCALHOST:
        return tuple(map(ip_network, LOOPBACKS))
    try:
        network = ip_network(host)
    except ValueError:
        raise _wrong(text, f"{quoted(host)} is neither an address nor a block") from None
    if bracketed != (network.version == 6):
        raise _wrong(text, "an IPv6 address stands in brackets, and only such a one")
    if network.version == 6 and network.subnet_of(_MAPPED):
        raise _wrong(text, "these addresses stand for IPv4 addresses; write those")
    return () if network.num_addresses == 1 and network.network_address.is_unspecified else (network,)


def _ports(text: str, port: str) -> range:
    """`*` is all but the privileged ones, which have to be named."""
    if port == "*":
        return _ANY
    first, dash, last = port.partition("-")
    try:
        low, high = parse_port(first, text), parse_port(last if dash else first, text)
    except UsageError:
        raise _wrong(text, f"{quoted(port)} is not a port", PORT_HINT) from None
    if high < low:
        raise _wrong(text, f"the range {port} is empty", f"write {high}-{low}")
    return range(low, high + 1)


def _wrong(text: str, why: str, hint: str = HINT) -> UsageError:
    return UsageError(f"rule {quoted(text)}: {why}", hint)
