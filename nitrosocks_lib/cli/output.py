"""Words for people that are no errors: lines on stderr, which -q leaves out, and what a command prints on stdout."""

from __future__ import annotations

import errno
import logging
import os
import sys
from contextlib import suppress

from ..facts.errors import CannotCreate

NOTE = 25  # between INFO, which -v shows, and WARNING
log = logging.getLogger("nitrosocks")


def note(text: str) -> None:
    """One line on stderr."""
    log.log(NOTE, "%s", text)


def tell(text: str) -> None:
    """Text on stdout, at once, or nothing where its reader is gone. Raises CannotCreate where it cannot be written."""
    with suppress(BrokenPipeError):  # as in `nitrosocks --help | head -1`
        hand_over(text)


def hand_over(text: str) -> None:
    """As tell, for what must arrive: raises BrokenPipeError, too."""
    try:
        if sys.stdout is None:  # it came closed
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        discard(1)
        if isinstance(error, BrokenPipeError):
            raise
        raise CannotCreate(f"cannot write to stdout: {error.strerror}", "give it another stdout") from None


def discard(descriptor: int) -> None:
    """What a stream of Python's still holds goes nowhere, or the interpreter would complain when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
