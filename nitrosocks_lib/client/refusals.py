"""Why a server did not open a stream, for people: one error for each REFUSED; and what permits it to listen."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote
from typing import Final

from ..facts.errors import NetworkError, NitroSocksError, NotAuthorised
from ..facts.wire import Kind, Reply
from ..facts.words import foreign
from ..protocol.frames import Target

_PERMIT: Final = "ask the operator to permit it: nitrosocks permit NAME "
_HINTS: Final[dict[int, str]] = {
    Reply.NETWORK_UNREACHABLE: "the server's network has no route there",
    Reply.HOST_UNREACHABLE: "the server looks names up itself: check this one there",
    Reply.CONNECTION_REFUSED: "the server did reach it: does a service listen there, on this port?",
    Reply.EXPIRED: "the server got no answer from there: check the address, and firewalls between the two",
}
_PATH_HINTS: Final[dict[int, str]] = {
    Reply.HOST_UNREACHABLE: "check the path at the server, and that the service runs which makes this socket",
    Reply.CONNECTION_REFUSED: "the server found it: does the service still run that made it?",
}


def refusal(target: Target, code: int, reason: str) -> NitroSocksError:
    """The error for a REFUSED with this code and reason (protocol 5); its text begins with the target."""
    name = foreign(target)
    if code == Reply.NOT_PERMITTED:
        text = reason if reason.startswith(name) else f"{name}: {reason}"
        return NotAuthorised(text, _PERMIT + quote(name) if reason.startswith(name) else "ask the operator")
    if code == Reply.CONNECTION_REFUSED:
        text = "the target refused the connection"
    else:
        said = reason.removeprefix(f"{name}: ")
        text = f"the server {said}" if said.startswith("cannot find ") else f"the server cannot open it: {said}"
    return NetworkError(f"{name}: {text}", (_PATH_HINTS if target.kind == Kind.UNIX else _HINTS).get(code, ""))


def listening(places: Iterable[Target]) -> str:
    """What the operator types so that the server may listen at all of these. Ports in a row are one rule."""
    rules = list[tuple[Target, int]]()  # and the last port
    for at in places:
        first, last = rules[-1] if rules else (at, 0)
        if at.port == last + 1 > 1 and at == first._replace(port=at.port):
            rules[-1] = first, at.port
        else:
            rules.append((at, at.port))
    return "the operator permits it: nitrosocks permit NAME " + " ".join(f"--listen '{_rule(*each)}'" for each in rules)


def _rule(at: Target, last: int) -> str:
    text = foreign(at._replace(host=at.host or "*"))
    if at.kind == Kind.UNIX or last == at.port > 0:
        return text
    return f"{text}-{last}" if last else f"{text.removesuffix('0')}*"
