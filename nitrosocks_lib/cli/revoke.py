"""`revoke`: a client is authorised no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..facts.words import foreign
from ..files import clients
from .home import opened
from .output import announce, note

if TYPE_CHECKING:
    from .options import Options


def revoke(options: Options) -> int:
    """Removes the client's file."""
    name = options["NAME"]
    with opened(options) as home:
        others = clients.revoke(home, name)
    if others:
        note(f"the same key is still authorised, as {' and '.join(map(foreign, others))}: revoke that, too")
    announce([f"{name} is revoked: it gets no new stream and no new session, and its running streams end within 5 s"])
    return 0
