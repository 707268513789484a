"""protocol/receiving, which frame may come when: every pair of state and frame, at the server and at the client."""

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import Violation
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.protocol.receiving import FROM_CLIENT, FROM_SERVER, Peer, Receiving

ANSWERS = (Frame.OPENED, Frame.REFUSED, Frame.LISTENING, Frame.ACCEPTED)


def receiving(*steps: str) -> Receiving:
    """A Receiving that went through these steps."""
    made = Receiving(limits.WINDOW_MIN)
    for step in steps:
        name, _, argument = step.partition(" ")
        arguments = {"open": [True], "LISTEN": [True, Frame.LISTEN], "data": [100], "delivered": [100]}.get(name, [])
        method = {"LISTEN": "open"}.get(name, name)
        getattr(made, method)(*([Frame[argument]] if argument else arguments))
    return made


# state: (steps to it, whether the server's own direction has ended, {frame: the state that follows}).
# What is not in the row is a violation; a "-" drops the frame or, with RESET, ignores it.
SERVER = {
    "idle": ([], True, "OPEN FLOWING, LISTEN PARKED, RESET -IDLE"),
    "not answered": (["open"], False, "DATA FLOWING, END ENDED, RESET ENDED"),
    "own END sent": (["open"], True, "DATA FLOWING, END ENDED, RESET ENDED"),
    "END held": (["open", "data", "end"], False, "RESET ENDED"),
    "END held, own END sent": (["open", "end"], True, "RESET ENDED"),
    "END passed on": (["open", "end", "passed_on"], False, "RESET ENDED"),
    "over": (["open", "end", "passed_on"], True, "OPEN FLOWING, LISTEN PARKED, RESET ENDED"),
    "reset by the client": (["open", "data", "reset"], False, "RESET ENDED"),
    "reset by both": (["open", "data", "reset"], True, "OPEN FLOWING, LISTEN PARKED, RESET ENDED"),
    "own RESET sent": (["open", "data", "drop"], True, "DATA -DROPPING, END -ENDED, RESET ENDED"),
    "own RESET sent, END came": (["open", "drop", "end"], True, "OPEN FLOWING, LISTEN PARKED, RESET ENDED"),
    "refused": (["open", "data", "refused"], True,
                "OPEN FLOWING, LISTEN PARKED, DATA -REFUSED, END -REFUSED, RESET -REFUSED"),
    "refused behind END": (["open", "end", "refused", "end"], True, "OPEN FLOWING, LISTEN PARKED, DATA -REFUSED, "
                           "END -REFUSED, RESET -REFUSED"),
    "parked": (["LISTEN"], False, "RESET ENDED"),
    "accepted": (["LISTEN", "carrying"], False, "DATA FLOWING, END ENDED, RESET ENDED"),
}  # fmt: skip
CLIENT = {
    "idle": ([], True, "RESET -IDLE"),
    "not answered": (["opening"], False, "OPENED FLOWING, REFUSED ENDED, LISTENING PARKED"),
    "open": (["opening", "answer OPENED"], False, "DATA FLOWING, END ENDED, RESET ENDED"),
    "refused": (["opening", "answer REFUSED"], False, "RESET ENDED"),
    "parked": (["opening", "answer LISTENING"], False, "ACCEPTED FLOWING, RESET ENDED"),
    "accepted": (["opening", "answer LISTENING", "answer ACCEPTED"], False, "DATA FLOWING, END ENDED, RESET ENDED"),
    "END held": (["opening", "answer OPENED", "data", "end"], False, "RESET ENDED"),
    "END passed on": (["opening", "answer OPENED", "end", "passed_on"], True, "RESET ENDED"),
    "reset by the server": (["opening", "answer OPENED", "data", "reset"], True, "RESET ENDED"),
    "own RESET before the answer": (["opening", "drop"], True, "OPENED -DROPPING, REFUSED -ENDED, LISTENING -DROPPING"),
    "own RESET sent": (["opening", "drop", "answer OPENED"], True, "DATA -DROPPING, END -ENDED, RESET ENDED"),
    "own RESET sent, END came": (["opening", "answer OPENED", "drop", "end"], True, "RESET ENDED"),
    "un-parked": (["opening", "answer LISTENING", "drop"], True, "ACCEPTED -DROPPING, RESET ENDED"),
    "un-parked late": (["opening", "answer LISTENING", "drop", "answer ACCEPTED"], True,
                       "DATA -DROPPING, END -ENDED, RESET ENDED"),
}  # fmt: skip
TOLERATED = {  # more lenient than the page, where no harm can come of it
    ("client", "own RESET sent", "ACCEPTED"), ("client", "un-parked", "DATA"), ("client", "un-parked", "END"),
    ("client", "own RESET sent, END came", "ACCEPTED"), ("client", "un-parked late", "ACCEPTED"),
}  # fmt: skip
FRAMES = {"server": ["OPEN", "LISTEN", "DATA", "END", "RESET"], "client": [*(a.name for a in ANSWERS), "DATA", "END",
                                                                        "RESET"]}  # fmt: skip
