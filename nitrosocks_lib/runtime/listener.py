"""Listening sockets, for the server and for -L."""

from __future__ import annotations

import errno
import os
import socket

from ..facts.address import join_host_port
from ..facts.errors import CannotCreate

BACKLOG = 512  # connections that wait to be accepted; a burst of a browser is far below

PAUSE = 0.1  # seconds after an accept that failed: most often no descriptor is left, and poll would spin


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; an empty host means all interfaces, IPv6 and IPv4. Raises CannotCreate."""
    where = join_host_port(host or "*", port)
    try:
        if host in ("", "::"):
            return _bind_all(port)
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = _reason(error)
        raise CannotCreate(f"cannot listen on {where}: {reason}", "choose another address or port") from None


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "not a host name"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _bind_all(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # these: IPv6 is off in the kernel
                raise
    return socket.create_server(("", port), backlog=BACKLOG)
