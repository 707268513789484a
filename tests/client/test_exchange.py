"""One connection of the carrier http: requests go out whole, and an answer is one, or the connection is over."""

from __future__ import annotations

import os
import select
import selectors
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from links import BOUND, Pairs

from nitrosocks_lib.client.exchange import Answered, Exchange, Request
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import What
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait

HEAD = b"POST / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
BUFFER = memoryview(bytearray(65_536))


@dataclass
class Ends:
    """An exchange, the server's end of its connection, and what `wrote` was told."""

    exchange: Exchange
    far: Link
    wrote: list[int] = field(default_factory=list)

    def begin(self, body: bytes = b"", patience: float = BOUND) -> None:
        asker: Any = None
        self.exchange.begin(Request(asker, What.UP, 0, body, patience, self.wrote.append), HEAD, now())

    def run(self, until: Callable[[], bool] = lambda: False) -> Answered | None:
        """Advances until there is an answer, or what is waited for."""
        while True:
            answered = self.exchange.advance(BUFFER, now())
            if answered is not None or until():
                return answered
            writes = select.POLLOUT if self.exchange.wants & selectors.EVENT_WRITE else 0
            assert wait({self.exchange.link.fd: select.POLLIN | writes}, BOUND), "nothing moves"

    def say(self, data: bytes) -> None:
        self.far.write_all(data, now() + BOUND)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with Pairs() as pairs:
        near, far = pairs.make()
        yield Ends(Exchange(near, now()), far)


def test_a_small_request_leaves_as_one_record(ends: Ends) -> None:
    ends.begin(b"key")
    assert ends.exchange.advance(BUFFER, now()) is None
    assert ends.far.read_first(now() + BOUND) == HEAD + b"key"
    assert ends.wrote[-1] <= 3


def test_a_large_one_leaves_as_far_as_it_is_taken(ends: Ends) -> None:
    body = os.urandom(16 << 20)
    ends.begin(body)
    assert ends.exchange.advance(BUFFER, now()) is None
    assert ends.exchange.wants & selectors.EVENT_WRITE
    assert ends.wrote[-1] < len(body)
    with Pairs() as pairs:  # for its threads
        got, _ = pairs.run(
            lambda: ends.far.read_exactly(len(HEAD) + len(body), now() + BOUND),
            lambda: ends.run(lambda: ends.exchange.wants == selectors.EVENT_READ),
        )
    assert got == HEAD + body


def test_an_answer_comes_in_pieces(ends: Ends) -> None:
    ends.begin()
    for at in range(len(OK) - 1):
        ends.say(OK[at : at + 1])
    ends.exchange.advance(BUFFER, now())
    ends.say(OK[-1:])
    answered = ends.run()
    assert answered is not None
    assert (answered.status, answered.body, answered.raw) == (200, b"body", OK[:-4])
    assert ends.exchange.request is None
    assert ends.exchange.deadline > now(), "it may be used again"


def test_it_takes_one_request_after_another(ends: Ends) -> None:
    for n in range(5):
        ends.begin(b"%d" % n)
        ends.exchange.advance(BUFFER, now())
        assert ends.far.read_exactly(len(HEAD) + 1, now() + BOUND) == HEAD + b"%d" % n
        ends.say(OK)
        assert ends.run() is not None


LAST = {
    "it says so": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "something stands behind it": OK + b"HTTP",
}


@pytest.mark.parametrize("answer", LAST.values(), ids=LAST)
def test_a_connection_that_takes_no_further_request(ends: Ends, answer: bytes) -> None:
    ends.begin()
    ends.say(answer)
    assert ends.run() is not None
    assert ends.exchange.deadline <= now()


def test_an_answer_that_ends_with_the_connection(ends: Ends) -> None:
    ends.begin()
    ends.say(b"HTTP/1.1 502 Bad Gateway\r\n\r\nsorry")
    ends.far.close(now() + 0.01)
    answered = ends.run()
    assert answered is not None
    assert answered.body == b"sorry"


def test_an_interim_answer_is_not_the_answer(ends: Ends) -> None:
    ends.begin()
    ends.say(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    answered = ends.run()
    assert answered is not None
    assert answered.status == 200


def test_an_answer_amid_the_request_is_heard(ends: Ends) -> None:
    """413, of who does not want the body: it is not read."""
    ends.begin(os.urandom(16 << 20))
    ends.exchange.advance(BUFFER, now())
    ends.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    answered = ends.run()
    assert answered is not None
    assert answered.status == 413
    assert ends.exchange.deadline <= now(), "the rest of the body would be taken for a request"


BAD = {
    "no HTTP": b"\0\0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "protocols are switched": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx",
    "too long": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(limits.BODY + 1),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * limits.HEAD,
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_what_is_no_answer_ends_the_connection(ends: Ends, answer: bytes) -> None:
    ends.begin()
    with Pairs() as pairs, pytest.raises(NetworkError):  # for its threads
        pairs.run(ends.run, lambda: ends.say(answer))


def test_a_torn_answer_is_none(ends: Ends) -> None:
    ends.begin()
    ends.say(OK[:-1])
    ends.far.close(now() + 0.01)
    with pytest.raises(NetworkError):
        ends.run()


def test_nothing_may_come_unasked(ends: Ends) -> None:
    ends.say(OK)
    with pytest.raises(NetworkError):
        ends.run()


def test_an_idle_connection_that_ends_is_over(ends: Ends) -> None:
    ends.far.close(now() + 0.01)
    with pytest.raises(NetworkError):
        ends.run()


def test_an_unused_connection_is_given_up_before_a_server_gives_up_its_first_request(ends: Ends) -> None:
    assert ends.exchange.deadline < now() + limits.HEAD_TIME


def test_a_request_has_its_time_without_progress(ends: Ends) -> None:
    begun = now()
    ends.begin(b"key", patience=7.0)
    assert ends.exchange.deadline - begun >= 7.0
    ends.exchange.advance(BUFFER, begun + 100.0)
    assert ends.exchange.deadline == begun + 107.0, "the kernel took something"


def test_what_the_peers_kernel_takes_is_progress(ends: Ends) -> None:
    ends.begin(os.urandom(16 << 20))
    ends.exchange.advance(BUFFER, now())
    while ends.exchange.progresses(now()):  # until its buffers are full
        pass
    assert not ends.exchange.progresses(now())
    assert ends.far.read_exactly(1 << 20, now() + BOUND)
    end = now() + BOUND
    while not ends.exchange.progresses(now()):
        assert now() < end, "what was taken is never seen"
