"""One rule of a client, `host:port`, `udp:host:port` or `/path`, with `!` before it to forbid, and what it matches.

Names and paths may begin with or have a `*` (protocol 7).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Final

from ..facts.address import check_kind, halves, parse_port
from ..facts.errors import UsageError
from ..facts.limits import NAME_MAX
from ..facts.wire import Kind
from ..facts.words import foreign, quoted
from .addresses import Address, Network, Where, forms, has_special, meant

Own = Callable[[Address], bool]
Real = Callable[[str], str]  # a path without links

PORT_HINT: Final = "a port is a number from 1 to 65535, a range such as 8000-8010, or *; several take several rules"
HINT: Final = "a rule is host:port, as in db.example:5432, *:443, 10.0.0.0/8:8000-8010 or [2001:db8::/32]:*"

GROUP: Final = "@"  # begins the name of a group, in place of a rule
UDP: Final = "udp:"
_FORBIDS: Final = "!"
_WILD: Final = re.compile(r"[*?[]")  # in a path
_ALL_PORTS: Final = range(65_536)
_GROUP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
LOOPBACK_NAME: Final = re.compile(r"(.*\.)?localhost(\.localdomain)?")
_NUMERIC: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")  # what getaddrinfo takes for an address of old


def nobodys(_: Address) -> bool:
    """No address is this machine's."""
    return False


def linkless(path: str) -> str:
    """No path has links."""
    return path


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Of a path `name` is the path; else exactly one of `name` and `network` is set.

    A name may be "*" for any, or "*." and the end of names.
    """

    kind: Kind
    name: str
    network: Network | None
    ports: range
    forbids: bool = False

    def may_match(self, asked: str, port: int, kind: Kind) -> bool:
        """Whether `matches` could say yes, whatever the address is."""
        if kind != self.kind or port not in self.ports:
            return False
        return self.network is not None or _names(self.name, asked)

    def matches(self, asked: str, where: Where, port: int, kind: Kind, own: Own) -> bool:
        """Whether it permits this, or forbids it; `asked` is canonical, and `where` is about the address.

        What is in doubt is forbidden, and not permitted.
        """
        if not self.may_match(asked, port, kind):
            return False
        if self.network is not None:
            if self.forbids:
                return any(address in self.network for address in where.every)
            return all(address in self.network for address in where.ends)
        return self.forbids or not where.is_here(own)

    def matches_path(self, asked: str, resolved: str, real: Real) -> bool:
        """Whether it permits the socket at this path, or forbids it; `resolved` is what `real` makes of it.

        A path without a wildcard may be that of a link: the operator has named it. What forbids may go by links, too.
        """
        if self.kind != Kind.UNIX:
            return False
        if fits(self.name, resolved):
            return True
        if self.forbids:
            return fits(self.name, asked) or fits(real(self.name), resolved)
        return fits(self.name, asked) and not _WILD.search(self.name)

    def covers(self, other: Rule) -> bool:
        """Whether what the other is about is all in this one, too: of a name, where it leads into its block."""
        if self.kind != other.kind or other.ports[0] not in self.ports or other.ports[-1] not in self.ports:
            return False
        if self.kind == Kind.UNIX:
            return fits(self.name, other.name)
        if self.network is None:
            if other.network is None:
                return _names(self.name, other.name)
            return self.name == "*" and (self.forbids or not has_special(other.network))
        if other.network is None:
            return other.name != "*"
        low, high = other.network[0], other.network[-1]
        return low in self.network and high in self.network

    def precludes(self, other: Rule) -> bool:
        """Whether no stream comes to the other one behind this one that forbids; False where it is not certain."""
        return self.forbids and self.covers(other) and (self.network is None or other.network is not None)


def _names(pattern: str, name: str) -> bool:
    """Whether a name is meant: `*.example.org` means all below example.org, and not example.org itself."""
    return pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def fits(pattern: str, path: str) -> bool:
    """Whether a path is meant; wildcards stand for no `/`, so both have as many."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def is_group(text: str) -> bool:
    """Whether this is no rule, but the name of a group; raises UsageError for a name that is none."""
    if text.startswith(GROUP) and not _GROUP.fullmatch(text[1:]):
        raise _wrong(text, "a group has a name of A-Z a-z 0-9 _ -", "as in @web")
    return text.startswith(GROUP)


