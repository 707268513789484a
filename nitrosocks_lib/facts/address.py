"""`host:port` as people write it, with IPv6 addresses in brackets; names are not looked up here."""

from __future__ import annotations

from ipaddress import IPv6Address

from .errors import UsageError
from .limits import NAME_MAX
from .words import quoted

_FORBIDDEN = "/@?#[]\"'\\"


def halves(text: str, what: str = "") -> tuple[str, str, bool]:
    """Host without brackets, port as it stands there, and whether there were brackets; neither half is judged.

    Raises UsageError where the port cannot be told from the host; its text begins with `what`, else `text`.
    """
    what = what or quoted(text)
    bracketed = text.startswith("[")
    if bracketed:
        host, closed, rest = text[1:].partition("]")
        if not closed:
            raise UsageError(f"{what}: ']' is missing", "write it as [2001:db8::1]:443")
        if rest[:1] not in ("", ":"):
            raise UsageError(f"{what}: only ':' and a port may stand behind ']'")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.rpartition(":")
    if not colon:
        raise UsageError(f"{what} has no port", "write it as host:port")
    if ":" in host and not bracketed:
        raise UsageError(f"{what}: an IPv6 address stands in brackets", "write it as [2001:db8::1]:443")
    return host, port, bracketed


def split_host_port(text: str, *, zero: bool = False, empty: bool = False) -> tuple[str, int]:
    """The host, without brackets, and the port of `host:port` or `[v6]:port`; port 1 to 65535.

    `zero` allows port 0 (any free one), `empty` an empty host (all interfaces). Raises UsageError with what is wrong.
    """
    text = typed(text)
    if "/" in text:
        raise UsageError(f"{quoted(text)} has a '/'", "write host:port, without scheme and path")
    host, port, bracketed = halves(text)
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
    if not (port.isascii() and port.isdigit() and len(port) <= 5):  # isdigit alone takes digits of any script
        raise UsageError(f"{what}: {quoted(port)} is not a port", "a port is a number up to 65535")
    number = int(port)
    if number > 65_535 or (number == 0 and not zero):
        raise UsageError(f"{what}: a port is between {0 if zero else 1} and 65535")
    return number


def join_host_port(host: str, port: int) -> str:
    """`host:port`, with brackets around what has colons: the inverse of split_host_port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_ipv6(text: str, host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError:
        raise UsageError(f"{quoted(text)}: {quoted(host)} is not an IPv6 address") from None
    _check_host(text, host)  # a scope id may be anything to ipaddress


def _check_host(text: str, host: str) -> None:
    if not host:
        raise UsageError(f"{quoted(text)} has no host", "write it as host:port")
    if any(c.isspace() or not c.isprintable() or c in _FORBIDDEN for c in host):
        raise UsageError(f"{quoted(text)}: {quoted(host)} is not a host")
    if len(host.encode("utf-8", "surrogatepass")) > NAME_MAX:
        raise UsageError(f"{quoted(text)}: a host has at most {NAME_MAX} bytes")
