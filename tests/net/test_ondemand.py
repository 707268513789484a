"""OnDemand: a thread that is there when something is given to it, and has all of it before it ends."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest
from links import BOUND, Threads

from nitrosocks_lib.net.ondemand import OnDemand


class Counting:
    """Takes what is given, until it is stopped."""

    def __init__(self) -> None:
        self.given: SimpleQueue[int | None] = SimpleQueue()
        self.taken: list[int] = []
        self.threads: set[int] = set()
        self.thread = OnDemand("counting", self.run)

    def run(self) -> None:
        self.threads.add(threading.get_ident())
        while (number := self.given.get(timeout=BOUND)) is not None:
            self.taken.append(number)

    def stop(self) -> None:
        self.thread.stop(lambda: self.given.put(None))


def test_one_thread_has_all_that_many_give() -> None:
    counting = Counting()
    with Threads() as threads:
        for first in range(0, 400, 100):
            threads.start(
                lambda first=first: [
                    counting.thread.give(lambda n=n: counting.given.put(n)) for n in range(first, first + 100)
                ]
            )
        threads.join()
    counting.stop()
    assert sorted(counting.taken) == list(range(400)) and len(counting.threads) == 1


def test_nothing_is_given_behind_the_end() -> None:
    counting = Counting()
    assert counting.thread.give(lambda: counting.given.put(1))
    counting.stop()
    assert not counting.thread.give(lambda: pytest.fail("it has ended")) and counting.taken == [1]


def test_one_that_never_began_ends_at_once() -> None:
    counting = Counting()
    counting.stop()
    assert not counting.threads and counting.thread.stopped


def test_where_no_thread_can_be_had_the_next_one_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()

    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        assert not counting.thread.give(lambda: pytest.fail("nobody would take it"))
    assert counting.thread.give(lambda: counting.given.put(2))
    counting.stop()
    assert counting.taken == [2]
