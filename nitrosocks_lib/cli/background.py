"""`forward -f`: the program goes on in the background once it is ready, as ssh -f does."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..facts.errors import CannotCreate
from ..facts.words import foreign
from ..net.lines import STDERR, STDOUT

_READY = b"+"


def into_background() -> Callable[[], None]:
    """Forks, before there are threads. The parent waits until the child is ready, or over, and exits as it did.

    Returns in the child only: what it has to call when it is ready. It has its terminal's signals until then.
    """
    reader, writer = os.pipe()
    if pid := os.fork():
        os.close(writer)
        os._exit(0 if os.read(reader, 1) == _READY else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    os.close(reader)

    def ready() -> None:
        STDERR.flush()
        STDOUT.flush()
        with suppress(OSError):  # it leads a session already
            os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):  # stderr stays: what goes wrong later is told there
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        os.write(writer, _READY)
        os.close(writer)

    return ready


def write_pid(path: Path) -> None:
    """This process's number, in a file that others may read. Raises CannotCreate."""
    try:
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        raise CannotCreate(f"cannot write {foreign(path)}: {error.strerror}", "name another --pidfile") from error
