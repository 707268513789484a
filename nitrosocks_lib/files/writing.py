"""How files with secrets are made and changed: whole or not at all, with mode 0600, whatever the umask."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from errno import ENOTDIR
from pathlib import Path
from shlex import quote
from typing import Final

from ..facts.errors import CannotCreate
from ..facts.words import foreign

WORKING: Final = 10.0  # s that the work of another program in a directory may take, which takes none on good disks
_AGAIN: Final = 0.02  # s
_STDOUT: Final = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # links to whatever it is, a file too


def write_secret(path: Path, text: str, force: bool = False) -> None:
    """Makes the file with mode 0600, whole or not at all, and the missing directories above it with mode 0700.

    What is there already is replaced only with `force`, and only where it is a regular file or a link to one or to
    nothing. Raises CannotCreate.
    """
    with secrets_written([(path, text)], force):
        pass


@contextmanager
def secrets_written(texts: Sequence[tuple[Path, str]], force: bool = False, directories: bool = True) -> Iterator[None]:
    """Makes all of these files as write_secret does, then runs the block; where either fails, all is as it was before.

    But for directories that were made; without `directories`, none is. Raises CannotCreate, and what the block raises.
    """
    with ExitStack() as temporaries, ExitStack() as undo:
        ready = [(path, _ready(path, text, temporaries, directories), text) for path, text in texts]
        for path, temporary, text in ready:
            with _told(path):
                _put(path, temporary, text, force, undo, temporaries)
        yield
        undo.pop_all()


def replace_secret(path: Path, text: str) -> None:
    """Gives a file that is there another text, whole or not at all; its owner and mode stay. Raises CannotCreate.

    A link stays as it is: what it leads to changes.
    """
    path = Path(os.path.realpath(path))
    temporary = _beside(path)
    try:
        with _told(path, "changed"):
            status = path.stat()
            _write_new(temporary, text)
            if status.st_uid != os.geteuid():
                os.chown(temporary, status.st_uid, -1)
            with suppress(OSError):  # its group may do nothing with it
                os.chown(temporary, -1, status.st_gid)
            temporary.chmod(stat.S_IMODE(status.st_mode))
            temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise
    settle(path.parent)


@contextmanager
def _told(path: Path, verb: str = "made") -> Iterator[None]:
    """An OSError of this block, for people."""
    shown = foreign(path)
    try:
        yield
    except FileExistsError:
        raise CannotCreate(f"{shown} exists already", "remove it first, or replace it with --force") from None
    except OSError as error:
        hint = "choose another place for it" if verb == "made" else "nothing was changed"
        raise CannotCreate(f"{shown} cannot be {verb}: {error.strerror}", hint) from error


def _ready(path: Path, text: str, temporaries: ExitStack, directories: bool) -> Path:
    """All of it that can fail for want of room or rights: a new file beside `path`."""
    with _told(path):
        _check_place(path)
        temporary = _beside(path)
        if directories:
            make_directory(path.parent)
        elif not os.path.lexists(path.parent):
            shown = foreign(path.parent)
            raise CannotCreate(f"{foreign(path)} cannot be made: there is no directory {shown}", "make it first")
        temporaries.callback(_remove, temporary)
        _write_new(temporary, text)
        return temporary


def _check_place(path: Path) -> None:
    """To replace a device would harm the whole machine; a secret never goes into what is no file of its own."""
    if os.path.isdir(path):
        raise CannotCreate(f"{foreign(path)} is a directory", "name a file in it")
    if str(path) in _STDOUT or (os.path.exists(path) and not os.path.isfile(path)):
        raise CannotCreate(f"{foreign(path)} is not a regular file", "for standard output write -o -")


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _put(path: Path, temporary: Path, text: str, force: bool, undo: ExitStack, temporaries: ExitStack) -> None:
    """Gives the file its name. `undo` learns how to take that back."""
    if force and os.path.lexists(path):
        before = _beside(path)
        temporaries.callback(_remove, before)
        _keep(path, before, undo)
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # as O_EXCL, but nobody ever sees half of the file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        _write_new(path, text)
    undo.callback(_remove, path)


def _keep(path: Path, before: Path, undo: ExitStack) -> None:
    """A second name for what is replaced."""
    try:
        os.link(path, before, follow_symlinks=False)
    except OSError:  # a file system without links
        path.rename(before)
    undo.callback(_restore, before, path)


def _restore(before: Path, path: Path) -> None:
    """Where it cannot be, what went wrong before is the news."""
    with suppress(OSError):
        before.replace(path)


def _remove(path: Path) -> None:
    """As _restore."""
    with suppress(OSError):
        path.unlink()


def _write_new(path: Path, text: str) -> None:
    """Raises OSError, and leaves no file behind that it made and could not fill."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # line ends stay as they are
            os.fchmod(descriptor, 0o600)  # whatever the umask
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        _remove(path)
        raise


def settle(directory: Path) -> None:
    """A name in this directory that changed outlives a loss of power, where the file system knows how to."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_directory(path: Path) -> None:
    """Makes a directory and the missing ones above it, all with mode 0700; raises OSError."""
    if os.path.isdir(path):
        return
    make_directory(path.parent)
    try:
        path.mkdir(mode=0o700)
        path.chmod(0o700)  # whatever the umask
    except FileExistsError:
        if not os.path.isdir(path):  # else another program was first
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR)) from None


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Makes the directory if need be, and keeps every other process out of this block for it.

    Raises CannotCreate, also where another process stays in there for WORKING: it hangs, or was stopped.
    """
    try:
        make_directory(directory)
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise CannotCreate(f"{foreign(directory)}: {error.strerror}", "choose another place with --home") from error
    try:
        until = time.monotonic() + WORKING
        while not _is_locked(descriptor):
            if time.monotonic() > until:
                told = f"{foreign(directory)}: another program has worked on it for {WORKING:.0f} s"
                raise CannotCreate(told, f"try again; fuser {foreign(quote(str(directory)))} says which one it is")
            time.sleep(_AGAIN)
        yield
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Whether it is ours now. A signal is seen between two looks, which it would not be in a call that waits."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
