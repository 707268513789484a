"""protocol/downs: which request gets which answer, and when (HP5, HP6, HP8)."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import CarrierLost
from nitrosocks_lib.protocol.downs import EMPTY, END, Answer, DownAnswerer, DownAsker

NOW = 1000.0
AT = NOW + limits.PARKED


def parked(*numbers: int) -> DownAnswerer:
    """Each m is asked by the connection "m"."""
    made = DownAnswerer()
    for m in numbers:
        assert made.ask(str(m), m, NOW, 0.0) == []
    return made


def given(made: DownAnswerer, *pieces: bytes) -> list[tuple[Hashable, Answer]]:
    return [send for piece in pieces for send in made.give(piece, NOW)]


# The answerer


def test_bytes_are_the_answer_of_the_m_that_is_next() -> None:
    made = parked(0, 1)
    assert given(made, b"a", b"b") == [("0", Answer(200, b"a")), ("1", Answer(200, b"b"))]
    assert made.wants == 0, "nobody waits"


def test_m_plus_1_gets_none_before_m_even_where_m_has_not_come() -> None:
    made = parked(1)
    assert made.wants == 0 and made.next_at is None
    assert made.expire(NOW + 1000) == []
    made.ask("0", 0, NOW, 0.0)
    assert made.wants == limits.BODY and given(made, b"a") == [("0", Answer(200, b"a"))]
    assert given(made, b"b") == [("1", Answer(200, b"b"))]


@pytest.mark.parametrize(("jitter", "seconds"), [(-1.0, 14.0), (0.0, 20.0), (1.0, 26.0)])
def test_after_20_s_the_answer_is_an_empty_200(jitter: float, seconds: float) -> None:
    made = DownAnswerer()
    made.ask("0", 0, NOW, jitter)
    assert made.next_at == pytest.approx(NOW + seconds)
    assert made.expire(NOW + seconds - 0.01) == []
    assert made.expire(NOW + seconds + 0.01) == [("0", EMPTY)] == [("0", (200, b""))]
    assert made.next_at is None and seconds < limits.DOWN_ANSWER


def test_an_m_whose_time_was_over_before_its_turn_is_answered_in_its_turn() -> None:
    made = parked(1)
    assert made.ask("0", 0, AT + 5, 0.0) == []
    assert made.expire(AT + 10) == []
    assert made.give(b"a", AT + 10) == [("0", Answer(200, b"a")), ("1", EMPTY)]


def test_every_request_of_m_gets_the_same_answer() -> None:
    made = parked(0, 1)
    made.ask("again", 0, NOW + 1, 0.0)
    answer = Answer(200, b"a")
    assert given(made, b"a") == [("0", answer), ("again", answer)]
    assert made.ask("later", 0, NOW + 2, 0.0) == [("later", answer)]
    assert made.ask("2", 2, NOW + 2, 0.0) == []
    given(made, b"b")
    assert made.ask("1 again", 1, NOW + 3, 0.0) == [("1 again", Answer(200, b"b"))]


def test_an_empty_answer_stays_empty() -> None:
    made = parked(0, 1)
    made.expire(AT)
    assert made.ask("again", 0, AT, 0.0) == [("again", EMPTY)]


def test_asking_m_plus_2_gives_up_the_answer_of_m_alone() -> None:
    made = parked(0, 1)
    given(made, b"a", b"b")
    made.ask("2", 2, NOW, 0.0)
    assert made.ask("again", 0, NOW, 0.0) == [("again", EMPTY)]
    assert made.ask("again", 1, NOW, 0.0) == [("again", Answer(200, b"b"))]


def test_m_plus_2_may_come_before_m_plus_1() -> None:
    made = parked(0)
    given(made, b"a")
    assert made.ask("2", 2, NOW, 0.0) == [] and made.wants == 0
    assert made.ask("1", 1, NOW, 0.0) == [] and made.wants
    assert given(made, b"b", b"c") == [("1", Answer(200, b"b")), ("2", Answer(200, b"c"))]


@pytest.mark.parametrize("m", [2, 3, 1000])
def test_a_new_m_whose_m_minus_2_has_no_answer_ends_the_carrier(m: int) -> None:
    made = parked(0, 1)
    with pytest.raises(CarrierLost):
        made.ask("early", m, NOW, 0.0)


def test_one_that_is_too_early_gives_nothing_up() -> None:
    made = parked(0, 1)
    given(made, b"a")
    with pytest.raises(CarrierLost):
        made.ask("early", 3, NOW, 0.0)
    assert made.ask("again", 0, NOW, 0.0) == [("again", Answer(200, b"a"))]


def test_a_repeat_of_a_parked_m_never_does() -> None:
    made = parked(0, 1)
    given(made, b"a")
    made.ask("2", 2, NOW, 0.0)
    for again in range(5):
        for m in (1, 2):
            assert made.ask((m, again), m, NOW, 0.0) == []


def test_the_end_is_204_in_the_order_of_m() -> None:
    made = parked(0, 1)
    assert made.end(NOW) == [("0", END), ("1", END)] == [("0", (204, b"")), ("1", (204, b""))]
    assert made.ask("2", 2, NOW, 0.0) == [("2", END)]
    assert made.wants == 0


def test_the_end_waits_for_an_m_that_has_not_come() -> None:
    made = parked(1)
    assert made.end(NOW) == []
    assert made.ask("0", 0, NOW, 0.0) == [("0", END), ("1", END)]


def test_repeats_are_answered_behind_the_end() -> None:
    made = parked(0, 1)
    given(made, b"a")
    made.end(NOW)
    assert made.ask("again", 0, NOW + 40, 0.0) == [("again", Answer(200, b"a"))]
    assert made.ask("again", 1, NOW + 40, 0.0) == [("again", END)]


def test_behind_the_end_it_is_over_after_45_s() -> None:
    made = parked(0)
    assert not made.over(NOW + 1000)
    made.end(NOW)
    made.end(NOW + 30)
    assert not made.over(NOW + limits.REPEATS - 0.01) and made.over(NOW + limits.REPEATS)
    assert limits.REPEATS == 45


def test_nothing_is_answered_on_a_connection_that_ended() -> None:
    made = parked(0, 1)
    made.gone("0")
    made.gone("0")
    assert made.wants == 0 and made.next_at is None, "else its bytes would wait for a repeat of m"
    made.ask("again", 0, NOW + 30, 0.0)
    assert made.next_at == NOW + 30 + limits.PARKED
    assert given(made, b"a") == [("again", Answer(200, b"a"))]


def test_the_time_of_a_repeat_is_not_longer_than_that_of_the_first() -> None:
    made = parked(0)
    made.ask("again", 0, NOW + 10, 0.0)
    assert made.expire(AT) == [("0", EMPTY), ("again", EMPTY)]


def test_two_answers_are_kept_at_most() -> None:
    made = parked(0, 1)
    for m in range(50):
        given(made, b"x")
        made.ask(str(m + 2), m + 2, NOW, 0.0)
        assert len(made._answers) <= limits.DOWNS


def test_more_bytes_than_it_wants_are_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        parked().give(b"x", NOW)
    with pytest.raises(AssertionError):
        parked(0).give(bytes(limits.BODY + 1), NOW)


# The asker


def asked(*answers: tuple[int, Answer]) -> DownAsker:
    made = DownAsker()
    made.ask()
    for m, answer in answers:
        made.requests.began(m, NOW)
        made.answered(m, answer)
        made.ask()
    return made


def test_two_are_under_way() -> None:
    assert asked().requests.due == [0, 1]


def test_m_plus_2_is_asked_when_0_to_m_are_held() -> None:
    made = asked((1, Answer(200, b"b")))
    assert made.requests.due == [0], "1 alone allows nothing"
    made.answered(0, EMPTY)
    made.ask()
    assert made.requests.due == [2, 3]


def test_bytes_are_taken_in_order() -> None:
    made = asked((1, Answer(200, b"b")))
    assert made.take() is None
    made.answered(0, Answer(200, b"a"))
    assert [made.take() for _ in range(3)] == [b"a", b"b", None]


def test_an_answer_that_comes_twice_is_no_news() -> None:
    made = asked((0, Answer(200, b"a")), (0 + 1, Answer(200, b"b")))
    made.answered(0, EMPTY)
    made.answered(1, Answer(200, b"other"))
    assert [made.take() for _ in range(3)] == [b"a", b"b", None]


def test_an_early_answer_that_comes_twice_is_no_news() -> None:
    made = asked((1, Answer(200, b"b")))
    made.answered(1, Answer(200, b"other"))
    made.answered(0, EMPTY)
    made.answered(0, EMPTY)
    assert [made.take(), made.take()] == [b"b", None] and not made._early


def test_nothing_new_is_asked_while_two_bodies_wait_to_be_taken() -> None:
    made = asked((0, Answer(200, b"a")))
    assert made.requests.due == [1, 2]
    made.answered(1, Answer(200, b"b"))
    made.ask()
    assert made.requests.due == [2]
    made.take()
    made.ask()
    assert made.requests.due == [2, 3]


def test_204_ends_it_when_all_was_taken() -> None:
    made = asked((1, END))
    assert not made.ended, "0 is not held"
    made.answered(0, Answer(200, b"a"))
    made.ask()
    assert made.requests.due == [] and not made.ended
    assert made.take() == b"a" and made.ended


def test_bytes_behind_the_end_are_none() -> None:
    made = asked((0, END), (1, Answer(200, b"late")))
    assert made.ended and made.take() is None
