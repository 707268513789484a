"""The client's side of SOCKS 5 (RFC 1928), with user and password (RFC 1929): what is said before TLS to the server.

A generator: each `yield` sends bytes and is given what came, nothing at the end of the connection.
"""

from __future__ import annotations

from collections.abc import Generator
from ipaddress import IPv4Address, ip_address
from typing import Final

from ..facts.errors import NetworkError, ProxyRefused, UsageError
from .proxy_auth import Login, raw

_VERSION, _AUTH_VERSION, _CONNECT = 5, 1, 1
_NO_AUTH, _PASSWORD, _NONE_DOES = 0, 2, 0xFF
_IPV4, _NAME, _IPV6 = 1, 3, 4
_SIZES: Final = {_IPV4: 4, _IPV6: 16}
_REPLIES: Final = (
    "done", "a failure of its own", "its rules do not allow it", "the network is unreachable",
    "the host is unreachable", "the server refused the connection", "the time to live is over",
    "it does not take CONNECT", "it does not take such an address",
)  # fmt: skip
_NO_SOCKS: Final = "is it an HTTP proxy? Then write http://"
_OURS: Final = 2  # of these: the rules, which are the same for all addresses of a name

Talk = Generator[bytes, bytes, None]


def connect(host: str, port: int, login: Login | None) -> Talk:
    """Asks for a connection to `host`, a name or a numeric address. Raises ProxyRefused and NetworkError."""
    reader = _Reader()
    methods = bytes([_NO_AUTH] if login is None else [_NO_AUTH, _PASSWORD])
    reader.send(bytes([_VERSION, len(methods)]) + methods)
    try:
        version, method = yield from reader.take(2)
    except NetworkError as error:
        raise NetworkError(str(error), error.hint or _NO_SOCKS) from None
    if version != _VERSION:
        raise NetworkError("what it answers is not SOCKS 5", _NO_SOCKS)
    if method == _PASSWORD and login is not None:
        yield from _log_in(reader, login)
    elif method != _NO_AUTH:
        hint = "give user:password in a file with --proxy-auth FILE"
        raise ProxyRefused("it wants another way to log in" if login else "it wants a user and a password", hint)
    reader.send(bytes([_VERSION, _CONNECT, 0]) + _address(host) + port.to_bytes(2, "big"))
    version, reply = yield from reader.take(2)
    if version == _VERSION and reply:
        said = _REPLIES[reply] if reply < len(_REPLIES) else f"reply {reply}"
        hint = "ask who runs the proxy" if reply == _OURS else "is 'nitrosocks serve' running there?"
        raise ProxyRefused(f"it refuses: {said}", hint, final=reply == _OURS)
    _, kind = yield from reader.take(2)
    if version != _VERSION or kind not in (*_SIZES, _NAME):
        raise NetworkError("what it answers is not SOCKS 5")
    size = (yield from reader.take(1))[0] if kind == _NAME else _SIZES[kind]
    yield from reader.take(size + 2)
    if reader.held:
        raise NetworkError("it sent bytes of its own behind its answer")


def _log_in(reader: _Reader, login: Login) -> Talk:
    words = [raw(word) for word in (login.user, login.password)]
    if not all(0 < len(word) < 256 for word in words):
        raise UsageError("user and password of a SOCKS proxy have 1 to 255 bytes each")
    reader.send(bytes([_AUTH_VERSION]) + b"".join(bytes([len(word)]) + word for word in words))
    _, status = yield from reader.take(2)
    if status:
        raise ProxyRefused("it did not take this user and password", "check --proxy-auth or the proxy's URL")


def _address(host: str) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:
        name = ascii_name(host)
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if isinstance(address, IPv4Address) else _IPV6]) + address.packed


def ascii_name(host: str) -> bytes:
    """A name as the proxy is to look it up; raises NetworkError where it is none."""
    try:
        name = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError:
        name = b""
    if not 0 < len(name) < 256:
        raise NetworkError("the server's name is not a host name", "check the name of the server in the profile")
    return name


class _Reader:
    """What came and is not taken yet, and what is to be sent with the next `yield`."""

    def __init__(self) -> None:
        self.held = b""
        self._out = b""

    def send(self, data: bytes) -> None:
        self._out += data

    def take(self, size: int) -> Generator[bytes, bytes, bytes]:
        while len(self.held) < size or self._out:
            out, self._out = self._out, b""
            came = yield out
            if not came:
                raise NetworkError("it ended the connection without an answer")
            self.held += came
        taken, self.held = self.held[:size], self.held[size:]
        return taken
