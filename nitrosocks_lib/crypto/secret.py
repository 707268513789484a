"""Secrets that are over leave nothing behind in memory, as far as CPython lets us (docs/security.md).

CPython does not clear what it frees, and a `bytes` cannot be changed. So what derives keys is a Secret, and what a
library gives as `bytes` is taken over by one at once.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_HEAD: Final = bytes.__basicsize__ - 1  # in CPython the bytes of a `bytes` stand so far behind its address
_CPYTHON: Final = sys.implementation.name == "cpython"
_BLOCKS: Final = 32  # more than the blocks of this size that one KEM operation frees
_BLOCK: Final = 32  # bytes of each


class Secret(bytearray):
    """Bytes that are overwritten when nobody refers to them any more. A slice is a copy that is not: take a view."""

    __slots__ = ()

    def __del__(self) -> None:
        self[:] = bytes(len(self))

    @classmethod
    def taken(cls, source: bytes) -> Secret:
        """A Secret in place of bytes that are the caller's alone, straight from a library: they are wiped."""
        secret = cls(source)
        wipe(source)
        return secret


def joined(*parts: bytes | bytearray) -> Secret:
    """The parts behind one another, without a copy in between."""
    whole, end = Secret(sum(map(len, parts))), 0
    view = memoryview(whole)
    for part in parts:
        view[end : end + len(part)] = part
        end += len(part)
    return whole


def wipe(source: bytes) -> None:
    """Overwrites bytes that nobody else refers to, nor will: they are changed, although `bytes` never change.

    CPython shares those of less than two bytes, and other interpreters keep theirs elsewhere: those stay.
    """
    if _CPYTHON and type(source) is bytes and len(source) > 1:
        ctypes.memset(id(source) + _HEAD, 0, len(source))


def overwrite_freed() -> None:
    """Overwrites what a library freed a moment ago of 32-byte keys: as many blocks of that size are used and freed."""
    _ = [bytes(_BLOCK) for _ in range(_BLOCKS)]
