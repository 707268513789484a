"""`demo`: prints what the client got and what the box saw of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..demo.demo import show
from ..net.signals import ended_by_exception
from .options import Options
from .output import tell

EXIT_FAULT: Final = 70
EXIT_READABLE: Final = 76


def demo(options: Options) -> int:
    """0 only when all is as promised; 76 when the box could read something, 70 when anything else failed."""
    ended_by_exception()  # keys lie in its temporary directory
    keep = options["--keep"]
    shown = show(None if keep is None else Path(keep))
    failed = sum(not row.good for row in shown.rows)
    lines = [*map(str, shown.rows), f"{failed} FAILED" if failed else "everything is as promised"]
    if keep is not None:
        lines.append("the recordings are in {} and {}".format(*shown.recordings))
    tell("".join(f"{line}\n" for line in lines))
    return EXIT_READABLE if shown.readable else EXIT_FAULT if failed else 0
