"""What the process gives up: to be dumped, to gain rights, to touch what it does not need (docs/security.md).

Each step is one that the system may lack or refuse. That is a debug line and never an end: nothing else relies on it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from errno import ENOSYS
from pathlib import Path
from typing import Final

from . import landlock

log = logging.getLogger(__name__)
_SET_PDEATHSIG: Final = 1  # prctl
_SET_DUMPABLE: Final = 4
_SET_NO_NEW_PRIVS: Final = 38
_SIGTERM: Final = 15
_CURRENT, _ON_FAULT = 1, 4  # mlockall

# What libc, Python and OpenSSL read at any time: to find names, to import, to show a traceback. resolv.conf may lead to
# /run, a name service may have files of its own (sssd, libvirt, extrausers), libraries may be elsewhere (Nix, Guix).
_SYSTEM: Final = (
    "/etc", "/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/proc/self", "/dev/urandom",
    "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/connman", "/run/netconfig",
    "/var/lib/sss", "/var/lib/libvirt/dnsmasq", "/var/lib/extrausers",
)  # fmt: skip
_ETC: Final = Path("/etc")
_NAMES: Final = "resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf"  # anybody's links may lead anywhere
_SHALLOW: Final = 2  # parts of /run
_LIBRARY: Final = Path(__file__).absolute().parents[1]  # in no directory of sys.path where `pip install -e` put it


def harden() -> None:
    """At the start of a command, before secrets are read and threads started: no dumps, no core, no new rights.

    Who is not root can neither read its memory nor trace it then.
    """
    _try("not dumpable", lambda: _prctl(_SET_DUMPABLE, 0))
    _try("no core", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    _try("no new privileges", lambda: _prctl(_SET_NO_NEW_PRIVS, 1))


def end_with_parent(ends: bool) -> None:
    """From here on SIGTERM comes when the parent has ended, or no longer."""
    _try("end with the parent", lambda: _prctl(_SET_PDEATHSIG, _SIGTERM if ends else 0))


def settle(
    readable: Iterable[Path] = (), listens: bool = False, replaced: Path | None = None, sockets: Iterable[Path] = ()
) -> None:
    """When all that a command needs at its start is read, made and bound, before it starts threads.

    Keeps the keys out of swap. From here on only `readable` and what the system itself needs can be read, nothing can
    be run, or written but files in the directory `replaced`; unix sockets can be made in the directories `sockets`, and
    only who `listens` may bind further TCP ports.
    """
    if threading.active_count() > 1:  # those would stay as they are
        log.debug("threads run already: Landlock does not cover them")
    _try("Landlock", lambda: _confine(readable, listens, replaced, sockets))
    _try("keys out of swap", _lock)  # behind it: a line that this is not here would start the thread that logs


def _try(what: str, step: Callable[[], None]) -> None:
    try:
        step()
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: this libc does not have it
        log.debug("%s: not here: %s", what, error)


def _prctl(option: int, value: int) -> None:
    _called(lambda libc: int(libc.prctl(option, *(ctypes.c_ulong(each) for each in (value, 0, 0, 0)))))


def _lock() -> None:
    """What is in memory now: the long-term keys, which stay where they are. What comes later is not locked.

    A limit on locked memory would let later threads and buffers fail, and without one they would be kept from swap in
    any number. The limit counts addresses and not pages, so mostly only root is let.
    """
    _called(lambda libc: int(libc.mlockall(_CURRENT | _ON_FAULT)))


def _confine(readable: Iterable[Path], listens: bool, replaced: Path | None, sockets: Iterable[Path]) -> None:
    places = [_LIBRARY, *(Path(each) for each in (*_SYSTEM, sys.prefix, sys.base_prefix, *sys.path) if each)]
    allowed = [(place, landlock.READ) for place in (*places, *_of_links(), *readable)]
    nowhere = Path(os.devnull), landlock.Access.READ_FILE | landlock.Access.WRITE_FILE
    learnt = [(replaced, landlock.REPLACE)] if replaced is not None else []
    bound = [(place, landlock.SOCKETS) for place in sockets]
    landlock.confine([*allowed, nowhere, *learnt, *bound], listens)


def _of_links() -> Iterator[Path]:
    """Where the links in /etc lead that say how names are found (WSL: to /mnt), though it may not be there yet.

    What is there is replaced whole, so its directory is needed; but of none right below / more than the file.
    """
    for path in (_ETC / name for name in _NAMES):
        if os.path.islink(path):
            file = Path(os.path.realpath(path))
            yield file
            above = next(each for each in file.parents if os.path.exists(each))  # False where we may not look
            if len(above.parts) > _SHALLOW:
                yield above


def _called(call: Callable[[ctypes.CDLL], int]) -> None:
    if sys.platform != "linux":
        raise OSError(ENOSYS, os.strerror(ENOSYS))
    if call(ctypes.CDLL(None, use_errno=True)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
