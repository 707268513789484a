"""`permit --test`: whether a client may reach one target, and which of its rules decides. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from ..facts.address import join_host_port, typed
from ..facts.errors import NetworkError
from ..facts.wire import Kind
from ..facts.words import foreign, quoted
from ..files import clients
from ..net.own import is_own
from ..net.race import find
from ..protocol.addresses import Where
from ..protocol.frames import Target
from ..session.reaching import unfound
from .home import opened
from .output import announce
from .specs import destination

if TYPE_CHECKING:
    from ..protocol.permit import Placed, Rules
    from .options import Options

NOT_PERMITTED: Final = 77


def test(options: Options) -> int:
    """Prints a line for each address that the target has here; 0 where the client may reach one of them, else 77."""
    target = _target(typed(options["--test"]))
    with opened(options) as home:
        rules = clients.load(home, options["NAME"]).permit
    told = [*(_judged_path if target.kind == Kind.UNIX else _judged)(target, rules)]
    announce([line for line, _ in told])
    return 0 if any(permitted for _, permitted in told) else NOT_PERMITTED


def _target(text: str) -> Target:
    path = text.removeprefix("unix:")
    if path.startswith("/"):
        return Target(Kind.UNIX, path, 0)
    return destination(text, None)


def _judged_path(target: Target, rules: Rules) -> Iterator[tuple[str, bool]]:
    resolved = os.path.realpath(target.host)
    at = f" at {foreign(resolved)}" if resolved != target.host else ""
    yield _verdict(f"{foreign(target)}{at}", rules.deciding_path(target.host, resolved, os.path.realpath))


def _judged(target: Target, rules: Rules) -> Iterator[tuple[str, bool]]:
    """As the server does: what no rule could permit is not looked up. Raises NetworkError where it has no address."""
    host, port, kind = target.host, target.port, Kind(target.kind)
    first = rules.certain(host, port, kind)
    if first is None or not first.permits:
        yield _verdict(foreign(target), first)
        return
    try:
        found = [str(place[1][0]) for place in find(host, port)]
    except (OSError, ValueError) as error:
        hint = f"the first rule that could permit it is {quoted(first.text)}"
        raise NetworkError(unfound(host, error).text, hint) from None
    for address in dict.fromkeys(found):
        decided = rules.deciding(host, address, port, kind, is_own)
        at = f" at {join_host_port(address, port)}" if address != host else ""
        more = "" if decided is not None or not _here(address) else "; only a rule with this address permits it"
        line, permitted = _verdict(f"{foreign(target)}{at}", decided)
        yield line + more, permitted


def _here(address: str) -> bool:
    """Whether no name and no star leads there."""
    return Where.of(ip_address(address.partition("%")[0])).is_here(is_own)


def _verdict(what: str, decided: Placed | None) -> tuple[str, bool]:
    if decided is None:
        return f"{what}: not permitted: no rule permits it", False
    by = f"{quoted(decided.text)}{f' in {decided.group}' * bool(decided.group)}"
    return f"{what}: {'permitted' if decided.permits else 'forbidden'} by {by}", decided.permits
