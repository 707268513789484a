"""Bits of handshake messages are flipped, and messages cut short: never a session. All bits: tests/long/flips.py."""

from collections.abc import Iterator

import pytest
from replay import HONEST_EVERY, NAMES, Scene, flipped, repeatable

EVERY = 41  # a prime: all places of a bit in its byte come


@pytest.fixture(scope="module", autouse=True)
def repeats() -> Iterator[None]:
    with repeatable():
        yield


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_makes_no_session(name: str) -> None:
    scene = Scene(name)
    bits = range(0, len(scene.message) * 8, EVERY)
    for count, bit in enumerate(bits):
        faults = scene.faults(flipped(scene.message, bit), honest=count % HONEST_EVERY == 0)
        assert faults == [], f"bit {bit}"


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_as_safe(name: str) -> None:
    scene = Scene(name, pad=1024)
    for bit in range((len(scene.message) - 1024) * 8, len(scene.message) * 8, 211):
        assert scene.faults(flipped(scene.message, bit)) == [], f"bit {bit}"


@pytest.mark.parametrize("name", NAMES)
def test_a_message_cut_short_makes_no_session(name: str) -> None:
    scene = Scene(name)
    for size in range(0, len(scene.message), 97):
        assert scene.faults(scene.message[:size]) == [], f"{size} bytes"


@pytest.mark.parametrize("name", NAMES)
def test_a_message_with_a_hole_or_a_piece_twice_makes_no_session(name: str) -> None:
    scene = Scene(name)
    message = scene.message
    for at in range(0, len(message) - 16, 307):
        for changed in (message[:at] + message[at + 1 :], message[: at + 16] + message[at:]):
            assert scene.faults(changed) == [], f"at {at}"


@pytest.mark.parametrize("name", NAMES)
def test_a_message_of_another_dialogue_makes_no_session(name: str) -> None:
    """Whole, or only its first or its second half: a splice."""
    scene, other = Scene(name), Scene(name, seed=7).message
    half = len(other) // 2
    spliced = [other[:half] + scene.message[half:], scene.message[:half] + other[half:]]
    for changed in spliced if name in ("GREETING", "RESUME") else [other, *spliced]:  # there a session of its own
        assert scene.faults(changed) == []


@pytest.mark.parametrize("name", NAMES)
def test_any_other_message_makes_no_session(name: str) -> None:
    scene = Scene(name)
    for other in NAMES:
        if other != name:
            assert scene.faults(Scene(other).message) == [], other


def test_the_laboratory_sees_a_session_and_an_answer() -> None:
    """What cannot fail shows nothing."""
    assert Scene("GREETING").faults(Scene("GREETING").message) == ["an answer"]
    assert Scene("CHALLENGE").faults(Scene("CHALLENGE").message) == ["an answer"]
    assert Scene("RESPONSE").faults(Scene("RESPONSE").message) == ["a session", "an answer"]
    assert Scene("SESSION").faults(Scene("SESSION").message) == ["a session"]
    assert Scene("RECOVERED").faults(Scene("RECOVERED").message) == ["a session"]
