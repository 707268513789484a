"""protocol/resend: what is kept, sent again and given back, the window, and the ACKs that must wait for a RESET."""

import random

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Frame, Reset
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.resend import ResendQueue

OPEN, END = b"\x10\1\0\x50host", b"\x14"
RESET = frames.reason(Frame.RESET, Reset.LOCAL)


def queue(*plains: bytes, sealed: int = 0, ack_before: int = 0) -> ResendQueue:
    """A queue with these frames, of which the first ones went out."""
    made = ResendQueue()
    for plain in plains:
        if plain[0] == Frame.DATA:
            made.append_data(plain, None)
        else:
            made.append(plain, ack_before if plain[0] == Frame.RESET else None)
    for _ in range(sealed):
        made.sealed()
    return made


def drained(made: ResendQueue) -> list[bytes]:
    """Seals all that waits."""
    out = []
    while (plain := made.next()) is not None:
        out.append(bytes(plain))
        made.sealed()
    return out


def data(size: int) -> bytes:
    return bytes([Frame.DATA]) + bytes(size)


# Sending and acknowledging


def test_frames_go_out_once_and_in_order() -> None:
    plains = [OPEN, data(5), data(7), END]
    made = queue(*plains)
    assert not made.all_sealed and (made.total, made.cursor, made.acked) == (4, 0, 0)
    assert made.next() is made.next() and made.cursor == 0
    assert drained(made) == plains
    assert made.all_sealed and (made.total, made.cursor, made.acked) == (4, 4, 0)
    made.append(END)
    assert not made.all_sealed and drained(made) == [END]


def test_an_ack_gives_the_slots_back_in_order() -> None:
    made, slots = ResendQueue(), [bytearray(1), bytearray(2), bytearray(3)]
    made.append(OPEN)
    for slot, size in zip([slots[0], None, slots[1], slots[2]], (10, 20, 30, 40), strict=True):
        made.append_data(memoryview(data(size)), slot)
    drained(made)
    assert (made.data_bytes, made.data_frames) == (100, 4)
    given = [made.acknowledge(consumed) for consumed in (0, 1, 2, 2, 4, 5)]
    assert [[slots.index(slot) for slot in free] for free in given] == [[], [], [0], [], [1], [2]]
    assert all(slot is slots[i] for i, slot in enumerate(sum(given, [])))
    assert (made.data_bytes, made.data_frames, made.acked, made.total) == (0, 0, 5, 5)


@pytest.mark.parametrize("consumed", [1, 4])
def test_an_ack_that_cannot_be_is_a_fault_of_the_caller(consumed: int) -> None:
    made = queue(OPEN, END, OPEN, END, sealed=3)
    made.acknowledge(2)
    with pytest.raises(AssertionError):
        made.acknowledge(consumed)


# Reconnection


@pytest.mark.parametrize("received", range(2, 6))
def test_what_the_peer_has_not_received_goes_out_again(received: int) -> None:
    plains = [OPEN, data(1), data(2), data(3), END]
    made = queue(*plains, sealed=4)
    made.acknowledge(2)
    made.rewind(received)
    assert drained(made) == plains[received:]
    assert (made.acked, made.total, made.data_bytes) == (2, 5, 5)
    made.acknowledge(5)
    assert (made.acked, made.total, made.data_bytes) == (5, 5, 0)


@pytest.mark.parametrize("received", [1, 4])
def test_a_count_that_cannot_be_is_a_fault_of_the_caller(received: int) -> None:
    made = queue(OPEN, data(1), END, sealed=3)
    made.acknowledge(2)
    with pytest.raises(AssertionError):
        made.rewind(received)


# RESET goes out before any ACK of what it drops


def test_no_ack_waits_where_no_reset_is_kept() -> None:
    assert [queue(OPEN, data(1)).ack_limit(n) for n in (0, 7)] == [0, 7]


@pytest.mark.parametrize(
    ("plains", "sealed", "limit"),
    [  # 9 are consumed, 5 were acknowledged when RESET was queued
        ([RESET], 0, 5),
        ([RESET], 1, 9),
        ([OPEN, data(1), RESET], 0, 5),
        ([OPEN, data(1), RESET], 2, 5),  # the window or a refresh holds it up
        ([OPEN, data(1), RESET], 3, 9),
        ([OPEN, END, RESET, OPEN, data(1)], 3, 9),
        ([OPEN, END, RESET, OPEN, data(1)], 5, 9),
    ],
)
def test_an_ack_waits_for_the_reset(plains: list[bytes], sealed: int, limit: int) -> None:
    made = queue(*plains, sealed=sealed, ack_before=5)
    assert made.ack_limit(9) == limit
    assert made.ack_limit(5) == 5 and made.ack_limit(4) == 4  # never more than was consumed


