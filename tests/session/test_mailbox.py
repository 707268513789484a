"""Mailbox: what is posted wakes its reader, the latest of each field wins, and a stream waits once."""

from __future__ import annotations

import pytest
from links import BOUND, Threads
from scarce import few_eventfds

from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.mailbox import Inbox, Outbox
from nitrosocks_lib.session.streams import Stream


def stream() -> Stream:
    return Stream(Target(Kind.TCP, "host", 7), None)


@pytest.fixture
def outbox():
    made = Outbox()
    yield made
    made.waiter.close()


@pytest.fixture(params=[Inbox, Outbox])
def box(request: pytest.FixtureRequest):
    made = request.param()
    yield made
    made.waiter.close()


def test_a_stream_waits_once_however_often_it_is_posted(box: Inbox | Outbox) -> None:
    one, two = stream(), stream()
    for each in (one, two, one, one):
        box.post_stream(each)
    assert box.waiter.pending
    taken = {box.next_stream(), box.next_stream()}
    assert taken == {one, two} and box.next_stream() is None
    box.post_stream(one)
    assert box.next_stream() is one


def test_what_many_threads_post_is_taken_by_one(box: Inbox | Outbox) -> None:
    """Each is taken, by a reader that sleeps in between and misses no wake."""
    left = {stream() for _ in range(2_000)}
    shares = [list(left)[n::4] for n in range(4)]

    def take() -> None:
        while left:
            box.waiter.select(BOUND)
            assert box.waiter.pending, "nothing came"
            box.waiter.clear()
            while (taken := box.next_stream()) is not None:
                left.remove(taken)

    with Threads() as threads:
        threads.start(take)
        for share in shares:
            threads.start(lambda share=share: [box.post_stream(each) for each in share])
    assert not left


def test_of_each_frame_the_latest_wins(outbox: Outbox) -> None:
    outbox.post(pong=b"1", goaway=b"2")
    outbox.post(pong=b"3", ping=True)
    outbox.post(release=b"4")
    outbox.post(farewell=b"5")
    assert (outbox.pong, outbox.goaway, outbox.ping, outbox.release, outbox.farewell) == (b"3", b"2", True, b"4", b"5")
    assert outbox.waiter.pending


def test_streams_are_opened_in_their_order(outbox: Outbox) -> None:
    streams = [stream() for _ in range(5)]
    for each in streams:
        outbox.open(each)
    assert list(outbox.opening) == streams and outbox.waiter.pending


def test_limits_are_taken_so_many_at_a_time(outbox: Outbox) -> None:
    outbox.limits |= {1: 10, 3: 30}
    outbox.limits[1] = 11
    taken = outbox.next_limits(1) + outbox.next_limits(0) + outbox.next_limits(9)
    assert sorted(taken) == [(1, 11), (3, 30)] and outbox.next_limits(9) == []


def test_a_new_connection_forgets_the_refresh_of_the_last(outbox: Outbox) -> None:
    outbox.refresh, outbox.switched = True, True
    outbox.refreshed = outbox.switch = (b"", None)  # type: ignore[assignment]
    outbox.forget_refresh()
    assert not (outbox.refresh or outbox.switched or outbox.refreshed or outbox.switch)


def test_without_a_descriptor_none_is_made_and_none_is_left() -> None:
    with few_eventfds(0) as made, pytest.raises(OSError):
        Outbox()
    assert made == []
