"""What people write behind -L, -R and -D, and as a target of `connect`, as values. Each raises UsageError."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..facts.address import check_kind, join_host_port, parse_port, split_host_port
from ..facts.errors import UsageError
from ..facts.limits import PATH_MAX
from ..facts.wire import Kind
from ..facts.words import foreign, quoted
from ..net.services import port_of
from ..protocol.frames import Target

if TYPE_CHECKING:  # `connect` imports nothing of what listens
    from ..client.forward import Forward

_URL = re.compile(r"(^|:)[A-Za-z][A-Za-z0-9+]*://")
_PART = re.compile(r"\[([^\]]*)\]|([^:\[\]]*)")
_LOCAL = (
    "[bind:]port:host:hostport",
    "as in -L 8080:intranet.example:80, -L 5432:/run/db.sock or -L /tmp/a.sock:db:5432",
)
_DYNAMIC = "[bind:]port", "as in -D 1080"
_UDP = "udp:"
_DATAGRAMS = "udp:[bind:]port:host:hostport", "as in -L udp:5353:10.0.0.2:53"
_SOCKET = re.compile(r"(?:[^/]*:)?unix:[./]")
_OF_UDP = re.compile(r"^udp[:/]|/udp$", re.IGNORECASE)
_PORTS = 1024  # of a range


def local(text: str) -> list[Forward]:
    """-L: `[bind:]port:host:hostport`, a path in place of either end, and ranges of ports, as ssh has it; with `udp:`
    in front for datagrams.

    IPv6 stands in brackets; bind empty or * is everywhere, none is loopback.
    """
    from ..client.forward import LOOPBACK, Forward

    return [Forward(place, target) for place, target in _pairs("-L", text, LOOPBACK)]


def remote(text: str) -> list[tuple[Target, Target | None]]:
    """-R: as -L, but the server listens, and the target is near this client; None where none is named, as with -D."""
    given = f"-R {foreign(text)}"
    _check_kind("-R", text)
    parts = _split(given, text)
    if len(parts) == 1 or (len(parts) == 2 and "/" not in text and not text.startswith(_UDP)):
        return [(_alone(given, parts), None)]
    pairs = _pairs("-R", text, "localhost")
    for place, _ in pairs:
        if place.kind == Kind.UNIX:
            _path(given, place.host)
    return [*pairs]


def _alone(given: str, parts: Sequence[str]) -> Target:
    """Where the server is to listen for a proxy: [bind:]port, or a path."""
    if "/" in parts[0]:
        return _path(given, parts[0])
    first, dash, last = parts[-1].partition("-")
    if dash and first.isdigit() and last.isdigit():
        raise UsageError(f"{given}: no target for a range", "one port is enough for a proxy, as in -R 1080")
    if len(parts) == 2 and parts[0].isdigit():
        raise UsageError(f"{given}: no target", "name one near this client, as in -R 8080:localhost:80")
    return _near(given, parts, "localhost")[0]


def _pairs(option: str, text: str, loopback: str) -> list[tuple[Target, Target]]:
    """Where to listen and where it leads, one for each port of a range."""
    given = f"{option} {foreign(text)}"
    _check_kind(option, text)
    datagrams = text.startswith(_UDP)
    form, example = _DATAGRAMS if datagrams else _LOCAL
    example = example.replace("-L", option)
    if _URL.search(text):
        raise UsageError(f"{given}: no URL here", example)
    if text.endswith("/"):
        raise UsageError(f"{given}: the '/' at the end is too much", example)
    if datagrams and "/" in text:
        raise UsageError(f"{given}: no paths behind udp:", example)
    parts = _split(given, text.removeprefix(_UDP))
    near, far = (1 if "/" in parts[0] else None), (1 if "/" in parts[-1] and len(parts) > 1 else 2)
    here, there = parts[:-far], parts[-far:]
    if not here or len(here) > (near or 2) or len(there) != far:
        raise UsageError(f"{given}: not {form}", example)
    places, targets = _near(given, here, loopback), _far(given, there)
    if len(places) != len(targets):
        hint = f"as many on both sides, as in {option} 8000-8010:intranet.example:9000-9010"
        raise UsageError(f"{given}: {len(places)} and {len(targets)} ports", hint)
    if not datagrams:
        return list(zip(places, targets, strict=True))
    return [(_udp(place), _udp(target)) for place, target in zip(places, targets, strict=True)]


def dynamic(text: str) -> list[Forward]:
    """-D: `[bind:]port` or a path, where applications ask for their targets by SOCKS or HTTP."""
    from ..client.forward import LOOPBACK, Forward

    given = f"-D {foreign(text)}"
    if _OF_UDP.search(text):
        raise UsageError(f"{given}: no udp: here", "SOCKS5 carries datagrams through any port of -D, as in -D 1080")
    _check_kind("-D", text)
    parts = _split(given, text)
    if len(parts) > (1 if "/" in parts[0] else 2):
        raise UsageError(f"{given}: not {_DYNAMIC[0]}", _DYNAMIC[1])
    return [Forward(place, None) for place in _near(given, parts, LOOPBACK)]


def destination(host: str, port: str | None) -> Target:
    """HOST:PORT, or HOST PORT, or unix:/path; the first two with udp: in front for datagrams."""
    if port is None:
        check_kind(host, quoted(host), "as in udp:10.0.0.2:53")
    if host.startswith(("!", "@")) or "*" in host:
        raise UsageError(f"{quoted(host)} is not a target", "write a name or an address; only rules have !, @ and *")
    if host.startswith(_UDP):
        return _datagrams(host, port)
    if host.startswith("unix:") and port is None:
        return _path(f"{foreign(host)}", host.removeprefix("unix:"))
    if port is None and host.startswith("/"):
        raise UsageError(f"{quoted(host)} has no port", f"for a unix socket at the server write unix:{foreign(host)}")
    if port is None:
        return Target(Kind.TCP, *split_host_port(_numbered(host)))
    given = f"{foreign(host)} {foreign(port)}"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if host.startswith("unix:"):
        raise UsageError(f"{given}: a path has no port", f"write {foreign(host)} alone")
    if bare.count(":") == 1:  # as in no IPv6 address
        raise UsageError(f"{given}: two ports", "write HOST:PORT or HOST PORT")
    if not bare:
        raise UsageError("the target's host is missing", "as in: nitrosocks connect host.example 22")
    return Target(Kind.TCP, *split_host_port(join_host_port(bare, _port(given, port))))


def _check_kind(option: str, text: str) -> None:
    """Raises UsageError for other ways than `udp:` in front to say what is carried."""
    given = f"{option} {foreign(text)}"
    check_kind(text, given, _DATAGRAMS[1].replace("-L", option))
    if _SOCKET.match(text):
        raise UsageError(f"{given}: no unix: here", "write the path alone, as in /run/db.sock")


def _split(given: str, spec: str) -> list[str]:
    """The parts between colons; brackets keep theirs together. Errors begin with `given`."""
    parts, at = [], 0
    while True:
        match = _PART.match(spec, at)
        assert match is not None, "the pattern matches the empty text too"
        parts.append(match[1] if match[1] is not None else match[2])
        at = match.end()
        if at == len(spec):
            return parts
        if spec[at] != ":":
            raise UsageError(f"{given}: brackets go around a whole IPv6 address", "as in -L 8080:[2001:db8::1]:80")
        at += 1


def _near(given: str, parts: Sequence[str], loopback: str) -> list[Target]:
    """Where to listen: [bind,] port or range, or a path."""
    *bind, last = parts
    if "/" in last and bind:
        raise UsageError(f"{given}: nothing stands in front of a path", f"leave {quoted(':'.join(bind))} out")
    if "/" in last:
        return [Target(Kind.UNIX, _socket(given, last), 0)]
    host = loopback if not bind else "" if bind[0] in ("", "*") else bind[0]
    return [_tcp(given, host, port) for port in _ports(given, last, zero=True)]


def _far(given: str, parts: Sequence[str]) -> list[Target]:
    """The target: a host and a port or range, or a path."""
    if len(parts) == 1:
        return [_path(given, parts[0])]
    host, ports = parts
    if not host:
        raise UsageError(f"{given}: the target's host is missing", _LOCAL[1])
    return [_tcp(given, host, port) for port in _ports(given, ports, zero=False)]


def _datagrams(text: str, port: str | None) -> Target:
    bare = text.removeprefix(_UDP)
    if "/" in bare:
        raise UsageError(f"{quoted(text)}: no paths behind udp:", "write it as udp:host:port")
    if port is None and ":" not in bare:
        raise UsageError(f"{quoted(text)} has no port", "write it as udp:host:port")
    return _udp(destination(bare, port))


def _udp(target: Target) -> Target:
    return target._replace(kind=Kind.UDP)


def _tcp(given: str, host: str, port: int) -> Target:
    try:
        return Target(Kind.TCP, *split_host_port(join_host_port(host, port), zero=True, empty=True))
    except UsageError as error:
        raise UsageError(f"{given}: {error}", error.hint) from None


def _path(given: str, path: str) -> Target:
    """A unix socket at the other side, or a target: nobody knows a directory there that it could be relative to."""
    if not path.startswith("/"):
        raise UsageError(f"{given}: {quoted(path)} is not a whole path", "it begins with /, as in /run/db.sock")
    return Target(Kind.UNIX, _socket(given, path), 0)


def _socket(given: str, path: str) -> str:
    if not path.isprintable():
        raise UsageError(f"{given}: a path has no control characters")
    if len(path.encode("utf-8", "surrogateescape")) > PATH_MAX:
        raise UsageError(f"{given}: the path is too long", f"the path of a socket has at most {PATH_MAX} bytes")
    return path


def _ports(given: str, text: str, *, zero: bool) -> list[int]:
    """A port, the name of a service, or a range."""
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit()):
        return [_port(given, text, zero=zero)]
    low, high = _port(given, first), _port(given, last)
    if not low <= high < low + _PORTS:
        raise UsageError(f"{given}: {text} is not a range of up to {_PORTS} ports", "as in 8000-8010")
    return list(range(low, high + 1))


def _port(given: str, text: str, *, zero: bool = False) -> int:
    """A number, or the name of a service that this machine knows."""
    return _service(text) or parse_port(text, given, zero=zero)


def _service(text: str) -> int | None:
    return port_of(text) if text[:1].isalpha() and text.isascii() else None


def _numbered(text: str) -> str:
    """`host:http` as `host:80`; all else as it is."""
    host, _, name = text.rpartition(":")
    alone = ":" not in host or host.endswith("]")  # else it is an IPv6 address that lacks its brackets
    number = _service(name) if host and alone else None
    return f"{host}:{number}" if number else text