@pytest.mark.parametrize(("received", "limit"), [(0, 5), (1, 5), (2, 5), (3, 9), (4, 9)])
def test_after_a_reconnection_it_waits_for_the_reset_again(received: int, limit: int) -> None:
    made = queue(OPEN, data(1), RESET, OPEN, sealed=4, ack_before=5)
    assert made.ack_limit(9) == 9
    made.rewind(received)
    assert made.ack_limit(9) == limit
    while made.cursor < 3:
        assert made.ack_limit(9) == 5
        made.sealed()
    assert made.ack_limit(9) == 9


def test_of_two_resets_the_first_that_waits_counts() -> None:
    made = ResendQueue()
    for ack_before in (3, 6):
        made.append(OPEN)
        made.append(RESET, ack_before)
    limits_seen = []
    while not made.all_sealed:
        limits_seen.append(made.ack_limit(9))
        made.sealed()
    assert limits_seen == [3, 3, 6, 6] and made.ack_limit(9) == 9
    made.acknowledge(2)
    made.rewind(2)
    assert made.ack_limit(9) == 6
    made.rewind(4)
    made.acknowledge(4)
    assert made.resets == 0 and made.ack_limit(9) == 9


# The window


@pytest.mark.parametrize(
    ("window", "kept", "room"),
    [
        (1 << 22, [], limits.DATA_SIZE),
        (1 << 22, [65_536] * 62, limits.DATA_SIZE),
        (1 << 22, [65_536] * 63 + [20], limits.DATA_SIZE),  # just enough for a full frame
        (1 << 22, [65_536] * 63 + [21], 0),  # no small frames behind which the window would stay half open
        (1 << 22, [65_536] * 64, 0),
        (65_536, [], limits.DATA_SIZE),
        (65_536, [32_768], 32_768),  # half of the smallest window is worth a frame
        (65_536, [32_769], 0),
        (65_536, [65_536], 0),
        (1 << 26, [1] * 1023, limits.DATA_SIZE),
        (1 << 26, [1] * 1024, 0),  # 1,024 frames, however small
    ],
)
def test_room(window: int, kept: list[int], room: int) -> None:
    made = queue(*map(data, kept))
    assert made.room(window) == room
    drained(made)
    assert made.room(window) == room  # sealed or not, it is not acknowledged
    made.rewind(0)
    assert made.room(window) == room
    drained(made)
    made.acknowledge(len(kept))
    assert made.room(window) == min(limits.DATA_SIZE, window)


@pytest.mark.parametrize("window", [65_536, 100_000, 1 << 22])
def test_a_sender_that_asks_for_room_never_exceeds_the_window(window: int) -> None:
    source, made = random.Random(window), ResendQueue()
    for _ in range(20_000):
        if room := made.room(window):
            assert room <= limits.DATA_SIZE
            made.append_data(data(source.choice((1, room // 2 + 1, room))), None)
            made.sealed()
            assert made.data_bytes <= window and made.data_frames <= 1024
        else:
            made.acknowledge(source.randint(made.acked + 1, made.cursor))


def test_the_numbers_agree_with_a_plain_list_over_a_long_life() -> None:
    source, made = random.Random(1), ResendQueue()
    plains: list[bytes] = []  # all there have been
    acked = cursor = 0
    for _ in range(5_000):
        step = source.randrange(5)
        if step == 0:
            plains.append(data(source.randint(1, 9)))
            made.append_data(plains[-1], None)
        elif step == 1:
            plains.append(source.choice((OPEN, END)))
            made.append(plains[-1])
        elif step == 2 and cursor < len(plains):
            assert made.next() == plains[cursor]
            made.sealed()
            cursor += 1
        elif step == 3:
            acked = source.randint(acked, cursor)
            assert made.acknowledge(acked) == []
        elif step == 4 and source.random() < 0.1:
            cursor = source.randint(acked, cursor)
            made.rewind(cursor)
        sizes = [len(plain) - 1 for plain in plains[acked:] if plain[0] == Frame.DATA]
        assert (made.acked, made.cursor, made.total) == (acked, cursor, len(plains))
        assert (made.data_bytes, made.data_frames) == (sum(sizes), len(sizes))
