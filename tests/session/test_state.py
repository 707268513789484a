"""State: how a connection ends is decided once, whoever comes first, and a session gives its descriptors back."""

from __future__ import annotations

import gc
import os
import threading

import pytest
from links import BOUND, Threads
from roles import Roles
from scarce import few_eventfds

from nitrosocks_lib.facts import limits
from nitrosocks_lib.session.state import Attached, Outcome, State

WINDOW = limits.WINDOW


@pytest.fixture
def roles():
    made = Roles()
    yield made
    made.close()


@pytest.fixture
def state(roles: Roles) -> State:
    made = roles.server.state
    made.begin()
    return made


def descriptors() -> set[str]:
    """Those of this process. Selectors that other tests left close when they are collected: now, and not later; but
    their threads may still close theirs."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def test_without_a_pair_it_counts_as_lost(roles: Roles) -> None:
    state = roles.server.state
    assert state.outcome is Outcome.LOST
    state.end(Outcome.OVER, "nobody is there to hear it")
    assert (state.outcome, state.reason) == (Outcome.LOST, "")
    state.begin()
    assert state.outcome is None


def test_the_first_end_decides_and_wakes_both_halves(state: State) -> None:
    state.outbox.waiter.clear()
    state.inbox.waiter.clear()
    state.end(Outcome.OVER, "released")
    assert state.outbox.waiter.pending and state.inbox.waiter.pending
    state.end(Outcome.LOST, "the connection ended")
    state.end(Outcome.LEFT, "redial")
    assert (state.outcome, state.reason) == (Outcome.OVER, "released")


def test_a_reason_that_was_there_before_stays(state: State) -> None:
    state.reason = "the client was revoked"
    state.end(Outcome.OVER, "ABORT went out")
    assert state.reason == "the client was revoked"
    state.begin()
    assert state.reason == ""


@pytest.mark.parametrize(("outcome", "expected"), [(Outcome.LOST, Outcome.OVER), (Outcome.LEFT, Outcome.LEFT)])
def test_after_disconnect_a_loss_is_the_end(outcome: Outcome, expected: Outcome, state: State) -> None:
    state.releasing = 1.0
    state.end(outcome, "cut")
    assert state.outcome is expected


class Watched(State):
    """Tells what is decided, in order; who is `late` is held up between the look at `outcome` and the decision."""

    def __init__(self, like: State) -> None:
        self.decided: list[Outcome] = []
        self.late: threading.Thread | None = None
        self.looked, self.overtaken = threading.Event(), threading.Event()
        super().__init__(Attached(like.keys, like.ephemeral), like.terms, True, (WINDOW, WINDOW))

    @property
    def outcome(self) -> Outcome | None:
        seen = self._outcome
        if threading.current_thread() is self.late and not self.looked.is_set():
            self.looked.set()
            self.overtaken.wait(0.2)  # the other one decides meanwhile, unless it has to wait for this one
        return seen

    @outcome.setter
    def outcome(self, value: Outcome | None) -> None:
        self._outcome = value
        if value is not None:
            self.decided.append(value)
            self.overtaken.set()


@pytest.mark.parametrize(("late", "other"), [(Outcome.LOST, Outcome.OVER), (Outcome.OVER, Outcome.LOST)])
def test_who_looked_and_is_held_up_is_not_overtaken(late: Outcome, other: Outcome, roles: Roles) -> None:
    """Both saw that nothing was decided; only one of them may decide."""
    state = Watched(roles.server.state)
    state.begin()
    state.decided.clear()
    state.overtaken.clear()
    with Threads() as threads:
        go = threading.Event()
        state.late = threads.start(lambda: go.wait(BOUND) and state.end(late, "late"))
        go.set()
        assert state.looked.wait(BOUND)
        state.end(other, "other")
    assert len(state.decided) == 1 and state.outcome is state.decided[0]
    assert state.reason == ("late" if state.outcome is late else "other")
    state.close()


def test_ends_of_many_threads(state: State) -> None:
    for _ in range(100):
        state.begin()
        meeting = threading.Barrier(3)

        def end(outcome: Outcome, meeting: threading.Barrier = meeting) -> None:
            meeting.wait(BOUND)
            state.end(outcome, outcome.name)

        with Threads() as threads:
            for outcome in Outcome:
                threads.start(end, outcome)
        assert state.outcome is not None and state.reason == state.outcome.name


def test_its_descriptors_go_with_it(roles: Roles) -> None:
    before = descriptors()
    like = roles.server.state
    made = State(Attached(like.keys, like.ephemeral), like.terms, True, (WINDOW, WINDOW))
    assert len(descriptors() - before) == 4
    made.close()
    assert descriptors() <= before
    made.end(Outcome.OVER, "a timer comes late")


@pytest.mark.parametrize("left", [0, 1])
def test_without_descriptors_none_is_left(left: int, roles: Roles) -> None:
    like, before = roles.server.state, descriptors()
    with few_eventfds(left), pytest.raises(OSError, match="Too many open files"):
        State(Attached(like.keys, like.ephemeral), like.terms, True, (WINDOW, WINDOW))
    assert descriptors() <= before


def test_a_stream_begins_with_the_window_of_this_side(roles: Roles) -> None:
    assert roles.server.state.credit(False).given == roles.client.state.credit(False).given == limits.WINDOW
