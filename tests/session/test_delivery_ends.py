"""Delivery: 60 s for what is over, and local sockets that break. At chosen times where time matters."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from half import Half
from held import Held, pair
from loopback import read_all, read_exactly, reset, was_reset
from plains import DATA, END, OPEN, RESET
from roles import Roles, receive, receive_data

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Abort, Frame, Reset
from nitrosocks_lib.net.buffers import BufferPool
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Address
from nitrosocks_lib.server.tunnel import ServerTunnel
from nitrosocks_lib.session import delivery as module
from nitrosocks_lib.session.dialling import Reached
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending, Sending, Stream

SMALL = 4_608  # bytes of the kernel's buffers
FULL = os.urandom(limits.WINDOW)


class Still:
    """A server's half that no thread serves: the test does. One stream, whose target takes nothing yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 1_000.0
        monkeypatch.setattr(module, "now", lambda: self.at)
        self.roles = Roles()
        self.tunnel: ServerTunnel = self.roles.server
        self.delivery = self.tunnel.inbound.delivery
        self.tunnel.inbound.dialling = Held(self.tunnel.state.inbox.waiter)
        self.far, near = pair(buffer=SMALL)
        near.setblocking(False)
        receive(self.tunnel, Frame.OPEN, OPEN(1)[1:])
        self.tunnel.inbound.answers.answer(1, Reached(near, Address("10.0.0.1", 7)))
        self.outbound()
        self.stream: Stream = self.tunnel.state.streams.by_number[1]

    def outbound(self) -> None:
        """What outbound would do next, but for sending."""
        self.tunnel.outbound._take_mail()
        self.tunnel.outbound._reading.look(0)
        while self.tunnel.outbound._reading.read_next(limits.DATA_SIZE):
            pass

    def inbound(self) -> None:
        self.tunnel.inbound._take_mail()

    def data(self, payload: bytes) -> None:
        for at in range(0, len(payload), limits.DATA_SIZE):
            receive_data(self.tunnel, 1, payload[at : at + limits.DATA_SIZE], self.at)

    def due(self, seconds: float) -> float | None:
        """So much later."""
        self.at += seconds
        return self.delivery.due(self.at)

    def queued(self) -> list[int]:
        """The types of the numbered frames that outbound keeps."""
        return [plain[0] for plain, _ in self.tunnel.outbound.resend._kept]

    def close(self) -> None:
        self.far.close()
        self.delivery.finish("over")
        self.delivery.deliver_rest(0.0)
        self.roles.close()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[Still]:
    made = Still(monkeypatch)
    yield made
    made.close()


# -- 60 s -------------------------------------------------------------------------------------------------------------


def test_60_s_is_the_rule() -> None:
    assert limits.LINGER == 60


def by_reset(still: Still) -> None:
    receive(still.tunnel, Frame.RESET, RESET(1)[1:])


def by_end(still: Still) -> None:
    receive(still.tunnel, Frame.END, END(1)[1:])
    still.far.shutdown(socket.SHUT_WR)
    still.outbound()


OVER = pytest.mark.parametrize("over", [by_reset, by_end])


def test_a_stream_that_is_not_over_may_take_its_time(still: Still) -> None:
    still.data(FULL)
    receive(still.tunnel, Frame.END, END(1)[1:])
    for _ in range(10):
        assert still.due(100.0) == still.at + 1.0
    assert still.stream.ending is None and still.delivery.held > 0


@OVER
def test_one_that_is_has_60_s_from_then_on(over, still: Still) -> None:
    still.data(FULL)
    still.due(1_000.0)
    over(still)
    still.outbound()
    assert still.stream.over
    still.due(59.9)
    assert still.delivery.held > 0
    assert still.due(0.2) is None
    assert still.delivery.held == 0 and still.tunnel.load == 0
    with pytest.raises(ConnectionResetError):
        while still.far.recv(1 << 16):
            pass


@OVER
def test_each_byte_that_is_taken_gives_it_60_s_more(over, still: Still) -> None:
    still.data(FULL)
    over(still)
    still.outbound()
    got = b""
    while still.delivery.held:
        still.due(59.0)
        got += still.far.recv(1 << 16)
        still.delivery.flush(still.stream)
        assert len(got) < len(FULL)
    still.due(59.0)
    got += read_exactly(still.far, len(FULL) - len(got))
    still.due(0.0)
    assert got == FULL and still.tunnel.load == 0


