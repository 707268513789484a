"""Where log lines go, which of them, and in what form."""

from __future__ import annotations

import logging

from ..facts.levels import NOTE
from ..net.lines import STDERR, LogLines

_LEVELS = (NOTE, logging.INFO, logging.DEBUG)  # without -v, with -v, with -vv
_LINE, _LONG = "nitrosocks: %(message)s", "%(asctime)s %(threadName)s %(name)s: %(message)s"


def set_up(verbose: int, quiet: bool) -> None:
    """Log lines go to stderr, one each; secrets never do. `verbose` is how often -v was given."""
    level = logging.ERROR if quiet else _LEVELS[min(verbose, len(_LEVELS) - 1)]
    logging.basicConfig(level=level, handlers=[LogLines(STDERR, _LINE if verbose < 2 else _LONG)])
