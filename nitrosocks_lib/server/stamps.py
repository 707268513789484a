"""What of a file or directory differs after a change of it, as one stat tells."""

from __future__ import annotations

import os
import time

from ..facts import limits

Stamp = tuple[int, ...]


def seen(path: str) -> Stamp | None:
    """What differs after a change of the file, of its owner or its mode; None where it is gone.

    Nothing where it cannot be looked at: a link that leads nowhere, for one.
    """
    try:
        return stamp_of(os.stat(path))
    except FileNotFoundError:
        return () if os.path.islink(path) else None
    except NotADirectoryError:
        return None
    except OSError:
        return ()


def stamp_of(status: os.stat_result) -> Stamp:
    """Of what was looked at already."""
    mode, owner = status.st_mode, status.st_uid
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev, mode, owner


def is_settled(of: Stamp) -> bool:
    """Whether no later change can have this stamp, too: the clock of a file system stands still for milliseconds."""
    return abs(time.time_ns() - of[0]) >= limits.LISTED_AGAIN * 1e9  # or the clock was set back