def test_what_the_kernel_holds_has_60_s_too(still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [3]
    monkeypatch.setattr(module, "unread", lambda _: held[0])
    receive(still.tunnel, Frame.RESET, RESET(1)[1:])
    still.outbound()
    still.inbound()
    for held[0] in (3, 2, 2, 1, 1):
        assert still.due(50.0 if held[0] == 3 else 30.0) == pytest.approx(still.at + 0.05)
    assert still.stream.local is not None
    assert still.due(31.0) is None and still.stream.local is None and still.tunnel.load == 0


def test_the_end_of_the_session_begins_the_time(still: Still) -> None:
    """Without a connection nobody delivered: a session that is not resumed leaves 60 s for what it holds."""
    still.data(FULL)
    for _ in range(1_000):
        still.delivery.flush(still.stream)  # until the kernel takes no more
    still.at += 500.0
    still.delivery.finish("it was not resumed")
    assert still.due(59.0) is not None and still.delivery.held > 0
    assert still.due(2.0) is None and still.tunnel.load == 0
    assert (still.stream.ending, still.stream.reason) == (Ending.LOST, "it was not resumed")


@pytest.mark.parametrize("size", [1, len(FULL)])
def test_a_session_that_is_over_waits_for_nobody_for_ever(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINGER", 0.1)
    with Half(True, held=True) as half:
        half.reached(1, buffer=SMALL)
        half.pour(1, FULL[:size])
        half.send(frames.abort(Abort.OTHER))
        assert half.over() is Outcome.OVER
        half.dispose("over")
        assert half.gone().ending is Ending.LOST and half.backlog == half.tunnel.load == 0


def test_one_that_makes_progress_is_delivered_for_an_hour_at_most(still: Still) -> None:
    assert limits.LINGER_MOST == 3_600
    still.data(FULL)
    still.delivery.finish("over")
    still.delivery.deliver_rest(still.at)
    assert still.tunnel.load == still.delivery.held == 0


# -- local sockets that break -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("round_", range(5))
@pytest.mark.parametrize("how", ["unread bytes", "close", "reset"])
def test_what_a_target_said_before_it_broke_arrives_before_the_reset(how: str, round_: int) -> None:
    """A target that answers early and closes, while the request still flows."""
    answer = os.urandom(100_000)
    with Half(True, held=True) as half:
        far = half.reached(1)
        half.send(DATA(1, bytes(10_000)))
        read_exactly(far, 10_000 if how == "close" else 9_000)
        far.sendall(answer)
        if how == "reset":
            assert half.gather(1, len(answer)) == answer  # what the kernel has not sent a RST would drop
            reset(far)
        else:
            far.close()
        half.send(*[DATA(1, bytes(20_000))] * 8)
        if how != "reset":
            assert half.gather(1, len(answer)) == answer
        for plain in iter(half.next, frames.refusal(Frame.RESET, 1, Reset.LOCAL)):
            assert plain == END(1)
            half.send(*[DATA(1, b"more")] * 2)
        stream = half.gone()
        assert (stream.ending, stream.reason) == (Ending.RESET_HERE, "the local side broke the connection")
        half.send(DATA(1, b"late"), END(1))
        half.until_acked()
        assert half.tunnel.load == half.backlog == 0


def test_what_it_said_is_read_though_the_limit_is_used_up() -> None:
    with Half(True, held=True) as half:
        far = half.reached(1)
        far.sendall(FULL + b"the rest")
        assert half.gather(1, len(FULL)) == FULL
        half.send(*[DATA(1, bytes(60_000))] * 4)
        read_exactly(far, 1)
        far.close()
        half.send(DATA(1, b"x"))
        assert half.seen() == []
        half.ack((1, 2 * limits.WINDOW))
        assert half.gather(1, 8) == b"the rest"
        assert half.pass_to(Frame.RESET) and half.gone().ending is Ending.RESET_HERE


def test_a_target_that_breaks_with_a_backlog_behind_the_ends_is_no_clean_end() -> None:
    with Half(True, held=True) as half:
        far = half.reached(1, buffer=SMALL)
        half.pour(1, FULL)
        far.shutdown(socket.SHUT_WR)
        half.until(Frame.END)
        half.send(END(1))
        assert half.seen() == [] and half.backlog > 0
        reset(far)
        assert half.gone().ending is Ending.RESET_HERE and half.backlog == 0
        assert half.seen() == [], "it was over: nothing is said of it any more"


def test_it_is_none_either_where_both_halves_find_the_end_at_once(still: Still) -> None:
    """outbound reads the end of what the target says; at that moment inbound cannot write what it still has."""
    still.data(FULL)
    receive(still.tunnel, Frame.END, END(1)[1:])
    still.delivery.broke(still.stream)
    still.stream.broken = False  # as outbound saw it, a moment ago
    still.tunnel.outbound._reading._end(still.stream)
    still.stream.broken = True
    still.outbound()
    still.inbound()
    assert still.queued() == [Frame.OPENED, Frame.END] and still.stream.ending is Ending.RESET_HERE
    assert still.tunnel.load == 0


def test_a_local_side_that_breaks_before_the_answer() -> None:
    with Half(False) as half:
        near, far = half.pair()
        half.stream(far)
        half.until(Frame.OPEN)
        reset(near)
        assert half.until(Frame.RESET) == RESET(1)[1:]
        assert half.gone().ending is Ending.RESET_HERE
        half.send(frames.address(Frame.OPENED, 1, Address("", 7)), DATA(1, b"x"), END(1))
        half.until_acked()


def test_data_for_a_broken_one_is_dropped_and_frees_no_limit(still: Still) -> None:
    still.far.close()
    while not still.stream.broken:
        still.data(b"x" * 1_000)
    before = still.stream.credit.taken if still.stream.credit else 0
    still.data(b"y" * 1_000)
    assert still.delivery.held == 0 and still.stream.credit is not None and still.stream.credit.taken == before
    still.outbound()
    assert still.stream.sending is Sending.OVER and still.queued()[-1] == Frame.RESET


def test_slots_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large payloads wait in the buffers that they came in."""
    slots = BufferPool(limits.SLOT, 1_000)
    monkeypatch.setattr(module, "SLOTS", slots)
    with Half(True, held=True) as half:
        far, other = half.reached(1, buffer=SMALL), half.reached(3, buffer=SMALL)
        half.pour(1, FULL)
        half.pour(3, FULL)
        assert half.seen() == [] and half.backlog > limits.WINDOW
        assert read_exactly(far, len(FULL)) == FULL
        half.send(RESET(3))
        assert read_exactly(other, len(FULL)) == FULL and was_reset(other)
        half.send(END(1))
        assert read_all(far) == b"" and len(slots._free) >= 6
