"""protocol/fair: streams go in turn, who sends little goes first, and the bucket is never overdrawn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.fair import Fair, Place, Turn

RATE = 2 << 20
TURN = int(RATE * limits.RATE_TURN)
FULL = limits.DATA_SIZE


class Streams:
    """Some that always have something to send, at a rate whose burst is over; `got` is what each could send."""

    def __init__(self, count: int, rate: int = RATE) -> None:
        self.now = 0.0
        self.fair = Fair(rate, self.now)
        self.fair.bucket.take(1 << 40, self.now)
        self.turns = [Turn(lambda: None) for _ in range(count)]
        self.got = dict.fromkeys(self.turns, 0)
        for turn in self.turns:
            assert self.ask(turn) == 0

    def ask(self, turn: Turn, most: int = FULL) -> int:
        taken = self.fair.ask(turn, most, most, self.now)
        self.got[turn] = self.got.get(turn, 0) + taken
        return taken

    def until(self, time: float) -> None:
        """Goes on from one turn to the next; who had it asks again."""
        while (due := self.fair.due(self.now)) is not None and due <= time:
            self.now = max(due, self.now + 1e-6)
            self.fair.forget_told()
            while (turn := self.fair.next(self.now)) is not None:
                while self.ask(turn):
                    pass
        self.now = time


def test_streams_that_send_all_they_can_get_alike() -> None:
    streams = Streams(50)
    streams.until(10.0)
    sizes = streams.got.values()
    assert max(sizes) - min(sizes) <= TURN and sum(sizes) >= 10 * RATE - 50 * TURN


def test_one_that_comes_later_gets_as_much_from_then_on() -> None:
    streams = Streams(3)
    streams.until(5.0)
    before, late = max(streams.got.values()), Turn(lambda: None)
    streams.ask(late)
    streams.until(10.0)
    assert all(
        abs(got - before - streams.got[late]) <= 2 * TURN for turn, got in streams.got.items() if turn is not late
    )


def test_a_keystroke_waits_for_its_own_bytes_only() -> None:
    """Each 100 ms, beside 50 that send all they can: no turn of these comes before."""
    streams, typed = Streams(50), Turn(lambda: None)
    for key in range(1, 100):
        streams.until(key / 10)
        while not streams.ask(typed, 1):
            assert streams.fair._waiting[0][2] is typed
            due = streams.fair.due(streams.now)
            assert due is not None and due - streams.now < 1e-5
            streams.until(due + 1e-9)
            break
    assert streams.got[typed] >= 98


def test_one_that_sends_little_beyond_its_share_waits_like_the_others() -> None:
    streams, greedy = Streams(4), Turn(lambda: None)
    for step in range(1, 2000):
        streams.until(step / 200)
        streams.ask(greedy, 60_000)
    assert streams.got[greedy] <= max(streams.got.values()) + TURN


def test_who_was_told_and_does_not_ask_holds_nobody_up() -> None:
    streams = Streams(2)
    streams.now += 1.0
    told = streams.fair.next(streams.now)
    assert told is not None and told.place is Place.TOLD
    streams.until(5.0)  # it was told, and sleeps
    (other,) = (turn for turn in streams.turns if turn is not told)
    assert streams.got[told] == 0 and streams.got[other] >= 4 * RATE - 2 * TURN
    streams.ask(told)
    streams.until(6.0)
    assert streams.got[told] >= RATE // 2 - 2 * TURN


def test_one_that_left_is_not_told() -> None:
    streams = Streams(2)
    first, second = streams.turns
    streams.fair.leave(first)
    streams.now = 1.0
    assert streams.fair.next(1.0) is second
    streams.fair.leave(second)
    assert streams.fair.next(1.0) is None and streams.fair.due(1.0) is None
    assert Fair(RATE, 0.0).ask(Turn(lambda: None), FULL, FULL, 0.0) == TURN


def test_those_that_left_are_forgotten_though_others_wait() -> None:
    """At a low rate these wait for long, and a client opens and resets streams as it likes."""
    streams = Streams(100, limits.RATE_LEAST)
    for _ in range(10_000):
        turn = Turn(lambda: None)
        assert streams.ask(turn) == 0
        del streams.got[turn]
        streams.fair.leave(turn)
    assert len(streams.fair._waiting) <= 3 * 100 + 2 * 64
    streams.until(300.0)
    assert max(streams.got.values()) - min(streams.got.values()) <= limits.RATE_TURN_LEAST
    for turn in streams.turns:
        streams.fair.leave(turn)
    while streams.fair.next(400.0) is not None:
        pass
    assert streams.fair.due(400.0) is None and streams.fair._gone == 0


def test_what_did_not_pass_may_pass_later() -> None:
    fair, turn = Fair(RATE, 0.0), Turn(lambda: None)
    assert fair.ask(turn, FULL, 128, 0.0) == TURN
    fair.give_back(turn, TURN - 1)
    assert fair.bucket.level(0.0) == fair.bucket.burst - 1 and turn.used == 1


def test_without_a_rate_all_are_told() -> None:
    streams = Streams(3)
    assert set(streams.fair.all()) == set(streams.turns) and streams.fair.due(0.0) is None
    assert all(turn.place is Place.NONE for turn in streams.turns)


def test_a_datagram_passes_as_a_whole_or_not() -> None:
    fair, datagrams = Fair(limits.RATE_LEAST, 0.0), Turn(lambda: None)
    passed = sum(fair.passes(datagrams, 1_400, 0.0) for _ in range(100))
    assert passed == fair.bucket.burst // 1_400 and fair.due(0.0) is None
    assert not fair.passes(datagrams, 1_400, 0.1) and fair.passes(datagrams, 1_400, 1.5)


def test_datagrams_leave_others_their_share() -> None:
    streams, datagrams = Streams(1), Turn(lambda: None)
    passed = 0
    for step in range(10_000):
        streams.until(step / 1000)
        passed += 1_400 * sum(streams.fair.passes(datagrams, 1_400, streams.now) for _ in range(4))
    (got,) = (streams.got[turn] for turn in streams.turns)
    assert got >= 0.4 * 10 * RATE and passed >= 0.4 * 10 * RATE


@given(
    some.integers(limits.RATE_LEAST, 1 << 26),
    some.lists(some.tuples(some.integers(0, 3), some.integers(1, FULL), some.floats(0, 0.2)), max_size=80),
)
def test_no_more_passes_than_the_rate_gives_and_a_burst(rate: int, steps: list[tuple[int, int, float]]) -> None:
    fair, turns, now, passed = Fair(rate, 0.0), [Turn(lambda: None) for _ in range(4)], 0.0, 0
    for index, size, seconds in steps:
        now += seconds
        if index:
            passed += fair.ask(turns[index], size, min(size, 128) if index == 1 else size, now)
        else:
            passed += size if fair.passes(turns[0], size, now) else 0
        fair.forget_told()
        while (turn := fair.next(now)) is not None:
            passed += fair.ask(turn, size, size, now)
        assert passed <= rate * now + fair.bucket.burst + 1
