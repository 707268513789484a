"""One port for SOCKS 5, SOCKS 4, 4a and HTTP: the first byte tells which."""

from __future__ import annotations

from typing import Final

from .asked import Rejected, Talk
from .proxy_auth import Login
from .socks import VERSION, Reader
from .socks_server import SOCKS4, socks4, socks5

_LETTERS: Final = frozenset(range(ord("A"), ord("Z") + 1))  # of methods of HTTP


def asks(login: Login | None, datagrams: bool = False) -> Talk:
    """What an application asks for; with `login` only for who gives it. Raises Rejected.

    With `datagrams` it may be an association for them: a target of that kind then, which is where the application says
    that its own will come from.
    """
    reader = Reader(early=True)
    (first,) = yield from reader.see(1)
    if first == VERSION:
        return (yield from socks5(reader, login, datagrams))
    if first == SOCKS4:
        return (yield from socks4(reader, login))
    if first in _LETTERS:
        from .proxy_server import http  # h11 is slow to import

        return (yield from http(reader, login))
    raise Rejected("it speaks neither SOCKS nor HTTP")
