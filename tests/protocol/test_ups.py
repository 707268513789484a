"""protocol/ups: which bodies may be sent, and what the server does with each request (HP1, HP3, HP4)."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.protocol.ups import FIRST_LEAST, Up, UpReceiver, UpSender, halved


def sent(*bodies: bytes) -> UpSender:
    made = UpSender()
    for body in bodies:
        made.put(body)
    return made


def received(*numbers: int, size: int = 1) -> UpReceiver:
    made = UpReceiver()
    for n in numbers:
        assert made.judge(n, size) is Up.READ
        made.put(n, bytes([n]) * size)
    return made


# The sender


def test_n_is_sent_when_all_up_to_n_minus_4_are_answered() -> None:
    made = sent(b"a", b"b", b"c", b"d")
    assert made.room == 0 and made.requests.due == [0, 1, 2, 3]
    made.answered(1)
    made.answered(3)
    assert made.room == 0, "0 is not answered"
    made.answered(0)
    assert made.room == limits.BODY
    assert made.put(b"e") == 4 and made.put(b"f") == 5
    assert made.room == 0, "2 is not answered"
    made.answered(2)
    assert made.put(b"g") == 6 and made.room == limits.BODY


def test_a_body_stays_the_same_until_it_is_answered() -> None:
    made = sent(b"ab", b"cde")
    assert (made.body(0), made.body(1), made.under_way) == (b"ab", b"cde", 5)
    made.answered(0)
    assert made.body(1) == b"cde" and made.under_way == 3
    with pytest.raises(KeyError):
        made.body(0)


def test_an_answer_that_comes_twice_is_no_news() -> None:
    made = sent(b"ab", b"c")
    made.answered(0)
    made.answered(0)
    assert made.under_way == 1 and made.requests.due == [1]


def test_the_empty_body_ends_the_direction() -> None:
    made = sent(b"ab", b"")
    assert made.room == 0 and not made.ended
    made.answered(1)
    assert made.room == 0 and not made.ended, "what is before it is not answered"
    made.answered(0)
    assert made.ended and made.room == 0


def test_up_0_holds_the_knock_and_the_first_enc() -> None:
    made = UpSender()
    assert made.least == FIRST_LEAST == wire.KNOCK + wire.HELLO <= limits.BODY_LEAST
    made.put(bytes(FIRST_LEAST))
    assert made.least == 1


def test_after_a_413_half_as_much_is_sent_but_4_kib() -> None:
    sizes = [limits.BODY]
    while sizes[-1] > limits.BODY_LEAST:
        sizes.append(halved(sizes[-1]))
    assert sizes[1] == limits.BODY // 2 and sizes[-1] == halved(sizes[-1]) == 4096
    assert halved(5000) == 4096
    assert UpSender(4096).room == 4096


def test_more_than_there_is_room_for_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        UpSender(4096).put(bytes(4097))
    with pytest.raises(AssertionError):
        sent(b"a", b"b", b"c", b"d").put(b"e")


# The receiver


def test_bodies_are_put_in_order() -> None:
    made = received(2, 0, 1)
    assert [made.take() for _ in range(4)] == [b"\0", b"\1", b"\2", None]


def test_what_is_above_a_gap_waits() -> None:
    made = received(1, 2)
    assert made.take() is None
    made.put(0, b"x")
    assert made.take() == b"x"


def test_the_first_complete_body_counts() -> None:
    made = UpReceiver()
    assert made.judge(0, 1) is made.judge(0, 1) is Up.READ, "none of the two is complete"
    assert made.put(0, b"a") and not made.put(0, b"b")
    assert made.take() == b"a" and not made.put(0, b"c") and made.take() is None


@pytest.mark.parametrize("taken", [False, True])
def test_a_repeated_one_is_answered_and_not_applied(taken: bool) -> None:
    made = received(0, 1, 3)
    if taken:
        made.take()
    assert [made.judge(n, 1) for n in (0, 1, 2, 3)] == [Up.REPEATED, Up.REPEATED, Up.READ, Up.REPEATED]


def test_beyond_the_lowest_missing_and_3_is_refused() -> None:
    made = received(1, 2)
    assert [made.judge(n, 1) for n in (3, 4, 100)] == [Up.READ, Up.REFUSED, Up.REFUSED]
    made.put(0, b"x")
    for _ in range(3):
        made.take()
    assert [made.judge(n, 1) for n in (6, 7)] == [Up.READ, Up.REFUSED], "now 3 is missing"


def test_no_more_than_four_bodies_are_held() -> None:
    """A tunnel that takes nothing leaves them unread, where they are."""
    made = received(0, 1, 2, 3)
    assert [made.judge(n, 1) for n in (4, 7, 8)] == [Up.WAITS, Up.WAITS, Up.REFUSED]
    made.take()
    assert [made.judge(n, 1) for n in (4, 5)] == [Up.READ, Up.WAITS]


def test_the_size_of_a_body() -> None:
    made = received(0)
    assert [made.judge(1, size) for size in (0, limits.BODY, limits.BODY + 1)] == [Up.READ, Up.READ, Up.TOO_LARGE]
    assert made.judge(0, limits.BODY + 1) is Up.TOO_LARGE, "a repeat, too"


def test_an_empty_body_ends_the_direction_when_all_before_it_was_taken() -> None:
    made = UpReceiver()
    made.put(1, b"")
    assert not made.ended and made.take() is None
    made.put(0, b"x")
    assert not made.ended and made.take() == b"x"
    assert made.ended and made.take() is None


def test_behind_the_end_repeats_alone_are_answered() -> None:
    made = received(0)
    made.put(1, b"")
    assert [made.judge(n, 0) for n in (0, 1, 2, 4)] == [Up.REPEATED, Up.REPEATED, Up.REFUSED, Up.REFUSED]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_ends_the_first_counts(order: tuple[int, int]) -> None:
    made = UpReceiver()
    for n in order:
        made.put(n, b"")
    made.put(0, b"x")
    assert made.take() == b"x" and made.ended
    assert made.judge(2, 0) is Up.REPEATED and made.judge(3, 0) is Up.REFUSED
