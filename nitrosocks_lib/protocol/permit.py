"""An authorised client, and what it may reach: the rules `host:port`, `udp:host:port` and `/path` (protocol 7).

The host that was asked for can be written in many ways (127.1, 0x7f.1, a name that points home), so it only ever counts
as a name; every rule but a name's looks at the numeric address that the connection is made to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from ..facts.address import halves, parse_port
from ..facts.errors import UsageError
from ..facts.limits import NAME_MAX
from ..facts.wire import KEM_PUBLIC, Kind
from ..facts.words import foreign, quoted
from .listening import ListenRules
from .welcome import Authorised

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Own = Callable[[Address], bool]

_PORT_HINT: Final = "a port is a number from 1 to 65535, a range such as 8000-8010, or *; several take several rules"
MARKS: Final = ("public key", "client_id", "C", "Token")  # of a client
HINT: Final = "a rule is host:port, as in db.example:5432, *:443, 10.0.0.0/8:8000-8010 or [2001:db8::/32]:*"

# The machine itself and its link, with the addresses that it has now (`own`): only a rule with the address leads there.
_SPECIAL: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
        "::/128", "::1/128", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip

# IPv6 addresses that stand for an IPv4 address, and how many bits are to the right of it.
_WRAPPED: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 2765)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (IPv6Network("2002::/16"), 80),  # 6to4
    (IPv6Network("::/96"), 0),  # compatible; the two addresses below are no IPv4 ones
)
_PLAIN: Final = (IPv6Address("::"), IPv6Address("::1"))
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")  # RFC 8215: prefixes of 48, 56, 64 or 96 bits
_TEREDO: Final = IPv6Network("2001::/32")
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_BITS_32: Final = 0xFFFF_FFFF
_ALL_PORTS: Final = range(65_536)
_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_LOOPBACK_NAME: Final = re.compile(r"(.*\.)?localhost(\.localdomain)?")
_NUMERIC: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")  # what getaddrinfo takes for an address of old


def futile(rules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The rules with a name that stands for loopback, where no name leads to, and what to write instead of each."""
    for rule in rules:
        kind = "udp:" * rule.startswith("udp:")
        host, _, port = rule.removeprefix(kind).rpartition(":")
        if not rule.startswith("/") and _LOOPBACK_NAME.fullmatch(host.lower().rstrip(".")):
            yield rule, f"{kind}127.0.0.1:{port}"


