"""Listening sockets, for the server and for -L."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from ..facts.address import join_host_port
from ..facts.errors import CannotCreate
from .sockets import MORE_DESCRIPTORS

BACKLOG = 4096  # connections that wait to be accepted: of a flood of 5,000 a second, and the kernel may allow fewer

PAUSE = 0.1  # seconds after an accept that failed: most often no descriptor is left, and poll would spin
_GONE = (errno.ECONNABORTED, errno.EPERM, errno.EPROTO)  # of an accept: that one is gone, and the next may be there
_ROOTS = 1024  # ports below it are for root, unless the system says otherwise
_PICKS = 10  # how often a port is picked anew that is free on one address of a name and taken on another


STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def bind(host: str, port: int, *, listening: bool = True, kind: socket.SocketKind = STREAM) -> socket.socket:
    """A listening socket, of the first address where a name has several; an empty host means all interfaces, IPv6 and
    IPv4. Without `listening` connections are refused until `listen`. A DATAGRAM takes what is sent to it, and never
    listens. Raises CannotCreate."""
    try:
        bound = _bind_everywhere(port, kind) if host in ("", "::") else _bind_first(host, port, kind)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error
    if listening and kind == STREAM:
        listen(bound)
    return bound


def listen(bound: socket.socket) -> None:
    """From here on the kernel takes connections. Raises CannotCreate, and closes the socket then: somebody else may
    have bound the same port while nobody listened there."""
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        host, port = bound.getsockname()[:2]
        bound.close()
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: OSError | UnicodeError) -> CannotCreate:
    where = join_host_port(host or "*", port)
    code = error.errno if isinstance(error, OSError) else None
    hint = "choose another address or port"
    if code == errno.EMFILE:
        hint = MORE_DESCRIPTORS
    elif code == errno.EACCES and port < _ROOTS:
        hint = "choose a higher port; those that are this low take root or CAP_NET_BIND_SERVICE"
    return CannotCreate(f"cannot listen on {where}: {_reason(error)}", hint)


def bind_all(host: str, port: int, *, listening: bool = True, kind: socket.SocketKind = STREAM) -> list[socket.socket]:
    """A listening socket for each address of a name, all at one port, which 0 lets be picked; the rest as in `bind`.

    Addresses that this machine lacks are left out, as ::1 may be. Raises CannotCreate, and leaves nothing bound then.
    """
    return bind_at(_addresses(host, port), (port,), listening=listening, kind=kind)


def bind_at(
    addresses: Sequence[str], ports: Sequence[int], *, listening: bool = True, kind: socket.SocketKind = STREAM
) -> list[socket.socket]:
    """As `bind_all`, for these addresses, at the first of these ports that is free at each of them.

    What 0 picks for one is picked anew where it is taken at another.
    """
    ports = [port for port in ports for _ in range(1 if port else _PICKS)]
    for left, port in zip(reversed(range(len(ports))), ports, strict=True):
        try:
            return _bind_each(addresses, port, listening, kind)
        except CannotCreate as error:
            if not (left and is_taken(error)):
                raise
    raise AssertionError("the last attempt returns or raises")


def is_taken(error: CannotCreate) -> bool:
    """Whether something else listens there."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _is_missing(error: CannotCreate) -> bool:
    """Whether this machine lacks the address, as it may lack ::1."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _bind_each(addresses: Sequence[str], port: int, listening: bool, kind: socket.SocketKind) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    with ExitStack() as bound:
        for address in addresses:
            try:
                listeners.append(bound.enter_context(bind(address, port, listening=listening, kind=kind)))
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
    return list(dict.fromkeys(_with_scope(address) for *_, address in found))


def _with_scope(address: tuple[str | int | bytes, ...]) -> str:
    """The host of a socket's address; a link-local one has its interface behind %, which Python keeps as a number."""
    host, scope = str(address[0]), int(address[3]) if len(address) > 3 else 0
    return f"{host}%{socket.if_indextoname(scope)}" if scope else host


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "not a host name"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _bind_first(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    return _bound(family, kind, (str(address[0]), port, *address[2:]))


def _bind_everywhere(port: int, kind: socket.SocketKind) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return _bound(socket.AF_INET6, kind, ("", port), both=True)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # these: IPv6 is off in the kernel
                raise
    return _bound(socket.AF_INET, kind, ("", port))


def _bound(
    family: int, kind: socket.SocketKind, address: tuple[str | int, ...], *, both: bool = False
) -> socket.socket:
    """What socket.create_server does before it listens; `both`: an IPv6 socket that takes IPv4, too."""
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket(family, kind))
        if kind == STREAM:  # or a port rests for minutes after a restart; datagrams would go to whoever came last
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        made.bind(address)
        stack.pop_all()
    return made


def accepted(
    listener: socket.socket, most: int, make_room: Callable[[OSError], None]
) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """The connections that wait at a listener that does not block, `most` of them.

    Where one cannot be taken, `make_room` is told why; where that does not help, it pauses and ends.
    """
    short = False
    for _ in range(most):
        try:
            taken = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _GONE:
                continue
            make_room(error)
            if short:  # room was made, and that was not it
                time.sleep(PAUSE)
                return
            short = True
        else:
            short = False
            yield taken
