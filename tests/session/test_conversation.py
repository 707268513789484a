"""Conversation: handshake generators over a real Link, what was read ahead, and how far it came."""

from __future__ import annotations

import pytest
from links import BOUND, Pairs

from nitrosocks_lib.facts.errors import NetworkError, ProtocolError
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait
from nitrosocks_lib.protocol.handshake import Dialogue
from nitrosocks_lib.session.conversation import Conversation, Interrupted


def asks() -> Dialogue[bytes]:
    """Says two things, each in one write, and returns what it heard in between and at last."""
    yield b"first"
    heard = yield 6
    yield b"second"
    return heard + (yield 3)


def answers() -> Dialogue[bytes]:
    heard = yield 5
    yield b"answer"
    heard += yield 6
    yield b"end"
    return heard


def test_two_sides_talk_and_talk_again() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        one, two = Conversation(near, now() + BOUND), Conversation(far, now() + BOUND)
        for _ in range(3):
            assert pairs.run(lambda: one.run(asks()), lambda: two.run(answers())) == [b"answerend", b"firstsecond"]


@pytest.mark.parametrize("rest", [b"", b"fi", b"first", b"firstsec"])
def test_what_was_read_ahead_comes_first(rest: bytes) -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        near.write_all(b"firstsecond"[len(rest) :], now() + BOUND)
        assert Conversation(far, now() + BOUND, rest).run(answers()) == b"firstsecond"


@pytest.mark.parametrize(("said", "parts"), [(b"", 0), (b"firs", 0), (b"first", 1), (b"firstsecon", 1)])
@pytest.mark.parametrize("end", ["close", "silence"])
def test_an_end_tells_how_far_it_came(said: bytes, parts: int, end: str) -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        near.write_all(said, now() + BOUND)
        if end == "close":
            near.close()
        with pytest.raises(Interrupted, match="the connection|no answer in time") as interrupted:
            Conversation(far, now() + (BOUND if end == "close" else 0.1)).run(answers())
        assert interrupted.value.parts == parts and isinstance(interrupted.value, NetworkError)


def test_the_first_part_has_a_deadline_of_its_own() -> None:
    """A carrier that hangs is given up for the next one; one that brought an answer has its time."""
    with Pairs() as pairs:
        near, far = pairs.make()
        with pytest.raises(Interrupted, match="no answer in time") as interrupted:
            Conversation(far, now() + BOUND, first=now() + 0.05).run(answers())
        assert interrupted.value.parts == 0
        near.write_all(b"first", now() + BOUND)
        first = now() + 0.2
        talk = Conversation(far, now() + BOUND, first=first)

        def late() -> None:
            near.read_exactly(6, now() + BOUND)
            while (left := first - now()) > 0:
                wait({}, left)
            near.write_all(b"second", now() + BOUND)

        assert pairs.run(lambda: talk.run(answers()), late)[0] == b"firstsecond"


def test_what_a_dialogue_raises_passes() -> None:
    def fails() -> Dialogue[None]:
        yield 1
        raise ProtocolError("wrong")

    with Pairs() as pairs:
        near, far = pairs.make()
        near.write_all(b"x", now() + BOUND)
        with pytest.raises(ProtocolError, match="wrong"):
            Conversation(far, now() + BOUND).run(fails())


def test_a_dialogue_that_says_nothing() -> None:
    def silent() -> Dialogue[int]:
        return 7
        yield 0

    with Pairs() as pairs:
        assert Conversation(pairs.make()[0], now()).run(silent()) == 7
