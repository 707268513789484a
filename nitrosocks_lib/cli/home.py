"""How the short commands of a home begin: which one it is, as whom it is worked on, and how a signal ends that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import profiles
from ..files.owner import as_owner
from ..net.signals import ended_by_exception

if TYPE_CHECKING:
    from .options import Options


@contextmanager
def opened(options: Options) -> Iterator[Path]:
    """The home that the options name; root works on it as its owner meanwhile. A signal leaves no half of a change."""
    ended_by_exception()
    home = profiles.home(options["--home"], os.environ)
    with as_owner(home, home / profiles.CLIENTS):
        yield home
