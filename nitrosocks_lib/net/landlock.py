"""Landlock, as far as this kernel has it: the process gives up for good what it does not need (Linux 5.13, ctypes)."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from enum import IntFlag
from errno import ENOSYS
from pathlib import Path
from stat import S_ISDIR
from struct import Struct
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same on every machine but one that is long gone
_VERSION: Final = 1  # flag of _CREATE: which version there is
_PATH_BENEATH: Final = 1  # kind of a rule
_RULESET: Final = Struct("=QQQ")  # what files, TCP and scopes are forbidden
_RULE: Final = Struct("=Qi")  # what is allowed all the same, beneath this descriptor
_SIZES: Final = {1: 8, 4: 16, 6: 24}  # bytes of _RULESET that each version knows, from the one named on
_SINCE: Final = {1: 0x1FFF, 2: 0x2000, 3: 0x4000, 5: 0x8000}  # all accesses to files, by the version that brought them
_BIND_TCP: Final = 1  # version 4
_SCOPES: Final = 3  # version 6: abstract unix sockets and signals of processes beyond


class Access(IntFlag):
    """What a path allows; everything else on files is forbidden, to run them, too."""

    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_FILE = 1 << 5
    MAKE_FILE = 1 << 8
    MAKE_SOCK = 1 << 9


READ: Final = Access.READ_FILE | Access.READ_DIR
REPLACE: Final = READ | Access.WRITE_FILE | Access.REMOVE_FILE | Access.MAKE_FILE  # files of a directory, whole
SOCKETS: Final = Access.READ_DIR | Access.REMOVE_FILE | Access.MAKE_SOCK
_OF_FILES: Final = Access.READ_FILE | Access.WRITE_FILE


def version() -> int:
    """Of this kernel's Landlock; 0 where it has none, or does not let us."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)))


def confine(allowed: Iterable[tuple[Path, Access]], listens: bool) -> None:
    """From here on this thread, and every one that it starts, has these files and no others, and signals nobody else.

    Unless it `listens`, it binds no TCP port any more. Sockets and files that are open stay so. Paths that are not
    there are left out. `no_new_privs` must be set. Raises OSError where the kernel has none of it, or refuses.
    """
    has = version()
    if not has:
        raise OSError(ENOSYS, os.strerror(ENOSYS))
    files = sum(bits for since, bits in _SINCE.items() if since <= has)
    tcp, scopes = (0 if listens or has < 4 else _BIND_TCP), (_SCOPES if has >= 6 else 0)
    size = max(size for since, size in _SIZES.items() if since <= has)
    ruleset = _call(_CREATE, _RULESET.pack(files, tcp, scopes), ctypes.c_size_t(size), 0)
    try:
        for path, access in allowed:
            _allow(ruleset, path, access)
        _call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, access: Access) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what cannot be opened cannot be read either
        return
    try:
        if not S_ISDIR(os.fstat(beneath).st_mode):
            access &= _OF_FILES
        _call(_ADD, ruleset, _PATH_BENEATH, _RULE.pack(access, beneath), 0)
    finally:
        os.close(beneath)


def _call(*arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(*arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
