"""find and Remembered: the addresses of a name, and which of them is tried first."""

from __future__ import annotations

import socket
import threading

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.race import Place, Remembered, find

V4, V6 = socket.AF_INET, socket.AF_INET6


def v4(port: int, host: str) -> Place:
    return V4, (host, port)


def test_find() -> None:
    assert find("127.0.0.1", 7) == [v4(7, "127.0.0.1")] and find("::1", 7) == [(V6, ("::1", 7, 0, 0))]
    assert find("localhost", 7, V4) == [v4(7, "127.0.0.1")]
    with pytest.raises(socket.gaierror):
        find("localhost", 7, flags=socket.AI_NUMERICHOST)
    for name in ("a..b", "a\0b"):
        with pytest.raises(ValueError):
            find(name, 7)


A, B, C = (v4(7, f"192.0.2.{n}") for n in (1, 2, 3))


def test_what_worked_is_first() -> None:
    known = Remembered()
    assert known.order("x", 7, [A, B, C], 0.0) == [A, B, C]
    known.worked("x", 7, [A, B, C], B, 0.0)
    assert known.order("x", 7, [A, B, C], 0.0) == [B, A, C] == known.order("x", 7, [C, B, A][::-1], 1.0)
    assert known.order("x", 8, [A, B], 0.0) == [A, B] == known.order("y", 7, [A, B], 0.0)
    assert known.order("x", 7, [A, C], 0.0) == [A, C], "it has moved"
    known.worked("x", 7, [B, A, C], C, 1.0)
    assert known.order("x", 7, [A, B, C], 1.0) == [C, A, B]


def test_where_the_first_works_nothing_is_remembered() -> None:
    """The addresses of a name may take turns, and keep doing so."""
    known = Remembered()
    known.worked("x", 7, [A, B], A, 0.0)
    assert known.order("x", 7, [B, A], 0.0) == [B, A] and len(known) == 0


def test_what_worked_is_forgotten_in_the_end() -> None:
    known = Remembered()
    known.worked("x", 7, [A, B], B, 0.0)
    known.worked("x", 7, [B, A], B, limits.REMEMBERED_AGE - 1)
    assert known.order("x", 7, [A, B], limits.REMEMBERED_AGE - 1) == [B, A]
    assert known.order("x", 7, [A, B], limits.REMEMBERED_AGE) == [A, B] and len(known) == 0


def test_few_names_are_remembered() -> None:
    known = Remembered(2)
    for name in "xyz":
        known.order("x", 7, [A, B], 0.0)  # so x is in use
        known.worked(name, 7, [A, B], B, 0.0)
    assert len(known) == 2 and known.order("y", 7, [A, B], 0.0) == [A, B]
    assert known.order("x", 7, [A, B], 0.0) == [B, A] == known.order("z", 7, [A, B], 0.0)


def test_many_threads_remember() -> None:
    known = Remembered(8)

    def use(name: str) -> None:
        for n in range(500):
            known.worked(f"{name}{n % 20}", 7, [A, B], B, 0.0)
            known.order(f"{name}{n % 13}", 7, [A, B], 0.0)

    threads = [threading.Thread(target=use, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(known) == 8
