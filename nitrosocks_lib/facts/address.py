"""`host:port` as people write it, with IPv6 addresses in brackets; names are not looked up here."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from .errors import UsageError
from .limits import NAME_MAX
from .words import foreign, quoted

_FORBIDDEN = "/@?#[]\"'\\"
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)", re.IGNORECASE)
_IPV6 = re.compile(r"[0-9a-f:.]+(/[0-9]*)?(%.*)?", re.IGNORECASE)  # what looks like one
_DATAGRAMS = re.compile(r"(?!udp:)(?i:udp)[:/]|.*:udp:.*:|[^/]*[0-9*]/(?i:udp)\b")  # what people write
_CONNECTIONS = re.compile(r"(?i:tcp)[:/]|[^/]*[0-9*]/(?i:tcp)\b")
_PORTS = {"http": 80, "https": 443, "ssh": 22}


def halves(text: str, what: str = "") -> tuple[str, str, bool]:
    """Host without brackets, port as it stands there, and whether there were brackets; neither half is checked.

    Raises UsageError for a URL, for user@host, and where the port cannot be told from the host; its text begins with
    `what`, else `text`.
    """
    what = what or quoted(text)
    _check_bare(text, what)
    bracketed = text.startswith("[")
    if bracketed:
        host, closed, rest = text[1:].partition("]")
        if not closed:
            raise UsageError(f"{what}: ']' is missing", "write it as [2001:db8::1]:443")
        if rest[:1] not in ("", ":"):
            raise UsageError(f"{what}: only ':' and a port may follow ']'", "write it as [2001:db8::1]:443")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.rpartition(":")
    if not colon:
        raise UsageError(f"{what} has no {'host' if text.isdigit() else 'port'}", "write it as host:port")
    if ":" in host and not bracketed and not _IPV6.fullmatch(host):
        raise UsageError(f"{what}: too many colons", "write it as host:port")
    if ":" in host and not bracketed:
        raise UsageError(f"{what}: an IPv6 address needs brackets", "write it as [2001:db8::1]:443")
    return host, port, bracketed


def check_kind(text: str, what: str, example: str) -> None:
    """Datagrams have `udp:` in front of it all, and connections nothing; raises UsageError for what people also write.

    Its text begins with `what`; `example` says how it is done.
    """
    if _DATAGRAMS.match(text):
        raise UsageError(f"{what}: for datagrams write udp: in front", example)
    if _CONNECTIONS.match(text):
        raise UsageError(f"{what}: no tcp here", "leave it out: what has no udp: in front is for TCP")


def split_host_port(text: str, *, zero: bool = False, empty: bool = False) -> tuple[str, int]:
    """The host, without brackets, and the port of `host:port` or `[v6]:port`; port 1 to 65535.

    `zero` allows port 0 (any free one), `empty` an empty host (all interfaces). Raises UsageError with what is wrong.
    """
    text = typed(text)
    host, port, bracketed = halves(text)
    if "/" in text:
        raise UsageError(f"{quoted(text)} has a '/'", "write host:port, without a path")
    if bracketed:
        _check_ipv6(text, host)
    elif host or not empty:
        _check_host(text, host)
    return host, parse_port(port, quoted(text), zero=zero)


def typed(text: str) -> str:
    """What was typed: a terminal sends UTF-8, and where the locale knows none Python keeps its bytes as surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return text


def parse_port(port: str, what: str, *, zero: bool = False) -> int:
    """The number of a port, 1 to 65535, or 0 where `zero` allows it; raises UsageError, which begins with `what`."""
    if not port:
        raise UsageError(f"{what} has no port", "write it as host:port")
    low = 0 if zero else 1
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1  # isdigit: of any script
    if not low <= number <= 65_535:
        raise UsageError(f"{what}: {quoted(port)} is not a port", f"a port is a number from {low} to 65535")
    return number


def join_host_port(host: str, port: int) -> str:
    """`host:port`, with brackets around what has colons: the inverse of split_host_port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_bare(text: str, what: str) -> None:
    """Neither a scheme nor a user may stand before the host."""
    if url := _URL.match(text):
        bare = url[2].rpartition("@")[2]
        if not re.search(r":\w[\w-]*$", bare):
            bare += f":{_PORTS.get(url[1].lower(), 'PORT')}"
        raise UsageError(f"{what}: no scheme here", f"write {foreign(bare)}")
    _, at, bare = text.rpartition("@")
    if at:
        raise UsageError(f"{what}: no user here", f"write {foreign(bare)}")


def _check_ipv6(text: str, host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError:
        raise UsageError(f"{quoted(text)}: {quoted(host)} is not an IPv6 address", "as in [2001:db8::1]:443") from None
    _check_host(text, host)  # a scope id may be anything to ipaddress


def _check_host(text: str, host: str) -> None:
    if not host:
        raise UsageError(f"{quoted(text)} has no host", "write it as host:port")
    if not _has_letters(host):
        raise UsageError(f"{quoted(text)}: {quoted(host)} is not a host", "write a name or an address")
    if len(host.encode("utf-8", "surrogatepass")) > NAME_MAX:
        raise UsageError(f"{quoted(text)}: a host has at most {NAME_MAX} bytes")


def is_host(host: str) -> bool:
    """Whether it can be a host name or an address without brackets; it is not looked up."""
    return bool(host) and _has_letters(host) and len(host.encode("utf-8", "surrogatepass")) <= NAME_MAX


def _has_letters(host: str) -> bool:
    """Whether all letters of it are some that a host may have."""
    return not any(c.isspace() or not c.isprintable() or c in _FORBIDDEN for c in host)
