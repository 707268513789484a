"""protocol/receiving: who may send what, the next state of the peer's direction, and numbers that never come twice.

What a whole stream does with each frame is in session/test_streams.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import Violation
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.protocol.receiving import FROM_CLIENT, FROM_SERVER, Numbers, Peer, following

# Protocol 5, ST2 to ST10: the state behind each frame that may come. All else is a violation.
BEHIND = {
    "OWED OPENED": "FLOWING", "OWED REFUSED": "OVER",
    "FLOWING DATA": "FLOWING", "FLOWING END": "ENDED", "FLOWING RESET": "OVER",
    "ENDED RESET": "OVER",
}  # fmt: skip
OF_A_STREAM = (Frame.OPENED, Frame.REFUSED, Frame.DATA, Frame.END, Frame.RESET)


def test_each_type_is_for_one_side_or_both() -> None:
    assert set(Frame) == FROM_CLIENT | FROM_SERVER
    assert (FROM_CLIENT - FROM_SERVER, FROM_SERVER - FROM_CLIENT) == (wire.ONLY_FROM_CLIENT, wire.ONLY_FROM_SERVER)


@pytest.mark.parametrize("frame", Frame)
@pytest.mark.parametrize("state", [state for state in Peer if state is not Peer.OVER])
def test_the_state_behind_a_frame(state: Peer, frame: Frame) -> None:
    behind = BEHIND.get(f"{state.name} {frame.name}")
    if behind is not None:
        assert following(state, frame) is Peer[behind]
        return
    with pytest.raises(Violation, match=f"^{frame.name} of a stream that is {state.name.lower()}$") as caught:
        following(state, frame)
    assert caught.value.reason is Abort.VIOLATION


@pytest.mark.parametrize("frame", OF_A_STREAM)
def test_what_is_over_stays_over(frame: Frame) -> None:
    assert following(Peer.OVER, frame) is Peer.OVER


# Numbers

SERIES = [(1, 2), (2, 2), (1, 1)]  # streams of the client, of the server, listeners


@pytest.mark.parametrize(("first", "step"), SERIES)
def test_numbers_begin_and_go_on(first: int, step: int) -> None:
    mine, theirs = Numbers(first, step), Numbers(first, step)
    for n in range(5):
        number = mine.take()
        assert number == first + n * step
        assert not theirs.known(number)
        theirs.expect(number, Frame.OPEN)
        assert theirs.known(number)


@given(series=some.sampled_from(SERIES), taken=some.integers(0, 50), number=some.integers(0, 120))
def test_only_the_next_number_is_new_and_only_those_before_are_known(
    series: tuple[int, int], taken: int, number: int
) -> None:
    first, step = series
    numbers = Numbers(first, step)
    before = [numbers.take() for _ in range(taken)]
    assert numbers.known(number) == (number in before)
    if number == first + taken * step:
        numbers.expect(number, Frame.OPEN)
        assert numbers.known(number)
    else:
        with pytest.raises(Violation, match=f"number {number} instead of {first + taken * step}"):
            numbers.expect(number, Frame.OPEN)
        assert numbers.last == first + (taken - 1) * step, "what was wrong changes nothing"


@pytest.mark.parametrize(("first", "step"), SERIES)
def test_numbers_are_used_up_while_those_that_wait_still_get_one(first: int, step: int) -> None:
    """They are u32, and as many streams as a session carries may wait for theirs (protocol 10.20)."""
    numbers = Numbers(first, step)
    assert not numbers.used_up
    last = range(first, 1 << 32, step)[-1]
    numbers.last = last - step * limits.STREAMS
    assert not numbers.used_up
    numbers.take()
    assert numbers.used_up
    assert [numbers.take() for _ in range(limits.STREAMS - 1)][-1] == last
    wire.STREAM.pack(last)
