"""The client's side of SOCKS 5 (RFC 1928), with user and password (RFC 1929): what is said before TLS to the server.

A generator: each `yield` sends bytes and is given what came, nothing at the end of the connection.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from ..facts.errors import NetworkError, ProxyRefused, UsageError
from . import socks
from .proxy_auth import Login, raw
from .socks import Reader

_REPLIES: Final = (
    "done", "a general failure", "its rules do not allow it", "the network is unreachable",
    "the host is unreachable", "the server refused the connection", "the TTL expired",
    "it does not support CONNECT", "it does not support this kind of address",
)  # fmt: skip
_NO_SOCKS: Final = "is it an HTTP proxy? Then write http://"
_OURS: Final = 2  # of these: the rules, which are the same for all addresses of a name

Talk = Generator[bytes, bytes, None]


def connect(host: str, port: int, login: Login | None) -> Talk:
    """Asks for a connection to `host`, a name or a numeric address. Raises ProxyRefused and NetworkError."""
    reader = Reader()
    methods = bytes([socks.NO_AUTH] if login is None else [socks.NO_AUTH, socks.PASSWORD])
    reader.send(bytes([socks.VERSION, len(methods)]) + methods)
    try:
        version, method = yield from reader.take(2)
    except NetworkError as error:
        raise NetworkError(str(error), error.hint or _NO_SOCKS) from None
    if version != socks.VERSION:
        raise NetworkError("its answer is not SOCKS 5", _NO_SOCKS)
    if method == socks.PASSWORD and login is not None:
        yield from _log_in(reader, login)
    elif method != socks.NO_AUTH:
        hint = "give user:password in a file with --proxy-auth FILE"
        raise ProxyRefused("it requires another way to log in" if login else "it requires a user and a password", hint)
    reader.send(bytes([socks.VERSION, socks.CONNECT, 0]) + socks.address(host) + port.to_bytes(2, "big"))
    version, reply = yield from reader.take(2)
    if version == socks.VERSION and reply:
        said = _REPLIES[reply] if reply < len(_REPLIES) else f"reply {reply}"
        hint = "ask the operator of the proxy" if reply == _OURS else "is 'nitrosocks serve' running there?"
        raise ProxyRefused(f"it refused: {said}", hint, final=reply == _OURS)
    _, kind = yield from reader.take(2)
    if version != socks.VERSION or kind not in (*socks.SIZES, socks.NAME):
        raise NetworkError("its answer is not SOCKS 5")
    size = (yield from reader.take(1))[0] if kind == socks.NAME else socks.SIZES[kind]
    yield from reader.take(size + 2)
    if reader.held:
        raise NetworkError("it sent unexpected bytes after its answer")


def _log_in(reader: Reader, login: Login) -> Talk:
    words = [raw(word) for word in (login.user, login.password)]
    if not all(0 < len(word) < 256 for word in words):
        raise UsageError("user and password of a SOCKS proxy have 1 to 255 bytes each")
    reader.send(bytes([socks.AUTH_VERSION]) + b"".join(bytes([len(word)]) + word for word in words))
    _, status = yield from reader.take(2)
    if status:
        raise ProxyRefused("it rejected this user and password", "check --proxy-auth or the proxy's URL")