def meaning(text: str) -> Rule | str:
    """What is the same for rules, or groups, that mean the same; raises UsageError."""
    return text if is_group(text) else parse(text)


def parse(text: str) -> Rule:
    """Raises UsageError, which names the rule."""
    bare = text.removeprefix(_FORBIDS)
    forbids = bare != text
    if bare.startswith("/"):
        return Rule(Kind.UNIX, _path(text, bare), None, _ALL_PORTS, forbids)
    if bare.startswith(GROUP):
        raise _wrong(text, "a group cannot be forbidden", f"write its rules with {_FORBIDS}, each by itself")
    if re.search(r":[0-9*-]+[,;\s].*:", text):
        raise _wrong(text, "several rules in one", "write each one for itself, as in 'a.example:80' 'b.example:80'")
    datagram = bare.startswith(UDP)
    check_form(text, bare)
    host, port, bracketed = halves(bare.removeprefix(UDP), f"rule {quoted(text)}")
    ports = _ports(text, port)
    kind = Kind.UDP if datagram else Kind.TCP
    if host == "*" and not bracketed:
        return Rule(kind, host, None, ports, forbids)
    network = _network(text, host, bracketed)
    return Rule(kind, "" if network is not None else _name(text, host, bracketed), network, ports, forbids)


def check_form(text: str, bare: str) -> None:
    """Of a rule, without `!` and no path: nothing but `udp:` says what it is for, and all of it is for a host and a
    port. Raises UsageError."""
    check_kind(bare, f"rule {quoted(text)}", "as in udp:10.0.0.2:53")
    behind = bare.removeprefix(UDP)
    if bare.startswith("unix:"):
        raise _wrong(text, "no unix: here", "write the path alone, as in /run/app/db.sock")
    if behind != bare and behind.startswith("/"):
        raise _wrong(text, "no paths behind udp:", "write it as udp:host:port")
    if behind != bare and behind.startswith(_FORBIDS):
        raise _wrong(text, f"{_FORBIDS} stands in front of it all", "as in !udp:10.0.0.5:*")
    if behind != bare and behind.startswith(GROUP):
        raise _wrong(text, "no group behind udp:", "write udp: in front of its rules")
    if "/" in bare and ":" not in bare and not bare[0].isdigit():
        raise _wrong(text, "neither host:port nor a path", "a path begins with /, as in /run/app/db.sock")


def _path(text: str, path: str) -> str:
    if not path.isprintable():
        raise _wrong(text, "a path has no control characters")
    if _WILD.search(path) and ".." in path.split("/"):
        raise _wrong(text, "a path with * has no '..'")
    if path.endswith("/"):
        raise _wrong(text, "a directory is no socket", f"for all sockets in it write {foreign(text)}*")
    return path


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
        raise _wrong(text, f"{quoted(port)} is not a port", PORT_HINT) from None
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
    if "%" in first:
        raise _wrong(text, "an address has no zone here", "without it, the rule counts at all interfaces")
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
    if not int(address):
        raise _wrong(text, f"{address} leads to the machine itself", f"write {where[0]} for it, or * for all others")
    if len(where) > 1:
        raise _wrong(text, f"{address} stands for an IPv4 address; write that one")
    return where[0]


def _name(text: str, host: str, bracketed: bool) -> str:
    above = host.removeprefix("*.")
    name = canonical(above)
    if bracketed or "/" in host:
        raise _wrong(text, f"{quoted(host)} is not an address")
    if not _NAME.fullmatch(name):
        raise _wrong(
            text,
            f"{quoted(host)} is neither a name nor an address",
            "write a whole name, *.example.org, an address or *",
        )
    if _NUMERIC.fullmatch(name):
        raise _wrong(text, f"{quoted(host)} is neither a name nor a whole address", "as in 10.0.0.1 or 10.0.0.0/8")
    return name if above == host else f"*.{name}"


def canonical(name: str) -> str:
    """A name as getaddrinfo asks for it, in lower case, without the last dot; empty where it cannot be asked for."""
    try:
        return name.encode("idna").decode().lower().removesuffix(".") if len(name) <= NAME_MAX else ""
    except UnicodeError:
        return ""
