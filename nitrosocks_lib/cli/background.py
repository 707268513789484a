"""`forward -f`: the program goes on in the background once it is ready, as ssh -f does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """As long as it runs, this process's number stands in a file that others may read, and that is locked: what a
    process that runs has written is not lost to a second one. Raises CannotCreate."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        _lock(file, path)
        try:
            os.ftruncate(file, 0)
            os.write(file, b"%d\n" % os.getpid())
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _lock(file: int, path: Path) -> None:
    """Raises CannotCreate where another process has the lock; where the file system has none, goes without it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        number = foreign(os.read(file, 20).decode(errors="replace").strip())
        raise CannotCreate(
            f"{foreign(path)} belongs to process {number}, which still runs", "end that one, or name another --pidfile"
        ) from None
    except OSError:
        return


def _cannot_write(path: Path, error: OSError) -> CannotCreate:
    return CannotCreate(f"cannot write {foreign(path)}: {error.strerror}", "name another --pidfile")
