"""protocol/resend: what is kept, sent again and given back, against a model that is a plain list."""

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nitrosocks_lib.protocol.resend import ResendQueue

FRAMES = [b"\x10\0\0\0\1\1\0\x50host", b"\x13\0\0\0\1data", b"\x14\0\0\0\1", b"\x15\0\0\0\1\0"]


def queue(*plains: bytes, sealed: int = 0) -> ResendQueue:
    """A queue with these frames, of which the first ones went out."""
    made = ResendQueue()
    for plain in plains:
        made.append(plain)
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


def test_frames_go_out_once_and_in_order() -> None:
    made = queue(*FRAMES)
    assert made.waits and (made.total, made.cursor, made.acked) == (4, 0, 0)
    assert made.next() is made.next() and made.cursor == 0
    assert drained(made) == FRAMES
    assert not made.waits and (made.total, made.cursor, made.acked, len(made)) == (4, 4, 0, 4)
    made.append(FRAMES[2])
    assert made.waits and drained(made) == [FRAMES[2]]


def test_an_ack_gives_the_slots_back_in_order() -> None:
    made, slots = ResendQueue(), [bytearray(1), bytearray(2), bytearray(3)]
    made.append(FRAMES[0])
    for slot, size in zip([slots[0], None, slots[1], slots[2]], (10, 20, 30, 40), strict=True):
        made.append(memoryview(bytes(size)), slot)
    drained(made)
    given = [made.acknowledge(received) for received in (0, 1, 2, 2, 4, 5)]
    assert [[len(slot) for slot in free] for free in given] == [[], [], [1], [], [2], [3]]
    assert all(slot is slots[i] for i, slot in enumerate(sum(given, [])))
    assert (made.kept_bytes, len(made), made.acked, made.total) == (0, 0, 5, 5)


@pytest.mark.parametrize("received", range(2, 5))
def test_what_the_peer_has_not_received_goes_out_again(received: int) -> None:
    plains = [*FRAMES, FRAMES[1]]
    made = queue(*plains, sealed=4)
    made.acknowledge(2)
    made.rewind(received)
    assert made.sent == 4, "what was sent once, the peer may have"
    assert drained(made) == plains[received:]
    assert (made.acked, made.total, len(made), made.sent) == (received, 5, 5 - received, 5)


def test_a_rewind_gives_slots_back() -> None:
    made, slot = ResendQueue(), bytearray(1)
    made.append(b"abc", slot)
    made.append(b"de")
    drained(made)
    assert made.rewind(1) == [slot] and made.kept_bytes == 2 and drained(made) == [b"de"]


def test_a_session_that_is_over_keeps_nothing() -> None:
    made, slots = queue(*FRAMES, sealed=2), [bytearray(1), bytearray(2)]
    for slot in slots:
        made.append(memoryview(slot), slot)
    assert [id(slot) for slot in made.drop()] == [id(slot) for slot in slots]
    assert (len(made), made.kept_bytes, made.total) == (0, 0, 6) and not made.waits and made.next() is None


@pytest.mark.parametrize("received", [4, 100])
def test_an_ack_beyond_what_was_sent_is_a_fault_of_the_caller(received: int) -> None:
    with pytest.raises(AssertionError):
        queue(*FRAMES, sealed=3).acknowledge(received)


@pytest.mark.parametrize("received", [1, 4])
def test_a_count_that_cannot_be_is_a_fault_of_the_caller(received: int) -> None:
    made = queue(*FRAMES, sealed=3)
    made.acknowledge(2)
    with pytest.raises(AssertionError):
        made.rewind(received)


@pytest.mark.parametrize(
    ("count", "size", "full", "overfull"),
    [
        (16, 1 << 20, True, False),
        (15, 1 << 20, False, False),
        (32, 1 << 20, True, False),
        (33, 1 << 20, True, True),
        (65_535, 1, False, False),
        (65_536, 1, True, False),
        (131_072, 1, True, False),
        (131_073, 1, True, True),
    ],
)
def test_the_bounds_of_what_is_kept(count: int, size: int, full: bool, overfull: bool) -> None:
    made, plain = ResendQueue(), bytes(size)
    for _ in range(count):
        made.append(plain)
    assert (made.full, made.overfull) == (full, overfull)
    drained(made)
    assert made.full == full, "sealed or not, it is kept"
    made.acknowledge(made.sent)
    assert not made.full


class Model(RuleBasedStateMachine):
    """A sender's life: frames are numbered once, kept until acknowledged, and sealed in order on each connection."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ResendQueue()
        self.plains: list[bytes] = []  # all there have been
        self.loans: dict[int, bytearray] = {}  # slots that were not given back, by the number of their frame
        self.acked = self.cursor = self.sent = 0

    @rule(plain=some.binary(min_size=1, max_size=9), lent=some.booleans())
    def append(self, plain: bytes, lent: bool) -> None:
        slot = bytearray(plain) if lent else None
        if slot is not None:
            self.loans[len(self.plains)] = slot
        self.queue.append(memoryview(slot) if slot is not None else plain, slot)
        self.plains.append(plain)

    @precondition(lambda self: self.cursor < len(self.plains))
    @rule()
    def seal(self) -> None:
        plain = self.queue.next()
        assert plain is not None and bytes(plain) == self.plains[self.cursor]
        self.queue.sealed()
        self.cursor += 1
        self.sent = max(self.sent, self.cursor)

    @rule(share=some.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        """A peer may acknowledge what it got on an earlier connection, and has not said yet."""
        self.acked += int(share * (self.sent - self.acked))
        self.cursor = max(self.cursor, self.acked)
        self.given_back(self.queue.acknowledge(self.acked))

    @rule(share=some.floats(0, 1))
    def reconnect(self, share: float) -> None:
        self.acked += int(share * (self.sent - self.acked))
        self.cursor = self.acked
        self.given_back(self.queue.rewind(self.acked))

    def given_back(self, free: list[bytearray]) -> None:
        numbers = [number for number in self.loans if number < self.acked]
        assert [id(slot) for slot in free] == [id(self.loans.pop(number)) for number in numbers]

    @invariant()
    def the_numbers_are_those_of_the_model(self) -> None:
        made, kept = self.queue, self.plains[self.acked :]
        assert (made.acked, made.cursor, made.sent) == (self.acked, self.cursor, self.sent)
        assert made.total == len(self.plains)
        assert (len(made), made.kept_bytes) == (len(kept), sum(map(len, kept)))
        assert made.waits == (self.cursor < len(self.plains)) == (made.next() is not None)
        assert made.acked <= made.cursor <= made.sent <= made.total


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40)


def test_when_the_session_is_over_all_is_forgotten_but_not_taken_for_acknowledged() -> None:
    queue = ResendQueue()
    slots = [bytearray(9), bytearray(9)]
    for plain, slot in ((b"one", slots[0]), (b"two", None), (b"three", slots[1])):
        queue.append(plain, slot)
    queue.sealed(2)
    queue.acknowledge(1)
    assert queue.drop() == [slots[1]]
    assert (queue.kept_bytes, len(queue), queue.total, queue.sent, queue.waits) == (0, 0, 3, 2, False)
