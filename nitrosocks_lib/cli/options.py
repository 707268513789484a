"""Values of options: addresses, --refresh and so on. Each parser raises UsageError with what is wrong."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from ..facts import limits
from ..facts.address import split_host_port
from ..facts.errors import UsageError
from ..facts.sizes import is_number
from ..facts.wire import Carrier, EncryptType
from ..facts.words import foreign
from .amounts import TIMES, duration, size, whole

if TYPE_CHECKING:  # a client imports nothing of the server, nor the other way round
    from ..server.decoy import Site
    from ..server.tunnel import RefreshPolicy

Options = dict[str, Any]  # what docopt makes of a command line
_CIPHERS = {"aes-256-gcm": EncryptType.AES_256_GCM, "aes-128-gcm": EncryptType.AES_128_GCM}
_WEB_PORTS = {"http": 80, "https": 443}
_WEB_SERVER = "name a web server that runs, as in --decoy 127.0.0.1:8080, or https://www.example.org"
_AUTO = "auto"
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")  # no segment that servers resolve, or clean away
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")

_PATHS: Final = ("--home", "-i", "-o", "--cert", "--key", "--proxy-auth", "--socks-auth", "--pidfile", "--keep")


def given(options: Options) -> Options:
    """The options, unless one is empty: it must not be taken for one that was left out. --path may be.

    A ~ before a path is the user's home: no shell makes it that in `--home=~/x`.
    """
    for option, value in options.items():
        if option.startswith("-") and option != "--path" and "" in (value if isinstance(value, list) else [value]):
            raise UsageError(f"{option} is empty", "give it a value, or leave it out")
    at_home = {name: os.path.expanduser(options[name]) for name in _PATHS if options.get(name)}
    return options | at_home


def listen(text: str) -> tuple[str, int]:
    """`host:port` or `:port`; an empty host means all interfaces."""
    if is_number(text):
        raise UsageError(f"--listen {foreign(text)}: a port alone", f"write it as host:port or :{text}")
    host, port = address("--listen", text, local=True)
    return ("" if host == "*" else host), port


def address(option: str, text: str, local: bool = False) -> tuple[str, int]:
    """`host:port` behind an option; `local`: port 0 and an empty host, too."""
    try:
        return split_host_port(text, zero=local, empty=local)
    except UsageError as error:
        raise UsageError(f"{option} {error}", error.hint) from None


def decoy(text: str | None) -> Site | None:
    """--decoy: `host:port`, or a URL without a path."""
    from ..server.decoy import Site

    if text is None:
        return None
    scheme, found, rest = text.partition("://")
    given = f"--decoy {foreign(text)}"
    if found and scheme.lower() not in _WEB_PORTS:
        raise UsageError(f"{given}: not a web server", "write host:port, or https://host")
    where = rest.removesuffix("/") if found else text
    if "/" in where or where.startswith("."):
        what = "a path" if found else "a directory or path"
        raise UsageError(f"{given}: {what} is not served", _WEB_SERVER)
    bare = where.endswith("]") or ":" not in where
    if found and bare:
        where += f":{_WEB_PORTS[scheme.lower()]}"
    return Site(*address("--decoy", where), tls=scheme.lower() == "https" and bool(found))


def window(text: str | None) -> int:
    """--window, bytes."""
    if text is None:
        return limits.WINDOW
    chosen = size("--window", text)
    if not limits.WINDOW_MIN <= chosen <= limits.WINDOW_MAX:
        raise UsageError(f"--window {foreign(text)}: out of range", "write 64K to 64M")
    return chosen


def mode(text: str | None) -> int:
    """--socket-mode, in octal."""
    if text is None:
        return limits.SOCKET_MODE
    if not re.fullmatch("[0-7]{3,4}", text) or int(text, 8) > 0o777:
        raise UsageError(f"--socket-mode {foreign(text)}: not a mode", "three octal digits, as in 660")
    return int(text, 8)


def sessions(text: str | None) -> int:
    """--sessions."""
    return limits.SESSIONS if text is None else whole("--sessions", text, 1, limits.SESSIONS_MAX)


def resume(text: str | None) -> int:
    """--resume, seconds."""
    return limits.RESUME if text is None else duration("--resume", text, 0, limits.RESUME_MAX)


def drain(text: str | None) -> int:
    """--drain, seconds."""
    return limits.DRAIN if text is None else duration("--drain", text, 0, limits.DAY)


def redial(text: str | None) -> float | None:
    """--redial, seconds; None where connections may grow old."""
    return None if text is None else float(duration("--redial", text, 1, limits.DAY))


def lifetime(option: str, text: str | None) -> float:
    """--idle and --age, seconds; 0 where it is not asked for. A plain number is minutes."""
    return 0.0 if text is None else float(duration(option, text, 60, limits.DAY, unit="m"))


def heartbeat(text: str | None) -> int | None:
    """--heartbeat, seconds; None where it is left to the carrier."""
    return None if text is None else duration("--heartbeat", text, limits.HEARTBEAT_MIN, limits.HEARTBEAT_MAX)


def carriers(text: str | None) -> tuple[Carrier, ...]:
    """--carrier: the one that is named, or all that may be tried."""
    if text is None or text.lower() == _AUTO:
        return tuple(Carrier)
    if text.lower() not in list(Carrier):
        raise UsageError(f"--carrier {foreign(text)}: unknown", f"one of {', '.join((*Carrier, _AUTO))}")
    return (Carrier(text.lower()),)


def prefix(text: str | None) -> str:
    """--path: what stands in front of tokens, empty or `/some/path`; a slash at its end counts for nothing."""
    path = (text or "").rstrip("/")
    if path and (not _PREFIX.fullmatch(path) or len(path) > limits.PREFIX):
        raise UsageError(f"--path {foreign(path)}: not a path", "as in /some/path: letters, digits and - . _ ~ only")
    return path


def host_header(text: str | None) -> str:
    """--host-header: a host name, or an address in the form of URLs, with a port or without; empty: the server's."""
    if text is not None and (not _HOST.fullmatch(text) or len(text) > limits.NAME_MAX):
        raise UsageError(f"--host-header {foreign(text)}: not a host", "as in www.example or www.example:8443")
    return text or ""


def refresh(text: str | None) -> RefreshPolicy:
    """--refresh: a time (30m), bytes (4G), or both with a comma."""
    from ..server.tunnel import RefreshPolicy

    policy, given = RefreshPolicy(), f"--refresh {foreign(text)}"
    every, volume = policy.every, policy.volume
    if text and text.count(",") > 1:
        raise UsageError(f"{given}: at most a time and a size", "as in 30m,4G")
    for part in text.split(",") if text else []:
        if part[-1:] in TIMES and is_number(part[:-1]):  # M stands for mebibytes
            every = float(duration("--refresh", part, 1, int(limits.REFRESH_MAX)))
            continue
        try:
            volume = size("--refresh", part)
        except UsageError:
            raise UsageError(f"{given}: not a time, a size or both", "as in 30m, 4G or 30m,4G") from None
    if not limits.WINDOW_MIN <= volume <= limits.KEY_BYTES // 2:
        raise UsageError(f"{given}: out of range", "write 64K to 32G")
    return RefreshPolicy(every, volume)


def cipher(text: str | None) -> EncryptType:
    """--cipher."""
    if text is None:
        return EncryptType.AES_256_GCM
    if text.lower() not in _CIPHERS:
        raise UsageError(f"--cipher {foreign(text)}: unknown", f"one of {', '.join(_CIPHERS)}")
    return _CIPHERS[text.lower()]
