"""tidy: one arena, and what was free for two looks goes back to the system."""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable

import pytest

from nitrosocks_lib.net import memory
from nitrosocks_lib.net.buffers import BufferPool

M_ARENA_MAX = -8  # malloc.h


class Clock:
    """Timers that run when the test says so."""

    def __init__(self) -> None:
        self.actions: list[Callable[[float], float | None]] = []

    def after(self, _: float, action: Callable[[float], float | None]) -> None:
        self.actions.append(action)


class Libc:
    """What is asked of glibc's malloc."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int]] = []
        self.trims: list[int] = []

    def mallopt(self, option: int, value: int) -> int:
        self.options.append((option, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trims.append(pad)
        return 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(memory, "TIMERS", made)
    return made


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> tuple[BufferPool, BufferPool]:
    made = BufferPool(10, 4), BufferPool(20, 4)
    monkeypatch.setattr(memory, "POOLS", made)
    return made


def lend_at_once(pool: BufferPool, count: int) -> None:
    for buffer in [pool.take() for _ in range(count)]:
        pool.give_back(buffer)


def test_one_arena_and_looks_that_go_on(clock: Clock, pools, monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    memory.tidy()
    (look,) = clock.actions
    assert libc.options == [(M_ARENA_MAX, 1)]
    assert look(100.0) == 100.0 + memory._LOOK


def test_memory_is_given_back_when_buffers_were_dropped(pools: tuple[BufferPool, BufferPool]) -> None:
    libc = Libc()
    lend_at_once(pools[1], 3)
    memory._look(0.0, libc)  # type: ignore[arg-type]
    assert libc.trims == []  # they were in use since the look before
    memory._look(0.0, libc)  # type: ignore[arg-type]
    assert libc.trims == [0] and pools[1].forget_unused() == 0
    memory._look(0.0, libc)  # type: ignore[arg-type]
    assert libc.trims == [0]  # nothing was left


@pytest.mark.parametrize("has", [{}, {"mallopt": print}, {"malloc_trim": print}])
def test_without_glibc_nothing_happens(has: dict, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: types.SimpleNamespace(**has))
    memory.tidy()
    assert clock.actions == []


def test_this_libc_takes_it(pools: tuple[BufferPool, BufferPool]) -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        libc = Libc()
    lend_at_once(pools[0], 2)
    assert [memory._look(at, libc) for at in (0.0, 2.0)] == [2.0, 4.0]
    assert pools[0].forget_unused() == 0
