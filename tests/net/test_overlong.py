"""Overlong: a read that does not come back ends with its connection; one that only waits for a core does not."""

from __future__ import annotations

import threading

import pytest
from links import BOUND

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.overlong import Overlong
from nitrosocks_lib.net.timers import TIMERS, now
from nitrosocks_lib.net.tls import TlsLink

ROOM = memoryview(bytearray(16))


class Endless(TlsLink):
    """OpenSSL takes records without data as long as it is not broken off."""

    def __init__(self) -> None:
        self.broken = threading.Event()

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        until = now() + BOUND
        while not self.broken.is_set():
            assert now() < until, "nobody breaks it off"
        raise NetworkError("the connection ended")

    def say_goodbye(self, deadline: float = 0.0) -> None:
        with pytest.raises(NetworkError):
            self.read_some(ROOM)

    def close(self, deadline: float = 0.0) -> None:
        assert self.broken.is_set()

    def break_off(self) -> None:
        self.broken.set()


class Asleep(Endless):
    """It has no core for as long as two looks take."""

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        looked = threading.Event()
        TIMERS.after(2 * limits.READ_LOOK, lambda _: looked.set())
        assert looked.wait(BOUND)
        return 1


class Quick(Endless):
    """It returns at once."""

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        return 1


def test_what_reads_on_and_on_is_broken_off_and_the_next_one_too() -> None:
    reads = Overlong()
    for _ in range(2):
        with pytest.raises(NetworkError):
            reads.read_some(Endless(), ROOM)


def test_a_goodbye_that_is_looked_for_on_and_on_is_no_more() -> None:
    link = Endless()
    Overlong().close(link, now())
    assert link.broken.is_set()


def test_who_waits_for_a_core_is_not() -> None:
    link = Asleep()
    assert Overlong().read_some(link, ROOM) == 1
    assert not link.broken.is_set()


def test_each_thread_is_judged_by_its_own_work() -> None:
    """The one that makes it is not the one that reads."""
    reads, ended = Overlong(), threading.Event()

    def run() -> None:
        with pytest.raises(NetworkError):
            reads.read_some(Endless(), ROOM)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert ended.wait(BOUND)
    thread.join()


def test_without_a_thread_for_timers_it_reads_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    reads = Overlong()
    with monkeypatch.context() as scarce:
        scarce.setattr(TIMERS, "after", refuses)
        assert reads.read_some(Quick(), ROOM) == 1
    with pytest.raises(NetworkError):
        reads.read_some(Endless(), ROOM)
