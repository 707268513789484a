"""`check`: reads all files of a home, and says what is wrong with each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ..facts.words import foreign
from ..files.check import Checked
from ..net.connect import server_context
from .home import opened
from .output import announce, counted, note

if TYPE_CHECKING:
    from .options import Options

_FAULTY: Final = 65  # as of a command that cannot use one of them


def check(options: Options) -> int:
    """One line for each fault on standard output; 0 where there is none, else 65."""
    with opened(options) as home:
        found = Checked(home, datetime.now(UTC), server_context)
    announce([fault.in_full for fault in found.faults])
    for text in found.notes:
        note(text)
    note(f"{counted(len(found.files), 'file')} read in {foreign(home)}, {counted(len(found.faults), 'fault')}")
    return _FAULTY if found.faults else 0
