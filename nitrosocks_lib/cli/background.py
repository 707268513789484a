"""`forward -f`: the program goes on in the background once it is ready, as ssh -f does."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..facts.errors import CannotCreate
from ..facts.words import foreign
from ..net.lines import STDERR, STDOUT
from ..net.process import end_with_parent
from ..net.signals import await_children
from .output import note

_READY = b"+"
_HEAD = 20  # bytes of a file with a number that are looked at
_ANOTHER = "name another --pidfile"


def into_background() -> Callable[[], None]:
    """Forks, before there are threads and descriptors of ours. The parent waits until the child is ready, or over, and
    exits as it did.

    Returns in the child only: what it has to call when it is ready. It has its terminal's signals until then, and ends
    when the parent was ended: nobody knows of it. Afterwards it has nothing of what it inherited that others may wait
    for: locks, and pipes that they read to the end.
    """
    inherited, parent = _inherited(), os.getpid()
    await_children()
    reader, writer = os.pipe()
    if pid := os.fork():
        os.close(writer)
        os._exit(0 if os.read(reader, 1) == _READY else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    os.close(reader)
    end_with_parent(True)
    if os.getppid() != parent:  # it has ended already
        os._exit(0)

    def ready() -> None:
        STDERR.flush()
        STDOUT.flush()
        with suppress(OSError):  # it leads a session already
            os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2) if _has_a_reader(2) else (0, 1):
            os.dup2(nowhere, descriptor)
        for descriptor in (nowhere, *inherited):
            os.close(descriptor)
        end_with_parent(False)
        os.write(writer, _READY)
        os.close(writer)

    return ready


def _inherited() -> list[int]:
    """The descriptors that are open, but for the first three."""
    found = []
    with suppress(OSError):  # there is no list of them
        for descriptor in map(int, os.listdir("/dev/fd")):
            with suppress(OSError):  # that of the list itself is closed
                os.fstat(descriptor)
                found.append(descriptor)
    return [descriptor for descriptor in found if descriptor > 2]


def _has_a_reader(descriptor: int) -> bool:
    """Whether somebody may read it to the end, as a script does that takes what the command says.

    A terminal, a file and the journal stay, for what is told later.
    """
    status = os.fstat(descriptor)
    journal = os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"  # systemd sets it for this
    return not journal and (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode))


@contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """As long as it runs, this process's number stands in a file that others may read, and that is locked: what a
    process that runs has written is not lost to a second one. At the end it is removed, unless it is another's by then.

    `path` has no links. Raises CannotCreate, also where something else than a number stands there.
    """
    file = _claimed(path)
    try:
        try:
            os.ftruncate(file, 0)
            os.write(file, b"%d\n" % os.getpid())
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            yield
        finally:
            _give_up(path, file)
    finally:
        os.close(file)


def _claimed(path: Path) -> int:
    """The descriptor of the file at this path, which is locked, and was made where it was missing."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            _lock(file, path)
            _check(file, path)
            if _is_at(path, file):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # who had it has removed it meanwhile


def _lock(file: int, path: Path) -> None:
    """Raises CannotCreate where another process has the lock; where the file system has none, goes without it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        number = foreign(os.pread(file, _HEAD, 0).decode(errors="replace").strip())
        raise CannotCreate(
            f"{foreign(path)} belongs to process {number}, which still runs", f"end that one, or {_ANOTHER}"
        ) from None
    except OSError:
        return


def _check(file: int, path: Path) -> None:
    """What was named by mistake is neither overwritten nor removed. A crash may leave nothing, or zeros."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise CannotCreate(f"{foreign(path)} is not a regular file", _ANOTHER)
    words = os.pread(file, _HEAD, 0).replace(b"\0", b" ").split()
    if words and not words[0].isdigit():
        raise CannotCreate(f"{foreign(path)} exists, and no number of a process stands in it", _ANOTHER)


def _is_at(path: Path, file: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(file))
    return False


def _give_up(path: Path, file: int) -> None:
    """The number may be another process's soon. Where the file cannot be removed, it is emptied."""
    if not _is_at(path, file):
        return
    try:
        path.unlink()
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(file, 0)
        note(f"{foreign(path)} cannot be removed: {error.strerror}; it is empty now")


def _cannot_write(path: Path, error: OSError) -> CannotCreate:
    return CannotCreate(f"cannot write {foreign(path)}: {error.strerror}", _ANOTHER)
