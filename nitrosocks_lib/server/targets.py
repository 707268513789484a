"""What a client may reach, and what it is told of it (protocol 5, OPEN): the resolved address is judged, and then used.

Nothing here waits but `resolve`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.wire import Kind, Reply
from ..facts.words import foreign
from ..net.own import is_own
from ..net.race import Place, find
from ..protocol.frames import Address, Target
from ..protocol.permit import Own, Rules
from ..session.dialling import Unreached

Found = list[Place] | Unreached
Resolve = Callable[[str, int], list[Place]]
resolve: Resolve = find
own: Own = is_own  # asked each time: a machine gets addresses while it runs


def name_of(target: Target) -> str:
    """As people write it; harmless in a log, whatever the client asked for."""
    return foreign(str(target))


def shown(reached: Address) -> str:
    """The same of what was reached."""
    return foreign(join_host_port(*reached) if reached.port else reached.host)


def place(target: Target, permit: Rules) -> Found | None:
    """Where an address or a path leads, as far as it is permitted; None where a name is to be looked up for it.

    What no rule could permit is not looked up, so the answer does not tell whether it exists.
    """
    if target.kind == Kind.UNIX:
        return [(socket.AF_UNIX, target.host.encode())] if permit.permits_path(target.host) else _forbidden(target)
    if target.kind != Kind.TCP:
        return Unreached(Reply.COMMAND, "this server does not carry that kind of stream")
    if not 0 < len(target.host) <= limits.NAME_MAX or not target.port:
        return Unreached(Reply.GENERAL, "not a host and port")
    if not permit.may_permit(target.host, target.port, Kind.TCP):
        return _forbidden(target)
    try:
        return permitted(target, permit, find(target.host, target.port, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        return None
    except (OSError, ValueError) as error:
        return unfound(target.host, error)


def permitted(target: Target, permit: Rules, found: Iterable[Place]) -> Found:
    """Those places of a name that this client may connect to."""
    try:
        found = list(found)
        allowed = [each for each in found if permit.permits(target.host, str(each[1][0]), target.port, Kind.TCP, own)]
        ours = [] if allowed else [str(each[1][0]) for each in found if own(ip_address(str(each[1][0])))]
    except OSError as error:
        return unreached(target, [error])
    return allowed or _forbidden(target, *ours[:1])


def address(target: Target, reached: Place) -> Address:
    """What OPENED reports."""
    return Address(target.host, 0) if target.kind == Kind.UNIX else Address(str(reached[1][0]), target.port)


# -- what the client is told ------------------------------------------------------------------------------------------


def _forbidden(target: Target, ours: str = "") -> Unreached:
    """`ours` is where it leads, if that is this machine: the operator may have meant a rule with a name to do."""
    more = f"; it leads to {ours} of this machine, which only a rule with that address permits" if ours else ""
    return Unreached(Reply.NOT_PERMITTED, f"{name_of(target)} is not permitted for this client", more)


def unfound(host: str, error: Exception) -> Unreached:
    """A name has no address."""
    reason = getattr(error, "strerror", None) or "not a host name"
    return Unreached(Reply.HOST_UNREACHABLE, f"cannot find {foreign(host)}: {reason}")


def unreached(target: Target, failed: Iterable[OSError]) -> Unreached:
    """No place of it could be connected to: the reason of the one that came nearest."""
    codes = {error.errno for error in failed}
    reply, text = next((told for code, told in _REPLIES.items() if code in codes), _OTHERWISE)
    return Unreached(reply, f"{name_of(target)}: {text}")


_OTHERWISE = (Reply.GENERAL, "cannot be reached")
_REPLIES = {  # the most telling first
    errno.ECONNREFUSED: (Reply.CONNECTION_REFUSED, "connection refused"),
    errno.EACCES: (Reply.GENERAL, "the server may not open it"),
    errno.ENOENT: (Reply.HOST_UNREACHABLE, "no such socket"),
    errno.EMFILE: (Reply.GENERAL, "the server is short of descriptors"),
    errno.ENFILE: (Reply.GENERAL, "the server is short of descriptors"),
    errno.ETIMEDOUT: (Reply.EXPIRED, "no answer in time"),
    errno.EHOSTUNREACH: (Reply.HOST_UNREACHABLE, "host unreachable"),
    errno.ENETUNREACH: (Reply.NETWORK_UNREACHABLE, "network unreachable"),
}
