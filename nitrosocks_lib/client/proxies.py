"""Which proxy is on the way to a server: the option, else the environment, and how it is spoken to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from ..facts.address import split_host_port
from ..facts.errors import UsageError
from ..facts.words import quoted
from ..net.connect import Context
from ..net.proxy import Proxy, Talk
from .no_proxy import goes_directly

if TYPE_CHECKING:  # slow to import, and mostly there is no proxy
    from ..protocol.proxy_auth import Login

OPTION: Final = "--proxy"
OURS: Final = "NITROSOCKS_PROXY"  # as the option, but where no ps shows it
_ENVIRONMENT: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")  # the first that is given, as in curl
_EXCEPT: Final = ("no_proxy", "NO_PROXY")
_PORTS: Final = {"http": None, "https": 443, "socks5": 1080, "socks5h": 1080}  # None: it has to be named
_ESCAPES: Final = "special characters of a user or a password are written as %XX"
_BEFORE: Final = "a user and a password stand before an @ and the host"
# A host and a port. A user with a password, where nothing else was given, is none.
_ADDRESS: Final = re.compile(r"(\[.*\]|[^:]*|[0-9a-f]*(:[0-9a-f]*){2,})(:\d+)?([/?].*)?", re.IGNORECASE)
_FORM: Final = "as in http://proxy.example:3128; schemes are http, https, socks5, socks5h; none goes without a proxy"


@dataclass(frozen=True, slots=True)
class Named:
    """A proxy as it was named."""

    scheme: str
    address: tuple[str, int]
    login: Login | None = field(repr=False)
    origin: str  # the option, or the variable
    exceptions: str = ""  # NO_PROXY, where it counts


def chosen(option: str | None, environ: Mapping[str, str]) -> Named | None:
    """The proxy that was asked for, None for none; raises UsageError where it cannot be understood.

    NO_PROXY makes exceptions from what the environment says for all programs, not from what was said to this one.
    """
    if option is not None:
        return _parsed(option, OPTION)
    if environ.get(OURS):
        return _parsed(environ[OURS], OURS)
    origin = next((name for name in _ENVIRONMENT if environ.get(name)), None)
    if origin is None:
        return None
    return _parsed(environ[origin], origin, next((environ[name] for name in _EXCEPT if environ.get(name)), ""))


def _parsed(url: str, origin: str, exceptions: str = "") -> Named | None:
    if url.lower() == "none":
        return None
    if not url:
        raise UsageError(f"{origin} is empty", f"name a proxy, {_FORM}")
    scheme, given, rest = url.partition("://")
    if not given:
        scheme, rest = "http", url
    user, at, host = rest.rpartition("@")
    shown = f"{origin} {quoted(host)}" if _ADDRESS.fullmatch(host) else origin  # without what may be a password
    if scheme.lower() not in _PORTS:
        raise UsageError(f"{shown}: {quoted(scheme)} is not a scheme of a proxy", _FORM)
    address = _address(host.removesuffix("/"), _PORTS[scheme.lower()], shown)
    login = _login(user, shown) if at else None
    if login is not None and login.password and origin == OPTION:
        raise UsageError(
            f"{shown}: all users of this machine can read a password on the command line",
            f"write user:password into a file with mode 0600 and name it with --proxy-auth, or put the URL into {OURS}",
        )
    return Named(scheme.lower(), address, login, origin, exceptions)


def _address(text: str, default: int | None, shown: str) -> tuple[str, int]:
    if "/" in text or "?" in text:
        raise UsageError(f"{shown}: nothing may follow the port", f"{_FORM}; PAC files are not read; {_ESCAPES}")
    has_port = ":" in text.rpartition("]")[2]
    try:
        return split_host_port(text if has_port or default is None else f"{text}:{default}")
    except UsageError as error:
        if not _ADDRESS.fullmatch(text):
            raise UsageError(f"{shown}: what follows the ':' is not a port", f"{_FORM}; {_BEFORE}") from None
        raise UsageError(f"{shown}: {error}", _FORM) from None


def _login(text: str, shown: str) -> Login:
    user, password = (unquote(part, errors="surrogateescape") for part in text.partition(":")[::2])
    if any(letter < " " or letter == "\x7f" for letter in user + password):
        raise UsageError(f"{shown}: the user or the password before it has control characters", _ESCAPES)
    from ..protocol.proxy_auth import Login

    return Login(user, password)


def login_of(text: str, option: str, name: str) -> Login:
    """What the file of an option says, `user:password` on one line; raises UsageError, which shows none of it."""
    line = text.removeprefix("\ufeff").strip("\r\n")  # some editors begin a file so, or leave lines empty
    user, colon, password = line.partition(":")
    if not colon or not user or not line.isprintable():
        raise UsageError(f"{option} {quoted(name)}: not one line with user:password", "as in alice:secret")
    from ..protocol.proxy_auth import Login

    return Login(user, password)


class Proxies:
    """Gives the proxy on the way to each server; to be called by any thread."""

    def __init__(self, named: Named | None, login: Login | None, context: Callable[[], Context]) -> None:
        """`login` goes before that of the URL. `context` makes one of TLS that verifies, for a proxy with https."""
        self._named = named
        self._proxy: Proxy | None = None
        if named is not None:
            login = login or named.login
            secure = context() if named.scheme == "https" else None
            finds_here = named.scheme == "socks5"
            self._proxy = Proxy(named.address, _talk(named, login), secure, finds_here, named.origin)

    @property
    def secure(self) -> bool:
        """Whether authorities are needed, to verify the certificate of a proxy."""
        return self._proxy is not None and self._proxy.context is not None

    @property
    def named(self) -> str:
        """The proxy for people, and where it was named; nothing where there is none."""
        return f"{self._proxy.where} ({self._proxy.origin})" if self._proxy is not None else ""

    @property
    def asks(self) -> bool:
        """Whether it is one that may ask who we are with Negotiate."""
        return self._named is not None and self._named.scheme in ("http", "https")

    def __call__(self, server: tuple[str, int]) -> Proxy | None:
        if self._named is None or goes_directly(server[0], self._named.exceptions):
            return None
        return self._proxy


def _talk(named: Named, login: Login | None) -> Callable[[str, int], Talk]:
    def by_http(host: str, port: int) -> Talk:
        from ..protocol import http_proxy  # h11 is slow to import
        from ..protocol.proxy_login import Answers
        from . import sso

        answers = Answers(login, lambda scheme: sso.begin(scheme, named.address[0], login), os.urandom)
        return http_proxy.connect(host, port, answers)

    def by_socks(host: str, port: int) -> Talk:
        from ..protocol import socks_client

        return socks_client.connect(host, port, login)

    return by_socks if named.scheme.startswith("socks") else by_http
