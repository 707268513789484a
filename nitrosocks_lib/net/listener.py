"""Listening sockets, for the server and for -L."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack

from ..facts.address import join_host_port
from ..facts.errors import CannotCreate

BACKLOG = 512  # connections that wait to be accepted; a burst of a browser is far below

PAUSE = 0.1  # seconds after an accept that failed: most often no descriptor is left, and poll would spin
_PICKS = 10  # how often a port is picked anew that is free on one address of a name and taken on another


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, of the first address where a name has several; an empty host means all interfaces, IPv6 and
    IPv4. Raises CannotCreate."""
    where = join_host_port(host or "*", port)
    try:
        if host in ("", "::"):
            return _bind_everywhere(port)
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = _reason(error)
        raise CannotCreate(f"cannot listen on {where}: {reason}", "choose another address or port") from error


def bind_all(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of a name, all at one port, which 0 lets be picked.

    Addresses that this machine lacks are left out, as ::1 may be. Raises CannotCreate, and leaves nothing bound then.
    """
    addresses = _addresses(host, port)
    for left in reversed(range(_PICKS if port == 0 else 1)):
        try:
            return _bind_each(addresses, port)
        except CannotCreate as error:
            if not (left and is_taken(error)):
                raise
    raise AssertionError("the last attempt returns or raises")


def is_taken(error: CannotCreate) -> bool:
    """Whether something else listens there."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _is_missing(error: CannotCreate) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _bind_each(addresses: list[str], port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    with ExitStack() as bound:
        for address in addresses:
            try:
                listeners.append(bound.enter_context(bind(address, port)))
            except CannotCreate as error:
                if not _is_missing(error) or (address == addresses[-1] and not listeners):
                    raise
            else:
                port = int(listeners[0].getsockname()[1])
        bound.pop_all()
    return listeners


def _addresses(host: str, port: int) -> list[str]:
    """Each address of a name once, as text; what cannot be resolved as it is, for `bind` to say so."""
    if host in ("", "::"):
        return [host]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return [host]
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "not a host name"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _bind_everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # these: IPv6 is off in the kernel
                raise
    return socket.create_server(("", port), backlog=BACKLOG)
