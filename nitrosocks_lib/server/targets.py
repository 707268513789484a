"""What a client may reach (protocol 5, OPEN): the resolved address is judged, and then used.

Nothing here waits.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from ..facts import limits
from ..facts.wire import Kind, Reply
from ..facts.words import quoted
from ..net.own import is_own
from ..net.race import Place
from ..protocol.frames import Address, Target
from ..protocol.permit import Client, Placed, Rules
from ..protocol.rules import Own
from ..session.dialling import Found, Ruling, Unreached
from ..session.reaching import name_of, numeric, shown, unreached
from .audit import tell

own: Own = is_own  # asked each time: a machine gets addresses while it runs


@dataclass(frozen=True, slots=True)
class Ruled:
    """As session.dialling.Ruling, by the rules of one client."""

    target: Target
    client: str
    permit: Rules

    def place(self) -> Found | None:
        """As Ruling."""
        return place(self.target, self.permit)

    def permitted(self, found: Iterable[Place]) -> Found:
        """As Ruling."""
        return permitted(self.target, self.permit, found)

    def reached(self, at: Address) -> None:
        """As Ruling: one line in the log."""
        tell("target-reached", client=self.client, target=name_of(self.target), reached=shown(at))


def ruled(target: Target, lookup: Callable[[], Client | None]) -> Ruling | Unreached:
    """By the rules as they are now; `lookup` finds the client."""
    client = lookup()
    if client is None:
        return Unreached(Reply.NOT_PERMITTED, "this client is not authorised at present")
    return Ruled(target, client.name, client.permit)


def place(target: Target, permit: Rules) -> Found | None:
    """Where an address or a path leads, as far as it is permitted; None where a name is to be looked up for it.

    What no rule could permit is not looked up, so the answer does not tell whether it exists.
    """
    if target.kind == Kind.UNIX:
        return _path(target, permit)
    if not 0 < len(target.host) <= limits.NAME_MAX or not target.port:
        return Unreached(Reply.GENERAL, "not a host and port")
    first = permit.certain(target.host, target.port, Kind(target.kind))
    if first is None or not first.permits:
        return _forbidden(target, "", first)
    found = numeric(target)
    return permitted(target, permit, found) if isinstance(found, list) else found


def _path(target: Target, permit: Rules) -> Found:
    """What is judged, and connected to, is the path without links."""
    try:
        if not target.host.startswith("/") or not permit.any_path:
            return _forbidden(target)
        resolved = os.path.realpath(target.host.encode())
    except (OSError, ValueError):
        return _forbidden(target)
    allowed = permit.permits_path(target.host, os.fsdecode(resolved), os.path.realpath)
    return [(socket.AF_UNIX, resolved)] if allowed else _forbidden(target)


def permitted(target: Target, permit: Rules, found: Iterable[Place]) -> Found:
    """Those places of a name that this client may connect to."""
    try:
        found = list(found)
        by = [permit.deciding(target.host, str(each[1][0]), target.port, Kind(target.kind), own) for each in found]
        allowed = [each for each, rule in zip(found, by, strict=True) if rule is not None and rule.permits]
        ours = [] if allowed else [str(each[1][0]) for each in found if own(ip_address(str(each[1][0])))]
    except OSError as error:
        return unreached(target, [error])
    return allowed or _forbidden(target, "".join(ours[:1]), next(filter(None, by), None))


# -- what the client is told ------------------------------------------------------------------------------------------


def _forbidden(target: Target, ours: str = "", rule: Placed | None = None) -> Unreached:
    """For the log: the `rule` that forbids it, if one does; else `ours`, where it leads if that is this machine, since
    the operator may have meant a rule with a name to do."""
    if rule is not None:
        more = f"; {quoted(rule.text)}{f' of {rule.group}' * bool(rule.group)} forbids it"
        return Unreached(Reply.NOT_PERMITTED, f"{name_of(target)} is not permitted for this client", more)
    more = f"; it leads to {ours} of this machine, which only a rule with that address permits" if ours else ""
    return Unreached(Reply.NOT_PERMITTED, f"{name_of(target)} is not permitted for this client", more)