def nobodys(_: Address) -> bool:
    """No address is this machine's."""
    return False


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule; exactly one of `name` ("*": any) and `network` is set."""

    kind: Kind
    name: str
    network: Network | None
    ports: range

    def may_match(self, asked: str, port: int, kind: Kind) -> bool:
        if kind != self.kind or port not in self.ports:
            return False
        return self.network is not None or self.name in ("*", asked)

    def covers(self, other: _Rule) -> bool:
        """Whether what the other permits is permitted by this one, too: of a name, where it leads into its block."""
        if self.kind != other.kind or other.ports[0] not in self.ports or other.ports[-1] not in self.ports:
            return False
        if self.network is None:
            return self.name == "*" or (other.network is None and self.name == other.name)
        if other.network is None:
            return other.name != "*"
        low, high = other.network[0], other.network[-1]
        return low in self.network and high in self.network

    def matches(self, asked: str, meant: tuple[Address, ...], port: int, kind: Kind, own: Own) -> bool:
        if not self.may_match(asked, port, kind):
            return False
        if self.network is not None:
            return all(address in self.network for address in meant)
        return not any(address in net for address in meant for net in _SPECIAL) and not any(map(own, meant))


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one client. Without a rule nothing is permitted; `texts` are the rules as they were written."""

    texts: tuple[str, ...] = ()
    _rules: tuple[_Rule, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Rules:
        """Raises UsageError, which names the first invalid rule.

        A host is a name, `*`, an address or a CIDR block, IPv6 in brackets; a port is a number, a range or `*`.
        """
        kept = tuple(texts)
        return cls(kept, tuple(_parse(text) for text in kept if not _is_path(text)))

    def permits(self, host_asked: str, address: str, port: int, kind: Kind, own: Own = nobodys) -> bool:
        """Whether a connection (or datagrams) to the resolved numeric `address` is permitted; raises what `own` does.

        Loopback, link-local, multicast, unspecified and broadcast addresses, and those of which `own` says that they
        are this machine's, need a rule with an address or block that contains them; `*` and names never lead there.
        `own` is asked only where it decides. IPv6 forms of an IPv4 address count as that IPv4 address.
        """
        try:
            meant = _meant(ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        asked = _canonical(host_asked)
        return any(rule.matches(asked, meant, port, kind, own) for rule in self._rules)

    def may_permit(self, host_asked: str, port: int, kind: Kind) -> bool:
        """Whether `permits` could say yes, whatever address the host turns out to have; else nobody need resolve it."""
        asked = _canonical(host_asked)
        return any(rule.may_match(asked, port, kind) for rule in self._rules)

    def like(self, text: str) -> str | None:
        """The rule here, as it is written, that means the same as this one; raises UsageError."""
        return {_meaning(own): own for own in self.texts}.get(_meaning(text))

    def plus(self, texts: Iterable[str]) -> tuple[Rules, list[str]]:
        """With these rules added, and those that were there already, as they are written here; raises UsageError."""
        known, there, new = {_meaning(own): own for own in self.texts}, [], []
        for text in texts:
            if own := known.get(meaning := _meaning(text)):
                there.append(own)
            else:
                known[meaning] = text
                new.append(text)
        return Rules.parse((*self.texts, *new)), there

    def covering(self, text: str) -> list[str]:
        """The rules, but for this one, that permit what it does, as far as no name is resolved; raises UsageError."""
        rule, all_of_them = _meaning(text), [(own, _meaning(own)) for own in self.texts]
        others = [(own, each) for own, each in all_of_them if isinstance(each, _Rule) and each != rule]
        return [own for own, each in others if isinstance(rule, _Rule) and each.covers(rule)]

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


def _is_path(text: str) -> bool:
    if text.startswith("/") and not text.isprintable():
        raise _wrong(text, "a path has no control characters")
    return text.startswith("/")


def _meaning(text: str) -> _Rule | str:
    return text if _is_path(text) else _parse(text)


def _parse(text: str) -> _Rule:
    datagram = text.startswith("udp:")
    host, port, bracketed = halves(text.removeprefix("udp:"), f"rule {quoted(text)}")
    ports = _ports(text, port)
    kind = Kind.UDP if datagram else Kind.TCP
    if host == "*" and not bracketed:
        return _Rule(kind, host, None, ports)
    network = _network(text, host, bracketed)
    return _Rule(kind, "" if network is not None else _name(text, host, bracketed), network, ports)


def _wrong(text: str, why: str, hint: str = HINT) -> UsageError:
    return UsageError(f"rule {quoted(text)}: {why}", hint)


def _ports(text: str, port: str) -> range:
    """`*` covers 0 too, which LISTEN asks for where any free port will do."""
    if port == "*":
        return _ALL_PORTS
    first, dash, last = port.partition("-")
    try:
        low, high = parse_port(first, text), parse_port(last if dash else first, text)
    except UsageError:
        raise _wrong(text, f"{quoted(port)} is not a port", _PORT_HINT) from None
    if high < low:
        raise _wrong(text, f"the range {port} is empty", f"write {high}-{low}")
    return range(low, high + 1)


def _network(text: str, host: str, bracketed: bool) -> Network | None:
    """The block of an address or CIDR rule, None where the host is a name."""
    first, slash, length = host.partition("/")
    try:
        address = ip_address(first.partition("%")[0])
    except ValueError:
        return None
    if bracketed != (address.version == 6):
        raise _wrong(text, "only IPv6 addresses stand in brackets", "as in 10.0.0.1:22 or [2001:db8::1]:22")
    if "%" in first and address.version == 4:
        raise _wrong(text, "an IPv4 address has no zone")
    if not slash or length == str(address.max_prefixlen):
        return ip_network(_only_meaning(text, address))
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= address.max_prefixlen):
        raise _wrong(text, f"/{foreign(length)} is not a prefix length", f"write 0 to {address.max_prefixlen}")
    network = ip_network(f"{address}/{length}", strict=False)
    if network.network_address != address:
        raise _wrong(text, f"{address} is not the first address of its block", f"write {network}")
    if isinstance(network, IPv6Network) and any(network.subnet_of(wrapped) for wrapped in _forms()):
        raise _wrong(text, "these addresses stand for IPv4 addresses; write the IPv4 block")
    return network


def _only_meaning(text: str, address: Address) -> Address:
    meant = _meant(address)
    if len(meant) > 1:
        raise _wrong(text, f"{address} stands for an IPv4 address; write that one")
    return meant[0]


def _name(text: str, host: str, bracketed: bool) -> str:
    name = _canonical(host)
    if bracketed or "/" in host:
        raise _wrong(text, f"{quoted(host)} is not an address")
    if not _NAME.fullmatch(name):
        raise _wrong(text, f"{quoted(host)} is neither a name nor an address", "write a whole name, an address or *")
    if _NUMERIC.fullmatch(name):
        raise _wrong(text, f"{quoted(host)} is neither a name nor a whole address", "as in 10.0.0.1 or 10.0.0.0/8")
    return name


def _canonical(name: str) -> str:
    """A name as getaddrinfo asks for it, in lower case, without the last dot; empty where it cannot be asked for."""
    try:
        return name.encode("idna").decode().lower().removesuffix(".") if len(name) <= NAME_MAX else ""
    except UnicodeError:
        return ""


def _forms() -> list[IPv6Network]:
    return [*(network for network, _ in _WRAPPED), _NAT64_LOCAL, _TEREDO]


def _meant(address: Address) -> tuple[Address, ...]:
    """Where packets to this address may end: there, or at the IPv4 address it stands for; each one where it is unclear.

    ipaddress is not asked: it misjudges mapped addresses in 3.11 and 3.12, and NAT64 and 6to4 in all.
    """
    if isinstance(address, IPv4Address) or address in _PLAIN:
        return (address,)
    number = int(address)
    if address in _NAT64_LOCAL:
        return _meant_nat64(number)
    if address in _TEREDO:  # its server, and the client's address with all bits turned
        return IPv4Address(number >> 64 & _BITS_32), IPv4Address(~number & _BITS_32)
    for network, shift in _WRAPPED:
        if address in network:
            return (IPv4Address(number >> shift & _BITS_32),)
    return (address,)


def _meant_nat64(number: int) -> tuple[Address, ...]:
    """The readings by RFC 6052, section 2.2, whose prefix length only the network's operator knows.

    Bits 64 to 71 are not part of it; 0.0.0.0/8 is no destination, so a reading that leads there is not the right one.
    """
    joined = number >> 64 << 56 | number & ((1 << 56) - 1)
    readings = dict.fromkeys(IPv4Address(joined >> shift & _BITS_32) for shift in (40, 32, 24, 0))
    return tuple(address for address in readings if address not in _THIS_NETWORK) or (IPv4Address(0),)
