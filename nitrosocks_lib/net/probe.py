"""A way to a server, looked at step by step: each address of its name, and what its TLS says. For `doctor`.

Whoever only wants a link uses `connect.dial`, which takes the first that works and tells no more.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass

from ..facts import limits
from ..facts.errors import NetworkError, Unreachable
from ..facts.words import foreign
from .handshakes import go_on, unfound, wrap
from .link import Link
from .nested import NestedLink
from .race import Place, find, interleaved, tune
from .timers import now
from .wake import wait

_NO_NAME = "check the name in the profile, and whether this network resolves other names"
_POLLED = {selectors.EVENT_READ: select.POLLIN, selectors.EVENT_WRITE: select.POLLOUT}


@dataclass(frozen=True, slots=True)
class Reached:
    """One address: seconds until it connected, or failed with `error`."""

    address: str
    seconds: float
    error: str = ""
    hangs: bool = False  # it said nothing until the time was over


@dataclass(frozen=True, slots=True)
class Shaken:
    """One TLS handshake: what was agreed on, or why there is none. `certificate` is the leaf, DER."""

    seconds: float
    version: str = ""
    cipher: str = ""
    alpn: str = ""
    certificate: bytes = b""
    error: str = ""
    hangs: bool = False


def look_up(host: str, port: int, family: int, seconds: float) -> list[Place]:
    """The addresses of a name, in the system's order. Blocks for so long at most; raises Unreachable."""
    found: list[list[Place]] = []
    failed: list[Unreachable] = []

    def ask() -> None:
        try:
            found.append(list(dict.fromkeys(find(host, port, family))))
        except (OSError, ValueError) as error:
            failed.append(unfound(host, port, family, error, _NO_NAME))

    asking = threading.Thread(target=ask, name="resolver", daemon=True)  # getaddrinfo takes what time it likes
    asking.start()
    asking.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise Unreachable(f"cannot find {foreign(host)}: no answer after {seconds:.0f} s", _NO_NAME)
    return found[0]


def reach(places: list[Place], seconds: float) -> tuple[list[tuple[Place, Reached]], socket.socket | None]:
    """TCP to all addresses side by side: how each did, and the first connection, the caller's from here on.

    Blocks for `seconds` at most, and no longer than `limits.COMPANY` behind the first that connected.
    """
    connecting = _Connecting(interleaved(places)[: limits.RACING])
    try:
        connecting.run(seconds)
        return connecting.answers(), connecting.take()
    finally:
        connecting.close()


class _Connecting:
    """Several connects under way; one thread."""

    def __init__(self, places: list[Place]) -> None:
        self._began, self._selector = now(), selectors.DefaultSelector()
        self._places = places
        self._done: dict[Place, Reached] = {}
        self._first: socket.socket | None = None
        for place in places:
            self._begin(place)

    def _begin(self, place: Place) -> None:
        try:
            sock = socket.socket(place[0], socket.SOCK_STREAM)
        except OSError as error:
            self._done[place] = self._told(place, _reason(error))
            return
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_WRITE, place)
        if (code := sock.connect_ex(place[1])) not in (0, errno.EINPROGRESS):
            self._end(sock, place, code)

    def run(self, seconds: float) -> None:
        until = self._began + seconds
        while len(self._done) < len(self._places) and (left := until - now()) > 0:
            for key, _ in self._selector.select(left):
                sock, place = key.fileobj, key.data
                assert isinstance(sock, socket.socket), "nothing else is registered"
                self._end(sock, place, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                if self._first is sock:
                    until = min(until, now() + limits.COMPANY)

    def _end(self, sock: socket.socket, place: Place, code: int) -> None:
        self._selector.unregister(sock)
        self._done[place] = self._told(place, os.strerror(code) if code else "")
        if code or self._first is not None:
            sock.close()
        else:
            self._first = sock

    def _told(self, place: Place, error: str, hangs: bool = False) -> Reached:
        return Reached(str(place[1][0]), now() - self._began, error, hangs)

    def answers(self) -> list[tuple[Place, Reached]]:
        """How each did, in the order in which they were tried."""
        done = self._done
        return [(place, done.get(place) or self._told(place, "no answer", hangs=True)) for place in self._places]

    def take(self) -> socket.socket | None:
        first, self._first = self._first, None
        if first is not None:
            tune(first)
        return first

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket), "nothing else is registered"
            key.fileobj.close()
        self._selector.close()


def shake(way: socket.socket | Link, host: str, context: ssl.SSLContext, seconds: float) -> Shaken:
    """One TLS handshake on a way to a server, which it closes. Blocks for `seconds` at most; never raises."""
    began = now()
    try:
        if isinstance(way, socket.socket):
            way.setblocking(False)
            agreed, certificate = _shake(wrap(way, context, host), began + seconds)
        else:
            agreed, certificate = _shake_nested(NestedLink(way, context, host), began + seconds)
    except _Hangs:
        return Shaken(now() - began, error="no answer", hangs=True)
    except (OSError, NetworkError) as error:
        late = now() >= began + seconds
        return Shaken(now() - began, error="no answer" if late else _reason(error), hangs=late)
    return Shaken(now() - began, *agreed, certificate)


class _Hangs(Exception):
    """The deadline came first."""


def _shake(sock: ssl.SSLSocket, deadline: float) -> tuple[tuple[str, str, str], bytes]:
    with sock:
        while events := go_on(sock):
            left = deadline - now()
            if left <= 0 or not wait({sock.fileno(): _POLLED[events]}, left):
                raise _Hangs
        cipher = sock.cipher()
        agreed = sock.version() or "", cipher[0] if cipher else "", sock.selected_alpn_protocol() or ""
        certificate = sock.getpeercert(binary_form=True) or b""
        with suppress(OSError, ValueError):  # whoever ends it without a word would look like a scanner
            sock.unwrap()
    return agreed, certificate


def _shake_nested(link: NestedLink, deadline: float) -> tuple[tuple[str, str, str], bytes]:
    try:
        link.handshake(deadline)
        return link.agreed(), link.certificate()
    finally:
        link.close()


def _reason(error: Exception) -> str:
    """OpenSSL's name of what is wrong, or the system's words."""
    if isinstance(error, NetworkError):
        return str(error)
    if not isinstance(error, OSError):
        return "not a host name"
    told = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror
    return foreign(told or error)
