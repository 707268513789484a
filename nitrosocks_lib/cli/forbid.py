"""`forbid`: a client may reach less, or have the server listen at fewer places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..facts.address import typed
from ..facts.words import quoted
from ..files import clients
from .home import opened
from .output import announce, note
from .permit import in_force, may_listen

if TYPE_CHECKING:
    from .options import Options


def forbid(options: Options) -> int:
    """Removes rules from the client's file, and prints those that are in force now."""
    if options["--listen"]:
        return _forbid_listening(options)
    name, rules = options["NAME"], [*map(typed, options["RULE"])]
    with opened(options) as home:
        now, wider = clients.forbid(home, name, rules)
    for rule, others in wider.items():
        note(f"what {quoted(rule)} permitted is still permitted by {' and '.join(map(quoted, others))}")
    announce(in_force(name, now))
    note("it counts from the next stream on; a stream that is open stays open")
    return 0


def _forbid_listening(options: Options) -> int:
    name, rules = options["NAME"], [*map(typed, options["--listen"])]
    with opened(options) as home:
        now = clients.forbid_listening(home, name, rules)
    announce(may_listen(name, now))
    note("a server that runs stops listening there within 5 s; connections that came there stay open")
    return 0
