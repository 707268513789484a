"""The connections to one server: how many, which one is taken, who hears of failures, and when they are closed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from links import BOUND, Pairs

from nitrosocks_lib.client.exchange import Answered, Exchange, Request
from nitrosocks_lib.client.exchanges import Exchanges
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import What
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import Waiter

HEAD = b"POST / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Asking:
    """An asker that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def answered(self, request: Request, answer: Answered, at: float) -> None:
        self.told.append(f"answered {request.n}: {answer.status}")

    def failed(self, request: Request, reason: str, at: float) -> None:
        self.told.append(f"failed {request.n}: {reason}")

    def unreached(self, error: NetworkError, at: float) -> None:
        self.told.append(f"unreached: {error}")

    def turn(self, at: float) -> None:
        self.told.append("turn")

    def lose(self, reason: str) -> None:
        self.told.append(f"lost: {reason}")


class Pool:
    """Exchanges on loopback, whose thread is the test's. `far` are the server's ends, in the order of dials."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs, self.waiter = pairs, Waiter()
        self.posted: deque[Callable[[float], None]] = deque()
        self.exchanges = Exchanges(self.dial, self.waiter, self.post)
        self.far: list[Link] = []
        self.refuses = False

    def dial(self) -> Link:
        if self.refuses:
            raise NetworkError("refused")
        return self.pairs.dial()

    def post(self, action: Callable[[float], None]) -> bool:
        self.posted.append(action)
        self.waiter.set()
        return True

    def join(self) -> Asking:
        asker = Asking()
        near, far = self.pairs.make()
        self.far.append(far)
        self.exchanges.join(asker, near, now())
        return asker

    def accept(self) -> None:
        """A dial comes to its end."""
        self.far.append(self.pairs.accept())
        self.pairs.callback(self.far[-1].close)
        self.settle(1)

    def settle(self, posts: int = 0) -> None:
        """So many posts, and all that is ready now."""
        while posts > 0:
            self.waiter.clear()
            while self.posted:
                self.posted.popleft()(now())
                posts -= 1
            if posts > 0:
                self.waiter.select(BOUND)
        for (ready, _), _ in self.waiter.select(0.05):
            ready(now())

    def ask(self, asker: Asking, n: int = 0, what: What = What.UP, fresh: bool = False) -> Exchange:
        exchange = self.exchanges.take(what, fresh)
        assert exchange is not None
        self.begin(exchange, asker, n, what)
        return exchange

    def begin(self, exchange: Exchange, asker: Asking, n: int = 0, what: What = What.UP) -> None:
        self.exchanges.begin(exchange, Request(asker, what, n, b"", BOUND, lambda _: None), HEAD, now())
        self.settle()

    def answer(self, far: Link, answer: bytes = OK) -> None:
        assert far.read_exactly(len(HEAD), now() + BOUND) == HEAD
        far.write_all(answer, now() + BOUND)
        self.settle()


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pairs() as pairs:
        made = Pool(pairs)
        yield made
        while made.posted:
            made.posted.popleft()(now())
        made.exchanges.close()
        made.waiter.close()


def test_up_0_is_followed_by_a_spare_for_downs(pool: Pool) -> None:
    asker = pool.join()
    pool.ask(asker)
    pool.accept()
    assert len(pool.exchanges) == 2
    pool.answer(pool.far[0])
    assert asker.told == ["answered 0: 200"]
    assert not pool.posted


def test_connections_of_one_request_are_followed_by_a_spare(pool: Pool) -> None:
    asker = pool.join()
    pool.ask(asker, 0)
    pool.accept()
    pool.ask(asker, 1)
    assert len(pool.exchanges) == 2, "up 1 makes none"
    pool.answer(pool.far[0], OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
    pool.exchanges.want(asker, 1, fresh=False)
    pool.accept()
    pool.ask(asker, 2)
    pool.accept()
    assert len(pool.exchanges) == 3, "up 2 makes one"


def test_the_one_that_was_used_last_is_used_next(pool: Pool) -> None:
    asker = pool.join()
    first = pool.ask(asker)
    pool.accept()
    pool.answer(pool.far[0])
    assert pool.exchanges.take(What.UP, fresh=False) is first


def test_a_repeat_takes_one_that_was_never_used(pool: Pool) -> None:
    asker = pool.join()
    used = pool.ask(asker)
    pool.answer(pool.far[0])
    assert pool.exchanges.take(What.UP, fresh=True) is None
    pool.accept()
    fresh = pool.exchanges.take(What.UP, fresh=True)
    assert fresh is not None
    assert fresh is not used


def test_downs_leave_one_for_ups(pool: Pool) -> None:
    asker = pool.join()
    assert pool.exchanges.take(What.DOWN, fresh=False) is None
    pool.exchanges.want(asker, 1, fresh=False)
    pool.accept()
    assert asker.told == ["turn"]
    pool.ask(asker, what=What.DOWN)
    assert pool.exchanges.take(What.DOWN, fresh=False) is None
    assert pool.exchanges.take(What.UP, fresh=False) is not None


def test_there_are_no_more_than_they_need(pool: Pool) -> None:
    asker = pool.join()
    most = limits.EXCHANGES + limits.DOWNS
    pool.exchanges.want(asker, 50, fresh=False)
    for _ in range(most - 1):
        pool.accept()
    pool.exchanges.want(asker, 50, fresh=False)
    for n in reversed(range(most)):  # up 0 is last
        pool.ask(asker, n)
    pool.accept()  # the spare
    pool.ask(asker, 0)
    assert len(pool.exchanges) == most + 1
    assert not pool.posted


def test_one_that_is_idle_gives_way_to_a_fresh_one(pool: Pool) -> None:
    asker = pool.join()
    pool.exchanges.want(asker, 50, fresh=False)
    for _ in range(limits.EXCHANGES + limits.DOWNS - 1):
        pool.accept()
    pool.exchanges.want(asker, 1, fresh=True)
    pool.accept()
    assert len(pool.exchanges) == limits.EXCHANGES + limits.DOWNS


def test_a_failed_dial_is_told_to_who_has_waited_for_longest(pool: Pool) -> None:
    first, second = pool.join(), pool.join()
    pool.refuses = True
    pool.exchanges.want(first, 1, fresh=True)
    pool.exchanges.want(second, 1, fresh=True)
    pool.settle(1)
    assert first.told == ["unreached: refused"]
    while not second.told:
        pool.settle(1)
    assert first.told + second.told == ["unreached: refused"] * 2


def test_a_spare_that_is_not_reached_is_nobodys_failure(pool: Pool) -> None:
    asker = pool.join()
    pool.refuses = True
    pool.ask(asker)
    pool.settle(1)
    assert asker.told == []


def test_a_dial_with_a_fault_keeps_nobody_waiting(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> Link:
        raise ZeroDivisionError("a fault")

    asker = pool.join()
    pool.exchanges.dial = fault
    pool.exchanges.want(asker, 1, fresh=True)
    pool.settle(1)
    assert asker.told == ["unreached: a fault"]
    assert "a dial failed" in caplog.text


def test_a_cut_is_told_to_whose_request_it_had(pool: Pool) -> None:
    asker = pool.join()
    pool.ask(asker, 7)
    pool.far[0].abort()
    pool.settle()
    assert asker.told == ["failed 7: the connection ended"]


def test_a_new_carrier_closes_those_that_are_idle(pool: Pool) -> None:
    busy = pool.ask(pool.join())
    pool.accept()
    pool.join()
    assert len(pool.exchanges) == 2
    assert busy.request is not None


def test_who_leaves_hears_nothing_more(pool: Pool) -> None:
    asker, other = pool.join(), pool.join()
    pool.ask(asker)
    pool.accept()
    pool.exchanges.leave(asker)
    assert len(pool.exchanges) == 1, "the spare, which the other one has"
    pool.exchanges.leave(other)
    assert len(pool.exchanges) == 0
    assert asker.told + other.told == []


def test_what_is_dialled_for_nobody_is_closed(pool: Pool) -> None:
    asker = pool.join()
    pool.ask(asker)
    pool.exchanges.leave(asker)
    pool.accept()
    assert len(pool.exchanges) == 0


def test_a_time_out_makes_idle_ones_suspect(pool: Pool) -> None:
    asker = pool.join()
    pool.ask(asker)
    pool.accept()
    for later in (1, 2):  # the peer's kernel may have acknowledged something until the first, which is progress
        pool.exchanges.expire(now() + later * (BOUND + 1))
    assert asker.told == ["failed 0: no answer in time"]
    assert len(pool.exchanges) == 0
    assert pool.exchanges.due == math.inf


def test_idle_ones_are_closed_in_time(pool: Pool) -> None:
    pool.join()
    assert pool.exchanges.due <= now() + limits.EXCHANGE_UNUSED
    pool.exchanges.expire(pool.exchanges.due - 1)
    assert len(pool.exchanges) == 1
    pool.exchanges.expire(pool.exchanges.due)
    assert len(pool.exchanges) == 0


def test_a_fault_of_an_asker_ends_that_one(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    asker = pool.join()

    def fault(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    asker.answered = fault  # type: ignore[method-assign]
    pool.ask(asker)
    pool.answer(pool.far[0])
    assert asker.told == ["lost: a fault"]
    assert "an http carrier failed" in caplog.text
