"""Rate: what all sessions of a client may pass together, and who is told when to ask again; by the real clock."""

from __future__ import annotations

import threading

from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.bucket import burst_of
from nitrosocks_lib.protocol.fair import Turn
from nitrosocks_lib.session.rate import FREE, Rate

BOUND = 60.0
FULL = 65_512


class Passing:
    """One stream that passes all it can, in a thread, until `until` is passed."""

    def __init__(self, rate: Rate, until: int) -> None:
        self.passed = 0
        self._rate, self._until = rate, until
        self._told = threading.Event()
        self._turn = Turn(self._told.set)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self.passed < self._until:
            self._told.clear()
            taken = self._rate.take(self._turn, FULL, FULL)
            self.passed += taken
            if not taken:
                assert self._told.wait(BOUND), "it was not told"

    def join(self) -> None:
        self._thread.join(BOUND)
        assert not self._thread.is_alive()


def test_threads_pass_together_what_the_rate_gives() -> None:
    began = now()
    rate = Rate(1 << 20)
    passing = [Passing(rate, 400_000) for _ in range(4)]
    for each in passing:
        each.join()
        assert sum(one.passed for one in passing) <= (1 << 20) * (now() - began) + burst_of(1 << 20)


def test_who_waits_is_told_when_there_is_another_rate() -> None:
    rate, held = Rate(), list[bool]()
    rate = Rate(1024, lambda: held.append(True))
    passing = Passing(rate, burst_of(1024) + 1_000_000)
    while not held:
        pass
    rate.change(0)
    passing.join()
    assert not rate.limited and rate.rate == 0 and rate.window == FREE.window


def test_a_rate_may_begin_later() -> None:
    rate, turn = Rate(), Turn(lambda: None)
    assert not rate.limited and rate.take(turn, FULL, FULL) == FULL and rate.passes(turn, FULL)
    rate.change(4096)
    assert rate.limited and rate.window == burst_of(4096) == 1 << 16
    passed = 0
    while taken := rate.take(turn, FULL, FULL):
        passed += taken
    assert passed <= (1 << 16) + 4096 * BOUND and not rate.passes(turn, FULL)
    rate.leave(turn)


def test_what_was_given_back_may_pass() -> None:
    rate, turn, other = Rate(1024), Turn(lambda: None), Turn(lambda: None)
    taken = rate.take(turn, FULL, 128)
    rate.give_back(turn, taken)
    assert rate.passes(other, burst_of(1024))
