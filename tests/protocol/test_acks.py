"""protocol/acks: an ACK is due by bytes, by frames, and 100 ms at the latest."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.acks import AckDue

NOW = 1_000.0
MIB = 1 << 20


@pytest.mark.parametrize(
    ("frames", "size", "calls"),
    [
        (1, MIB, 1),
        (1, MIB - 1, 2),
        (1, 64 * 1024, 16),
        (4, 256 * 1024, 4),  # as a batch comes
        (1, 1, 64),
        (64, 64, 1),
        (63, 63, 2),
    ],
)
def test_how_much_makes_an_ack(frames: int, size: int, calls: int) -> None:
    due = AckDue()
    assert [due.received(frames, size, NOW) for _ in range(calls)] == [False] * (calls - 1) + [True]


def test_one_frame_is_acknowledged_within_100_ms_of_the_first() -> None:
    due = AckDue()
    assert due.at == 0
    due.received(1, 1, NOW)
    due.received(1, 1, NOW + 0.05)
    assert due.at == NOW + limits.ACK_DELAY


def test_an_ack_begins_a_new_count() -> None:
    due = AckDue()
    for _ in range(63):
        due.received(1, MIB // 64, NOW)
    due.sent()
    assert due.at == 0
    assert not due.received(1, MIB // 64, NOW + 1)
    assert due.at == NOW + 1 + limits.ACK_DELAY


@given(some.lists(some.tuples(some.integers(1, 8), some.integers(1, 300_000), some.floats(0, 0.2))))
def test_nobody_waits_for_more_than_the_page_says(arrivals: list[tuple[int, int, float]]) -> None:
    """Who sends an ACK when it is due leaves less than a MiB, less than 64 frames, nothing older than 100 ms."""
    due, now, frames, size, oldest = AckDue(), NOW, 0, 0, 0.0
    for count, came, later in arrivals:
        now += later
        if due.at and now >= due.at:
            due.sent()
            frames, size, oldest = 0, 0, 0.0
        frames, size, oldest = frames + count, size + came, oldest or now
        at_once = due.received(count, came, now)
        assert at_once == (frames >= limits.ACK_FRAMES or size >= limits.ACK_BYTES)
        if at_once:
            due.sent()
            frames, size, oldest = 0, 0, 0.0
        assert (due.at == oldest + limits.ACK_DELAY) if oldest else not due.at
