"""Groups of rules, `clients.d/_groups.toml`: each key is the name of a group, and its value a list of rules."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from ..facts.errors import UsageError
from ..facts.words import quoted
from ..protocol.permit import GROUPS, NONE, Groups
from ..protocol.rules import GROUP, is_group, parse
from .keyfiles import Table
from .places import check_place

_MEND: Final = "mend it; clients with @ in 'permit' can begin nothing until then"


def needed(directory: Path, rules: Iterable[str], place: bool = True) -> Groups:
    """The groups of this clients.d, where rules need one; none where there is no file.

    Raises KeyFileError, also where somebody else could have written the file, unless without `place`.
    """
    path = directory / GROUPS
    return load(path, place) if any(rule.startswith(GROUP) for rule in rules) and os.path.isfile(path) else NONE


def load(path: Path, place: bool = True) -> Groups:
    """All groups of a file; raises KeyFileError as `needed` does."""
    if place:
        check_place(path)
    table = Table(path, _MEND)
    return {name: table.parsed(name, partial(_members, name)) for name in table}


def _members(name: str, rules: list[str]) -> tuple[str, ...]:
    """Raises UsageError, where the name is none, too; a group has no groups."""
    is_group(GROUP + name)
    for rule in rules:
        if rule.startswith(GROUP):
            raise UsageError(f"rule {quoted(rule)}: a group has no groups", "write the rules themselves")
        parse(rule)
    return tuple(rules)
