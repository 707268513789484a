"""Listening unix sockets: their files have a mode from the first moment on, and go with them."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from ..facts.errors import CannotCreate
from ..facts.words import foreign
from .listener import listen

_NOT_LISTENING = [b"00000000", b"0001", b"01"]  # flags, type and state of a stream socket that is neither connected


@dataclass(frozen=True, slots=True)
class Named:
    """A bound socket and its file."""

    sock: socket.socket
    path: str
    file: tuple[int, int]  # device and inode

    def remove(self) -> None:
        """Removes the file, unless somebody has put another one in its place. The socket is its owner's to close."""
        with suppress(OSError):
            if _file(self.path) == self.file:
                os.unlink(self.path)


def bind_path(path: str, mode: int, *, listening: bool = True) -> Named:
    """A unix socket that listens at a path, whose file has that mode; one that nobody listens at any more is replaced.

    Without `listening` connections are refused until `listen`. Raises CannotCreate.
    """
    try:
        with ExitStack() as stack:
            made = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            _remove_stale(path)
            os.fchmod(made.fileno(), mode)  # Linux: the file never has more than this
            made.bind(path)
            named = Named(made, path, _file(path))
            stack.callback(named.remove)
            os.chmod(path, mode)  # where the umask took something off, or the system ignores the line above
            if listening:
                listen(made)
            stack.pop_all()
            return named
    except OSError as error:
        raise CannotCreate(
            f"cannot listen on {foreign(path)}: {error.strerror or error}", "choose another path"
        ) from error


def _file(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    """Removes a socket's file at which a connection is refused. What is no socket stays, and `bind` says so."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                if not _is_bound(path):
                    os.unlink(path)
            except OSError:  # a full backlog, or another kind of socket: somebody listens
                pass


def _is_bound(path: str) -> bool:
    """Whether a socket at this path, in the same words, does not listen yet, as `bind_path` makes them. False where the
    system does not say."""
    with suppress(OSError), open("/proc/net/unix", "rb") as table:
        for line in table:  # number, references, protocol, flags, type, state, inode, path
            fields = line.rstrip(b"\n").split(None, 7)
            if fields[3:6] == _NOT_LISTENING and fields[7:] == [os.fsencode(path)]:
                return True
    return False
