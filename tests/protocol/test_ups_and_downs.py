"""protocol/ups and downs, both sides over a network that loses, doubles, delays and reorders requests and answers.

What arrives is what was sent: nothing lost, doubled or in another order, and the end always comes. The network spares
the last attempt of a request, since the carrier is lost with it (HP7).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.downs import EMPTY, Answer, DownAnswerer, DownAsker, Sends
from nitrosocks_lib.protocol.ups import Up, UpReceiver, UpSender

STEPS = 200_000  # of 3,900 runs the longest took 24,143
ATTEMPTS = 1 + limits.REPEATED
MOST = 50  # bytes of a body


class Message(NamedTuple):
    n: int
    key: int
    payload: bytes | Answer = b""
    spared: bool = False


class Network:
    """Messages under way; `arrive` gives one of them, whichever."""

    def __init__(self, source: random.Random, loss: float) -> None:
        self._source, self._loss, self._flying = source, loss, list[Message]()

    def send(self, message: Message) -> None:
        if message.spared or self._source.random() >= self._loss:
            self._flying.append(message)

    def arrive(self) -> Message | None:
        if not self._flying:
            return None
        at = self._source.randrange(len(self._flying))
        doubled = self._source.random() < self._loss
        return self._flying[at] if doubled else self._flying.pop(at)


class Ups:
    def __init__(self, source: random.Random, stream: bytes, loss: float) -> None:
        self.source, self.left, self.got = source, stream, b""
        self.sender, self.receiver = UpSender(MOST), UpReceiver()
        self.requests, self.answers = Network(source, loss), Network(source, loss)
        self.sent = Counter[int]()
        self.steps: list[Callable[[], None]] = [self.put, self.send, self.arrive, self.answer, self.fail, self.take]

    @property
    def done(self) -> bool:
        return self.sender.ended and self.receiver.ended

    def put(self) -> None:
        if self.sender.room:
            size = min(self.source.randint(1, self.sender.room), len(self.left))
            self.sender.put(self.left[:size])
            self.left = self.left[size:]

    def send(self) -> None:
        for n in self.source.sample(self.sender.requests.due, len(self.sender.requests.due)):
            self.sent[n] += 1
            self.sender.requests.began(n, 0.0)
            self.requests.send(Message(n, 0, self.sender.body(n), self.sent[n] == ATTEMPTS))

    def arrive(self) -> None:
        if (message := self.requests.arrive()) is None:
            return
        assert isinstance(message.payload, bytes)
        verdict = self.receiver.judge(message.n, len(message.payload))
        assert verdict in (Up.READ, Up.REPEATED, Up.WAITS), "a sender that keeps the rules is never refused"
        if verdict is Up.WAITS:
            self.requests.send(message._replace(spared=True))
            return
        assert self.receiver.put(message.n, message.payload) is (verdict is Up.READ)
        self.answers.send(message)
        assert len(self.receiver._held) <= limits.UPS

    def answer(self) -> None:
        if message := self.answers.arrive():
            self.sender.answered(message.n)

    def fail(self) -> None:
        under_way = [n for n in self.sender.requests.overdue(1000.0, 5.0) if self.sent[n] < ATTEMPTS]
        if under_way:
            self.sender.requests.failed(self.source.choice(under_way))

    def take(self) -> None:
        self.got += self.receiver.take() or b""


class Downs:
    def __init__(self, source: random.Random, stream: bytes, loss: float) -> None:
        self.source, self.left, self.got, self.now = source, stream, b"", 1000.0
        self.asker, self.answerer = DownAsker(), DownAnswerer()
        self.requests, self.answers = Network(source, loss), Network(source, loss)
        self.sent, self.keys = Counter[int](), 0
        self.live: dict[int, int] = {}  # m: the connection on which its answer is awaited
        self.of: dict[object, int] = {}
        self.first: dict[int, Answer] = {}
        self.steps: list[Callable[[], None]] = [
            self.ask, self.arrive, self.give, self.pass_time, self.answer, self.fail, self.take,
        ]  # fmt: skip

    @property
    def done(self) -> bool:
        return self.asker.ended

    def ask(self) -> None:
        self.asker.ask()
        for m in self.source.sample(self.asker.requests.due, len(self.asker.requests.due)):
            self.sent[m] += 1
            self.keys += 1
            self.asker.requests.began(m, self.now)
            self.live[m], self.of[self.keys] = self.keys, m
            self.requests.send(Message(m, self.keys, spared=self.sent[m] == ATTEMPTS))

    def arrive(self) -> None:
        if message := self.requests.arrive():
            self.said(self.answerer.ask(message.key, message.n, self.now, self.source.uniform(-1, 1)))

    def said(self, sends: Sends) -> None:
        for key, answer in sends:
            assert isinstance(key, int)
            m = self.of[key]
            assert m in self.first or m == len(self.first), "in the order of m"
            given_up = m + limits.DOWNS in self.sent and answer == EMPTY
            assert self.first.setdefault(m, answer) == answer or given_up, "every request of m gets the same answer"
            self.answers.send(Message(m, key, answer, self.sent[m] == ATTEMPTS))
        assert len(self.answerer._answers) <= limits.DOWNS

    def give(self) -> None:
        if not self.left:
            self.said(self.answerer.end(self.now))
        elif self.answerer.wants:
            size = min(self.source.randint(1, MOST), len(self.left))
            data, self.left = self.left[:size], self.left[size:]
            self.said(self.answerer.give(data, self.now))

    def pass_time(self) -> None:
        self.now += self.source.choice((0.0, 0.1, 20.0))
        self.said(self.answerer.expire(self.now))
        assert self.answerer.next_at is None or self.answerer.next_at > self.now

    def answer(self) -> None:
        message = self.answers.arrive()
        if message and self.live.get(message.n) == message.key:
            assert isinstance(message.payload, Answer)
            self.asker.answered(message.n, message.payload)

    def fail(self) -> None:
        under_way = [m for m in self.asker.requests.overdue(self.now + 1000, 0.0) if self.sent[m] < ATTEMPTS]
        if under_way:
            m = self.source.choice(under_way)
            self.asker.requests.failed(m)
            key = self.live.pop(m)
            if self.source.random() < 0.5:  # else the server does not hear of it
                self.answerer.gone(key)

    def take(self) -> None:
        self.got += self.asker.take() or b""
        assert len(self.asker._ready) <= limits.DOWNS + 1


@pytest.mark.parametrize("direction", [Ups, Downs])
@settings(max_examples=150, deadline=None, database=None)
@given(st.integers(0, 2**32), st.integers(0, 1000), st.sampled_from((0.0, 0.1, 0.3, 0.6)))
@example(0, 0, 0.0)
def test_nothing_is_lost_doubled_or_reordered(direction: type[Ups | Downs], seed: int, size: int, loss: float) -> None:
    source = random.Random(seed)
    stream = source.randbytes(size)
    run = direction(source, stream, loss)
    weights = [source.choice((1, 1, 5)) for _ in run.steps]  # each run has things that are slow in it
    for _ in range(STEPS):
        source.choices(run.steps, weights)[0]()
        assert stream.startswith(run.got)
        if run.done:
            break
    assert run.done and run.got == stream


def test_a_model_that_breaks_a_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot fail shows nothing: answers that are not kept for repeats."""
    monkeypatch.setattr(DownAnswerer, "_give_up", lambda made, below: made._answers.clear())
    with pytest.raises(AssertionError):
        for seed in range(20):
            test_nothing_is_lost_doubled_or_reordered.hypothesis.inner_test(Downs, seed, 1000, 0.6)
