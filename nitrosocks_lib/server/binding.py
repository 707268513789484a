"""Where a client may listen at the server, and the sockets that are bound there (protocol 5, "Listeners")."""

from __future__ import annotations

import os
import socket

from ..facts import limits
from ..facts.wire import Kind, Reply
from ..net.listener import DATAGRAM, STREAM, bind_at
from ..net.paths import Named, bind_path
from ..protocol.frames import Target
from ..protocol.listening import ListenRules, Places
from ..session.dialling import Unreached
from ..session.reaching import name_of


def permitted(where: Target, rules: ListenRules) -> Places | str | Unreached:
    """Where a client may listen: places, or the path of a unix socket."""
    denied = Unreached(Reply.NOT_PERMITTED, "it is not permitted for this client")
    if where.kind == Kind.UNIX:
        path = _path(where.host)
        return path if path and rules.permits_path(path) else denied
    try:
        return rules.places(where) or denied
    except ValueError:
        return Unreached(Reply.ADDRESS_TYPE, f"{name_of(where)} is not an address; write one, localhost or *")


def _path(asked: str) -> str:
    """It with no links in its directory; empty where it can be no file of its own in one."""
    directory, _, name = asked.rpartition("/")
    if not asked.startswith("/") or name in ("", ".", "..") or "\0" in asked:
        return ""
    return f"{os.path.realpath(directory or '/').rstrip('/')}/{name}"


def bound(places: Places | str, kind: int) -> list[socket.socket | Named]:
    """Sockets that listen at all of these hosts, at the first port that is free at each of them, or at a path. Raises
    CannotCreate."""
    if isinstance(places, str):
        return [bind_path(places, limits.SOCKET_MODE)]
    return [*bind_at(places.hosts, places.ports, kind=DATAGRAM if kind == Kind.UDP else STREAM)]
