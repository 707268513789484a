"""Turns: a thing has its turn when its descriptor is ready, its time has come, or it asks."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Iterator

import pytest

from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.turns import Turns


class Thing:
    def go_on(self) -> None:
        """Has nothing to do."""

    def close(self) -> None:
        """Has nothing to close."""


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_ready_descriptor_brings_a_turn(turns: Turns, pipe: tuple[int, int]) -> None:
    thing = Thing()
    turns.join(thing)
    turns.watch(pipe[0], selectors.EVENT_READ, thing)
    turns.watch(pipe[0], selectors.EVENT_READ, thing)  # again is as well
    os.write(pipe[1], b"x")
    assert turns.wait() == [thing]
    turns.watch(pipe[0], 0, thing)
    turns.again(thing)
    assert turns.wait() == [thing]
    turns.forget(pipe[0])


def test_a_time_that_came_brings_a_turn_once(turns: Turns) -> None:
    first, second = Thing(), Thing()
    for thing in (first, second):
        turns.join(thing)
    turns.at(now() + 0.03, second)
    turns.at(now() + 3600, first)
    turns.at(now() + 0.01, first)
    turns.at(now() + 0.02, first)  # it is asked again before
    assert turns.wait() == [first]
    assert turns.wait() == [second]


def test_who_has_parted_has_no_turn(turns: Turns) -> None:
    gone, there = Thing(), Thing()
    for thing in (gone, there):
        turns.join(thing)
        turns.at(now(), thing)
        turns.again(thing)
    turns.part(gone)
    assert turns.wait() == [there]


def test_times_of_those_that_have_parted_are_dropped(turns: Turns) -> None:
    for _ in range(5_000):
        turns.join(thing := Thing())
        turns.at(now() + 3600, thing)
        turns.part(thing)
    assert len(turns._due) < 2_000


def test_another_thread_calls(turns: Turns) -> None:
    called: list[int] = []
    turns.join(thing := Thing())

    def call() -> None:
        called.append(threading.get_ident())
        turns.again(thing)

    threading.Thread(target=turns.call, args=(call,)).start()
    while not turns.wait():
        pass
    assert called == [threading.get_ident()]


def test_another_thread_stops_it_for_good(turns: Turns) -> None:
    threading.Thread(target=turns.stop).start()
    while not turns.stopped:
        assert turns.wait() == []
    assert turns.wait() == []