PAIRS = [
    (role, state, frame)
    for role, table in (("server", SERVER), ("client", CLIENT))
    for state in table
    for frame in FRAMES[role]
    if (role, state, frame) not in TOLERATED
]


def come(made: Receiving, frame: str, own_ended: bool) -> bool | None:
    if frame in ("OPEN", "LISTEN"):
        return made.open(own_ended, Frame[frame])
    if frame == "DATA":
        return made.data(1)
    return made.answer(Frame[frame]) if Frame[frame] in ANSWERS else getattr(made, frame.lower())()


@pytest.mark.parametrize(("role", "state", "frame"), PAIRS, ids=" ".join)
def test_which_frame_may_come_when(role: str, state: str, frame: str) -> None:
    steps, own_ended, row = (SERVER if role == "server" else CLIENT)[state]
    follows = dict(entry.split() for entry in row.split(", ")).get(frame)
    made = receiving(*steps)
    before, held, was = made.received, made.held, made.peer
    if follows is None:
        with pytest.raises(Violation) as caught:
            come(made, frame, own_ended)
        assert caught.value.reason is Abort.VIOLATION
        assert (made.received, made.held, made.peer) == (before, held, was)
        return
    acts = come(made, frame, own_ended)
    assert made.peer is Peer[follows.removeprefix("-")] and made.received == before + 1
    if frame not in ("OPEN", "LISTEN") and state not in ("over", "refused"):
        assert acts is not follows.startswith("-")
    stays = frame in ("DATA", "END") and not follows.startswith("-")
    assert made.held == (held + 1 if stays else 0)


@pytest.mark.parametrize("own_ended", [False, True])
def test_a_stream_is_over_when_all_of_it_is_delivered_and_both_directions_have_ended(own_ended: bool) -> None:
    made = receiving("open", "data", "end")
    for deliver in (lambda: made.delivered(100), made.passed_on):
        with pytest.raises(Violation):
            made.open(own_ended)
        deliver()
    if own_ended:
        made.open(own_ended)
        assert (made.received, made.consumed, made.peer) == (4, 4, Peer.FLOWING)
    else:
        with pytest.raises(Violation):
            made.open(own_ended)


def test_only_an_idle_session_opens_a_stream() -> None:
    for steps in (["opening"], ["opening", "answer OPENED"], ["opening", "drop"], ["opening", "answer LISTENING"]):
        with pytest.raises(AssertionError):
            receiving(*steps).opening()
    assert receiving("opening", "answer REFUSED", "opening").peer is Peer.OWED


def test_each_type_is_for_one_side_or_both() -> None:
    assert set(Frame) - {Frame.UNLISTEN} == FROM_CLIENT | FROM_SERVER
    both = {"DATA", "END", "RESET", "ACK", "PING", "PONG", "PAD", "ABORT"}
    assert {frame.name for frame in FROM_CLIENT & FROM_SERVER} == both
