"""Gives memory back that transfers used: glibc keeps what was freed, in as many arenas as there were threads."""

from __future__ import annotations

import ctypes
from typing import Final

from .buffers import POOLS
from .timers import TIMERS

_M_ARENA_MAX: Final = -8
_LOOK: Final = 2.0  # seconds between looks


def tidy() -> None:
    """Begins: to be called once, before threads are started. Does nothing where there is no glibc."""
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt")):
        return
    libc.mallopt(_M_ARENA_MAX, 1)
    TIMERS.after(_LOOK, lambda at: _look(at, libc))


def _look(at: float, libc: ctypes.CDLL) -> float:
    """A timer: buffers that were free since the last look go back to the system."""
    if sum(pool.forget_unused() for pool in POOLS):
        libc.malloc_trim(0)
    return at + _LOOK
