"""What is told of a target that was reached, or not (protocol 5, OPENED and REFUSED)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from ..facts.address import join_host_port
from ..facts.wire import Kind, Reply
from ..facts.words import foreign
from ..net.race import Place, find
from ..protocol.frames import Address, Target
from .dialling import Found, Unreached


def name_of(target: Target) -> str:
    """As people write it; harmless in a log, whatever the peer asked for."""
    return foreign(str(target))


def shown(reached: Address) -> str:
    """The same of what was reached."""
    return foreign(join_host_port(*reached) if reached.port else reached.host)


def address(target: Target, reached: Place) -> Address:
    """What OPENED reports."""
    return Address(target.host, 0) if target.kind == Kind.UNIX else Address(str(reached[1][0]), target.port)


def numeric(target: Target) -> Found | None:
    """The place of an address; None where the host is a name, which is to be looked up."""
    try:
        return find(target.host, target.port, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return None
    except (OSError, ValueError) as error:
        return unfound(target.host, error)


def unfound(host: str, error: Exception) -> Unreached:
    """A name has no address."""
    reason = getattr(error, "strerror", None) or "not a host name"
    return Unreached(Reply.HOST_UNREACHABLE, f"cannot find {foreign(host)}: {reason}")


def unreached(target: Target, failed: Iterable[OSError]) -> Unreached:
    """No place of it could be connected to: the reason of the one that came nearest."""
    why = {error.errno: error.strerror for error in failed}
    for code, (reply, text) in _REPLIES.items():
        if code in why:
            return Unreached(reply, f"{name_of(target)}: {text}")
    reason = next(filter(None, why.values()), "cannot be reached")
    return Unreached(Reply.GENERAL, f"{name_of(target)}: {reason}")


_REPLIES = {  # the most telling first
    errno.ECONNREFUSED: (Reply.CONNECTION_REFUSED, "connection refused"),
    errno.EACCES: (Reply.GENERAL, "permission denied"),
    errno.ENOENT: (Reply.HOST_UNREACHABLE, "no such socket"),
    errno.EMFILE: (Reply.GENERAL, "too many files are open there"),
    errno.ENFILE: (Reply.GENERAL, "too many files are open there"),
    errno.ETIMEDOUT: (Reply.EXPIRED, "no answer in time"),
    errno.EHOSTUNREACH: (Reply.HOST_UNREACHABLE, "host unreachable"),
    errno.ENETUNREACH: (Reply.NETWORK_UNREACHABLE, "network unreachable"),
}
