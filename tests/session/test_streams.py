"""session/streams: the life of a stream, each of its states against each frame.

The oracle is the table of docs/protocol.md, section 5, Streams, written down here once more. What a Stream and a Table
do by themselves is in test_streams_kept.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alone import AT, PAYLOADS, Alone

from nitrosocks_lib.facts.errors import Violation
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.session.dialling import Reached
from nitrosocks_lib.session.streams import Ending

OPENED, REFUSED, DATA, END, RESET = Frame.OPENED, Frame.REFUSED, Frame.DATA, Frame.END, Frame.RESET
OF_A_STREAM = (OPENED, REFUSED, DATA, END, RESET)
Moves = dict[Frame, str]  # a frame, and the state behind it

# A state: what this side may send, and what of the other side may come. All else is a violation.
OVER: tuple[Moves, Moves] = ({}, dict.fromkeys(OF_A_STREAM, "over"))  # and what comes is ignored
BOTH: dict[str, tuple[Moves, Moves]] = {
    "open": (
        {DATA: "open", END: "open, END sent", RESET: "over"},
        {DATA: "open", END: "open, END came", RESET: "over"},
    ),
    "open, END sent": ({RESET: "over"}, {DATA: "open, END sent", END: "over", RESET: "over"}),
    "open, END came": ({DATA: "open, END came", END: "over", RESET: "over"}, {RESET: "over"}),
    "over": OVER,
}
OPENER: dict[str, tuple[Moves, Moves]] = BOTH | {
    "unanswered": (
        {DATA: "unanswered", END: "unanswered, END sent", RESET: "over"},
        {OPENED: "open", REFUSED: "over"},
    ),
    "unanswered, END sent": ({RESET: "over"}, {OPENED: "open, END sent", REFUSED: "over"}),
}
ANSWERER: dict[str, tuple[Moves, Moves]] = BOTH | {
    "unanswered": (
        {OPENED: "open", REFUSED: "over"},
        {DATA: "unanswered", END: "unanswered, END came", RESET: "over"},
    ),
    "unanswered, END came": ({OPENED: "open, END came", REFUSED: "over"}, {RESET: "over"}),
}
SIDES = {"opener": OPENER, "answerer": ANSWERER}

Step = tuple[str, Frame]  # who sends it: "this" side or the "other" one
# A local side that has ended its own direction, and gets nothing, can break unnoticed.
UNSEEN = ("opener", "unanswered, END sent", ("this", RESET))


def ways(side: str) -> Iterator[tuple[str, list[Step]]]:
    """Every state with every way to it on which no state comes twice; to "over" there are many."""
    left: list[tuple[str, list[Step], set[str]]] = [("unanswered", [], {"unanswered"})]
    while left:
        state, way, seen = left.pop()
        yield state, way
        for who, moves in zip(("this", "other"), SIDES[side][state], strict=True):
            for frame, behind in moves.items():
                if behind not in seen and (side, state, (who, frame)) != UNSEEN:
                    left.append((behind, [*way, (who, frame)], seen | {behind}))


def told(way: list[Step]) -> str:
    return " ".join(frame.name.lower() if who == "this" else frame.name for who, frame in way) or "-"


WAYS = [(side, state, way) for side in SIDES for state, way in ways(side)]
CASES = [(*row, frame) for row in WAYS for frame in OF_A_STREAM]
each_way = pytest.mark.parametrize(("side", "state", "way"), WAYS, ids=lambda v: told(v) if isinstance(v, list) else v)
each_case = pytest.mark.parametrize(
    ("side", "state", "way", "frame"),
    CASES,
    ids=lambda value: told(value) if isinstance(value, list) else getattr(value, "name", value),
)


@pytest.fixture
def opener() -> Iterator[Alone]:
    with Alone(True) as alone:
        alone.begin()
        yield alone


def gone(alone: Alone, way: list[Step]) -> None:
    """Goes this way."""
    alone.begin()
    for who, frame in way:
        if who == "this":
            alone.do(frame)
        else:
            alone.come(frame)
            alone.turn()


def judged(side: str, way: list[Step], alone: Alone) -> None:
    """What this side sent is what it was to send on this way, and no more."""
    expected = [frame for who, frame in way if who == "this"]
    assert [frame for frame in alone.sent if frame is not Frame.OPEN] == expected
    assert (Frame.OPEN in alone.sent) == (side == "opener")


@each_way
def test_this_side_sends_what_it_may(side: str, state: str, way: list[Step]) -> None:
    """And can send all of it, in each of the states."""
    may = SIDES[side][state][0]
    for frame in may:
        if (side, state, ("this", frame)) != UNSEEN:
            with Alone(side == "opener") as alone:
                gone(alone, way)
                alone.do(frame)
                judged(side, [*way, ("this", frame)], alone)


@each_case
def test_each_frame_in_each_state(side: str, state: str, way: list[Step], frame: Frame) -> None:
    with Alone(side == "opener") as alone:
        gone(alone, way)
        judged(side, way, alone)
        received = alone.tunnel.inbound.received
        may = SIDES[side][state][1]
        if frame not in may:
            with pytest.raises(Violation, match=f"^{frame.name} of a stream that is ") as caught:
                alone.come(frame)
            assert caught.value.reason is Abort.VIOLATION and alone.tunnel.inbound.received == received
            return
        alone.come(frame)
        alone.turn()
        assert alone.tunnel.inbound.received == received + 1
        judged(side, way, alone)
        for second in OF_A_STREAM:  # the state behind it is the one that the table names
            if second not in SIDES[side][may[frame]][1]:
                with pytest.raises(Violation):
                    alone.come(second)
        if may[frame] == "over":
            alone.settle()
        else:
            alone.come(next(second for second in SIDES[side][may[frame]][1]))


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("frame", OF_A_STREAM)
@pytest.mark.parametrize("number", [0, 2, 3, 2**32 - 1])
def test_a_frame_of_a_stream_that_was_never_opened(opens: bool, frame: Frame, number: int) -> None:
    with Alone(opens) as alone:
        alone.begin()
        with pytest.raises(Violation, match="never opened"):
            alone.come(frame, number=number)


@each_way
def test_a_frame_must_parse_also_where_it_is_ignored(side: str, state: str, way: list[Step]) -> None:
    wrong = {OPENED: b"\0", REFUSED: b"", DATA: b"", END: b"x", RESET: b"\1\xff"}
    for frame, payload in wrong.items():
        with Alone(side == "opener") as alone:
            gone(alone, way)
            with pytest.raises(Violation):
                alone.come(frame, payload)


@pytest.mark.parametrize("number", [0, 1, 2, 4, 5, 2**32 - 1])
def test_another_number_than_the_next_opens_nothing(number: int) -> None:
    with Alone(False) as alone:
        alone.begin()
        with pytest.raises(Violation, match="instead of 3"):
            alone.come(Frame.OPEN, b"\1\0\7host", number)
        assert list(alone.tunnel.state.streams.by_number) == [1]


# What the application, or the target, gets of it


def test_what_came_before_the_end_is_delivered(opener: Alone) -> None:
    for frame in (OPENED, DATA, END):
        opener.come(frame)
    opener.turn()
    assert (opener.heard(), opener.heard()) == (PAYLOADS[DATA], b"")
    assert opener.ended == []
    opener.do(END)
    (stream,) = opener.ended
    assert stream.ending is Ending.CLEAN and stream.local is None and stream.over


def test_what_came_before_the_answer_waits_for_the_target() -> None:
    with Alone(False) as alone:
        alone.begin()
        alone.come(DATA)
        alone.come(END)
        alone.do(OPENED)
        assert (alone.heard(), alone.heard()) == (PAYLOADS[DATA], b"")


@pytest.mark.parametrize(
    ("frame", "ending", "reason", "detail"),
    [(RESET, Ending.RESET_THERE, "gone", 1), (REFUSED, Ending.REFUSED, "no", 5)],
)
def test_a_reset_or_a_refusal_resets_the_application(
    opener: Alone, frame: Frame, ending: Ending, reason: str, detail: int
) -> None:
    if frame is RESET:
        opener.come(OPENED)
        opener.come(DATA)
        assert opener.heard() == PAYLOADS[DATA]
    opener.come(frame)
    opener.turn()
    assert opener.heard() is ConnectionResetError
    (stream,) = opener.ended
    assert (stream.ending, stream.reason, stream.detail) == (ending, reason, detail)


def test_what_a_target_says_behind_a_reset_is_not_sent(opener: Alone) -> None:
    opener.come(OPENED)
    opener.near.send(b"late")
    opener.come(RESET)
    opener.turn()
    assert opener.sent == [Frame.OPEN]


@pytest.mark.parametrize("dialled", [False, True])
def test_a_reset_while_the_target_is_dialled_keeps_the_answer_back(dialled: bool) -> None:
    """Who has a stream over sends nothing more of it, an answer neither (protocol ST6)."""
    with Alone(False) as alone:
        alone.begin()
        if dialled:  # the answer waits to be sent
            alone.tunnel.inbound.answers.answer(alone.number, Reached(alone.local, AT))
        alone.come(RESET)
        alone.turn()
        if not dialled:  # the dial was about to succeed
            alone.tunnel.inbound.answers.answer(alone.number, Reached(alone.local, AT))
            alone.turn()
        alone.settle()
        assert alone.sent == [] and alone.local.fileno() == -1
