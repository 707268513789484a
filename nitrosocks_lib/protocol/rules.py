"""One rule of a client, `host:port` or `udp:host:port` (protocol 7), and what it matches."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Final

from ..facts.address import halves, parse_port
from ..facts.errors import UsageError
from ..facts.limits import NAME_MAX
from ..facts.wire import Kind
from ..facts.words import foreign, quoted
from .addresses import Address, Network, forms, is_special, meant

Own = Callable[[Address], bool]

_PORT_HINT: Final = "a port is a number from 1 to 65535, a range such as 8000-8010, or *; several take several rules"
HINT: Final = "a rule is host:port, as in db.example:5432, *:443, 10.0.0.0/8:8000-8010 or [2001:db8::/32]:*"

_ALL_PORTS: Final = range(65_536)
_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
LOOPBACK_NAME: Final = re.compile(r"(.*\.)?localhost(\.localdomain)?")
_NUMERIC: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")  # what getaddrinfo takes for an address of old


def nobodys(_: Address) -> bool:
    """No address is this machine's."""
    return False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; exactly one of `name` ("*": any) and `network` is set."""

    kind: Kind
    name: str
    network: Network | None
    ports: range

    def may_match(self, asked: str, port: int, kind: Kind) -> bool:
        """Whether `matches` could say yes, whatever the address is."""
        if kind != self.kind or port not in self.ports:
            return False
        return self.network is not None or self.name in ("*", asked)

    def covers(self, other: Rule) -> bool:
        """Whether what the other permits is permitted by this one, too: of a name, where it leads into its block."""
        if self.kind != other.kind or other.ports[0] not in self.ports or other.ports[-1] not in self.ports:
            return False
        if self.network is None:
            return self.name == "*" or (other.network is None and self.name == other.name)
        if other.network is None:
            return other.name != "*"
        low, high = other.network[0], other.network[-1]
        return low in self.network and high in self.network

    def matches(self, asked: str, where: tuple[Address, ...], port: int, kind: Kind, own: Own) -> bool:
        """Whether it permits this; `asked` is canonical, and `where` what the address stands for."""
        if not self.may_match(asked, port, kind):
            return False
        if self.network is not None:
            return all(address in self.network for address in where)
        return not any(map(is_special, where)) and not any(map(own, where))


def is_path(text: str) -> bool:
    """Whether this is a rule for a unix socket; raises UsageError for a path that is none."""
    if text.startswith("/") and not text.isprintable():
        raise _wrong(text, "a path has no control characters")
    return text.startswith("/")


def meaning(text: str) -> Rule | str:
    """What is the same for rules that mean the same; raises UsageError."""
    return text if is_path(text) else parse(text)


def parse(text: str) -> Rule:
    """Raises UsageError, which names the rule."""
    if re.search(r":[0-9*-]+[,;\s].*:", text):
        raise _wrong(text, "several rules in one", "write each one for itself, as in 'a.example:80' 'b.example:80'")
    datagram = text.startswith("udp:")
    host, port, bracketed = halves(text.removeprefix("udp:"), f"rule {quoted(text)}")
    ports = _ports(text, port)
    kind = Kind.UDP if datagram else Kind.TCP
    if host == "*" and not bracketed:
        return Rule(kind, host, None, ports)
    network = _network(text, host, bracketed)
    return Rule(kind, "" if network is not None else _name(text, host, bracketed), network, ports)


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
    if isinstance(network, IPv6Network) and any(network.subnet_of(wrapped) for wrapped in forms()):
        raise _wrong(text, "these addresses stand for IPv4 addresses; write the IPv4 block")
    return network


def _only_meaning(text: str, address: Address) -> Address:
    where = meant(address)
    if len(where) > 1:
        raise _wrong(text, f"{address} stands for an IPv4 address; write that one")
    return where[0]


def _name(text: str, host: str, bracketed: bool) -> str:
    name = canonical(host)
    if bracketed or "/" in host:
        raise _wrong(text, f"{quoted(host)} is not an address")
    if not _NAME.fullmatch(name):
        raise _wrong(text, f"{quoted(host)} is neither a name nor an address", "write a whole name, an address or *")
    if _NUMERIC.fullmatch(name):
        raise _wrong(text, f"{quoted(host)} is neither a name nor a whole address", "as in 10.0.0.1 or 10.0.0.0/8")
    return name


def canonical(name: str) -> str:
    """A name as getaddrinfo asks for it, in lower case, without the last dot; empty where it cannot be asked for."""
    try:
        return name.encode("idna").decode().lower().removesuffix(".") if len(name) <= NAME_MAX else ""
    except UnicodeError:
        return ""
