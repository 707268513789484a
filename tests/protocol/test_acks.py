"""When an ACK is due: by bytes, by frames, by the half of a window, and 100 ms at the latest."""

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.acks import AckDue

NOW = 1_000.0


@pytest.mark.parametrize(
    ("window", "size", "frames"),
    [
        (4 << 20, 64 * 1024, 4),  # 256 KiB
        (4 << 20, 1, 64),
        (128 * 1024, 32 * 1024, 2),  # half of the window
        (4 << 20, 65_516, 5),
    ],
)
def test_how_many_frames_make_an_ack(window: int, size: int, frames: int) -> None:
    due = AckDue(window)
    assert [due.consumed(size, NOW) for _ in range(frames)] == [False] * (frames - 1) + [True]


def test_one_frame_is_acknowledged_within_100_ms_of_the_first() -> None:
    due = AckDue(4 << 20)
    assert due.at == 0
    due.consumed(1, NOW)
    due.consumed(1, NOW + 0.05)
    assert due.at == NOW + limits.ACK_DELAY


def test_an_ack_begins_a_new_count() -> None:
    due = AckDue(4 << 20)
    for _ in range(63):
        due.consumed(1, NOW)
    due.sent()
    assert due.at == 0
    assert not due.consumed(1, NOW)
