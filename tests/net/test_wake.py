"""Wake: a post is never lost and never blocks, whatever the owner does just then; with and without eventfd."""

from __future__ import annotations

import os
import select
import socket
import threading

import pytest
from links import Threads

from nitrosocks_lib.net.wake import Wake, wait

BOUND = 60.0


@pytest.fixture(params=["eventfd", "socketpair"])
def wake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    if request.param == "socketpair":
        monkeypatch.delattr(os, "eventfd", raising=False)
    made = Wake()
    yield made
    made.close()


def test_a_wait_without_a_post_ends_in_time(wake: Wake) -> None:
    assert wake.wait({}, 0.01) == {} and not wake.pending


def test_a_post_before_the_wait(wake: Wake) -> None:
    wake.set()
    assert wake.pending and wake.wait({}, None) == {}
    wake.clear()
    assert not wake.pending and wake.wait({}, 0.0) == {}


def test_a_post_amid_the_wait(wake: Wake) -> None:
    with Threads() as threads:
        for _ in range(200):
            threads.start(wake.set)
            while not wake.pending:
                assert wake.wait({}, BOUND) == {}
            wake.clear()


def test_thousands_of_posts_do_not_block(wake: Wake) -> None:
    for _ in range(100_000):
        wake.set()
    wake.clear()
    assert wake.wait({}, 0.0) == {}


def test_no_post_is_lost_under_load(wake: Wake) -> None:
    """Four posters count up; the owner sees the last of each, though it waits without a timeout of its own."""
    counts, rounds = [0] * 4, 20_000

    def post(which: int) -> None:
        for n in range(rounds):
            counts[which] = n + 1
            wake.set()

    with Threads() as threads:
        for which in range(4):
            threads.start(post, which)
        seen: list[int] = []
        while sum(seen) < 4 * rounds:
            assert wake.wait({}, BOUND) == {}
            assert wake.pending, "BOUND seconds without a wake"
            wake.clear()
            seen = list(counts)


def test_what_else_is_ready_is_returned(wake: Wake) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.send(b"x")
        assert wake.wait({far.fileno(): select.POLLIN, near.fileno(): 0}, BOUND) == {far.fileno(): select.POLLIN}


def test_each_wait_is_for_its_own_interest(wake: Wake) -> None:
    """The poll object is kept while the interest stays the same, and never longer."""
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        readable, both = {near.fileno(): select.POLLIN}, {near.fileno(): select.POLLIN, far.fileno(): select.POLLOUT}
        assert wake.wait(readable, 0.0) == wake.wait(dict(readable), 0.0) == readable
        assert wake.wait({}, 0.0) == {} and wake.wait(both, 0.0) == both
        assert wake.wait({near.fileno(): select.POLLOUT}, 0.0) == {near.fileno(): select.POLLOUT}
        near.recv(1)
        assert wake.wait(readable, 0.0) == {}


def test_a_taken_post_leaves_nothing_behind(wake: Wake) -> None:
    """Or the owner would spin: the descriptor is not readable any more."""
    with Threads() as threads:
        for _ in range(200):
            threads.start(wake.set)
            while not wake.pending:
                wake.wait({}, BOUND)
            wake.clear()
    wake.wait({}, 0.0)
    assert wait({wake.fd: select.POLLIN}, 0.0) == {}


def test_a_post_after_close_is_nothing(wake: Wake) -> None:
    wake.close()
    wake.close()
    wake.set()


def test_a_late_post_does_not_write_into_a_descriptor_of_others() -> None:
    wake = Wake()
    waiting = threading.Thread(target=wake.wait, args=({}, 0.0))
    waiting.start()
    waiting.join(BOUND)
    wake._armed = True  # as if the poster had looked just before the end
    fd = wake.fd
    wake.close()
    near, far = socket.socketpair()
    with near, far:
        assert fd in (near.fileno(), far.fileno()) or wake.fd == -1
        wake.set()
        assert wait({near.fileno(): select.POLLIN, far.fileno(): select.POLLIN}, 0.0) == {}


# -- poll -------------------------------------------------------------------------------------------------------------


def test_descriptors_without_events_are_left_out() -> None:
    near, far = socket.socketpair()
    with far:
        near.close()
        assert wait({far.fileno(): 0}, 0.0) == {}, "POLLHUP would come unasked"
        assert wait({far.fileno(): select.POLLOUT}, BOUND)


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 0.0001, 0.01])
def test_timeouts(seconds: float) -> None:
    assert wait({}, seconds) == {}
