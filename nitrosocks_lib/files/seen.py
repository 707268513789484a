"""When each client last had a session: an empty file of its id in `seen`, in the home, whose time tells.

Nothing depends on it: where it cannot be written, nobody knows.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .writing import make_directory

SEEN: Final = "seen"


def prepare(home: Path) -> Path | None:
    """Makes the directory; None where that cannot be."""
    try:
        make_directory(home / SEEN)
    except OSError:
        return None
    return home / SEEN


def note(directory: Path, client_id: bytes) -> None:
    """The client has a session now; raises OSError."""
    path = directory / client_id.hex()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)  # as for a key file
    try:
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def when(home: Path, client_id: bytes) -> datetime | None:
    """None where it is not known."""
    try:
        return datetime.fromtimestamp((home / SEEN / client_id.hex()).lstat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return None


def forget(home: Path, client_id: bytes) -> None:
    """The client is revoked."""
    with suppress(OSError):
        (home / SEEN / client_id.hex()).unlink()
