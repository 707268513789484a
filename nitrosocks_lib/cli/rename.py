"""`rename`: a client gets another name, and keeps its keys and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..files import clients
from .home import opened
from .output import announce

if TYPE_CHECKING:
    from .options import Options


def rename(options: Options) -> int:
    """Renames the client's file, and the client in it."""
    old, new = options["OLD"], options["NEW"]
    with opened(options) as home:
        clients.rename(home, old, new)
    announce([f"{old} is {new} now; its keys and rules are as before, and its profile goes on working"])
    return 0
