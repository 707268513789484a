"""Lines for people that are no errors: what was made, where it listens, that it is ready. -q leaves them out."""

from __future__ import annotations

import logging

NOTE = 25  # between INFO, which -v shows, and WARNING
log = logging.getLogger("nitrosocks")


def note(text: str) -> None:
    """One line on stderr."""
    log.log(NOTE, "%s", text)
