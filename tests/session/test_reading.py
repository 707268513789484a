"""Reading: whose turn it is, what is read under a limit, and how a local socket is left. No thread runs here."""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Iterator

import pytest
from held import pair
from loopback import reset
from plains import DATA, END, OPEN, OPENED, REFUSED, RESET
from roles import receive
from still import MOST, StillReading

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Frame
from nitrosocks_lib.net.buffers import BufferPool
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.session import reading as module
from nitrosocks_lib.session.dialling import Reached
from nitrosocks_lib.session.streams import Ending, Sending, Stream

WINDOW = limits.WINDOW


@pytest.fixture
def client() -> Iterator[StillReading]:
    made = StillReading(serving=False)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[StillReading]:
    made = StillReading(serving=True)
    yield made
    made.close()


# -- opening and answering --------------------------------------------------------------------------------------------


def test_streams_get_their_numbers_as_they_are_opened(client: StillReading) -> None:
    streams = [client.open() for _ in range(3)]
    assert [stream.number for stream in streams] == [1, 3, 5]
    assert client.queued() == [OPEN(1), OPEN(3), OPEN(5)] and client.tunnel.load == 3


def test_data_follows_open_at_once_up_to_the_first_window(client: StillReading) -> None:
    stream = client.open(tcp=True)
    client.near[1].setblocking(False)
    sent = client.near[1].send(bytes(4 * WINDOW))
    for _ in range(100):
        client.turn()
    opened, *data = client.queued()
    assert (
        opened == OPEN(1) and sum(len(plain) - 5 for plain in data) == min(sent, WINDOW) == stream.sent == stream.took
    )


def answered(server: StillReading, answer: bytes, *more: tuple[Frame, bytes]) -> tuple[Stream, socket.socket]:
    """A stream that the peer opened, answered; `more` comes before outbound looks at the answer."""
    receive(server.tunnel, Frame.OPEN, OPEN(1, port=0)[1:] if answer[0] == Frame.REFUSED else OPEN(1)[1:])
    stream = server.state.streams.by_number[1]
    near, far = pair()
    far.setblocking(False)
    if answer[0] == Frame.OPENED:
        server.tunnel.inbound.dialling.stop(1)
        server.tunnel.inbound.answers.answer(1, Reached(far, frames.Address("10.0.0.1", 7)))
    else:
        far.close()
    for frame, payload in more:
        receive(server.tunnel, frame, payload)
    server.near[1] = near
    server.tunnel.outbound._take_mail()
    return stream, near


def test_a_stream_flows_behind_its_answer(server: StillReading) -> None:
    stream, near = answered(server, OPENED(1))
    near.sendall(b"hello")
    server.turn()
    assert server.queued() == [OPENED(1), DATA(1, b"hello")] and stream.sending is Sending.FLOWING


def test_behind_a_refusal_nothing_is_said(server: StillReading) -> None:
    stream, _ = answered(server, REFUSED(1))
    assert [plain[0] for plain in server.queued()] == [Frame.REFUSED] and stream.sending is Sending.OVER
    server.reading.attend(stream)
    assert server.queued() == []


def test_behind_a_reset_no_answer_is_said_either(server: StillReading) -> None:
    """The target was reached, and RESET came before OPENED was queued."""
    stream, near = answered(server, OPENED(1), (Frame.RESET, RESET(1)[1:]))
    near.sendall(b"hello")
    server.turn()
    assert server.queued() == [] and stream.sending is Sending.OVER and server.reading._watched == 0
    server.tunnel.inbound._take_mail()
    assert server.tunnel.load == 0 and stream.local is None


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_limit_that_is_used_up_ends_the_watch_until_it_is_raised(client: StillReading) -> None:
    stream = client.opened(60)[0]
    stream.limit = 50
    client.turn()
    assert client.said() == [(1, 50)] and stream.stuck and not client.reading.may_look
    client.reading.attend(stream)
    client.turn()
    assert client.said() == []
    stream.limit = 70
    client.reading.attend(stream)
    client.turn()
    assert client.said() == [(1, 10)] and not stream.stuck and stream.sent == 60


def test_a_limit_raised_at_the_moment_it_was_found_used_up(
    client: StillReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """inbound does not see yet that the stream is stuck, and so posts nothing."""
    stream = client.opened(60)[0]
    stream.limit, real = 50, client.reading._unwatch

    def unwatch(each: Stream) -> None:
        each.limit = 70
        real(each)

    monkeypatch.setattr(client.reading, "_unwatch", unwatch)
    client.turn()
    client.turn()
    assert client.said() == [(1, 50), (1, 10)] and not stream.stuck


def test_one_that_is_stuck_delays_no_other(client: StillReading) -> None:
    stuck, free = client.opened(100_000, 100_000)
    stuck.limit = 10
    for _ in range(3):
        client.turn()
    sent = client.said()
    assert sum(size for number, size in sent if number == free.number) == 100_000
    assert sum(size for number, size in sent if number == stuck.number) == 10


# -- turns ------------------------------------------------------------------------------------------------------------


def test_one_frame_of_each_in_turn(client: StillReading) -> None:
    client.opened(3_000, 3_000, 3_000)
    client.turn(1_000)
    assert client.said() == [(1, 1_000), (3, 1_000), (5, 1_000)] * 3


def test_what_sends_little_goes_first(client: StillReading) -> None:
    """A keystroke beside two streams that move bulk: they have had their frames, it is their turn again."""
    client.opened(9_000, 9_000, 0)
    client.reading.look(0)
    client.reading.begin_turn()
    assert all(client.reading.read_next(1_000) for _ in range(2))
    client.near[5].sendall(b"k")
    client.reading.look(0)
    assert all(client.reading.read_next(1_000) for _ in range(2))
    assert client.said() == [(1, 1_000), (3, 1_000), (5, 1), (1, 1_000)]


def test_but_not_for_ever(client: StillReading) -> None:
    """Streams that always have something, never a full frame: enough of them to fill each turn."""
    client.opened(9_000, *[0] * 8)
    client.turn(9_000)
    client.near[1].sendall(bytes(9_000))
    assert client.said() == [(1, 9_000)]
    for _ in range(10):
        for number in range(3, 19, 2):
            client.near[number].sendall(bytes(900))
        client.reading.look(0)
        client.reading.begin_turn()
        assert all(client.reading.read_next(1_000) for _ in range(8))
    bulk = [size for number, size in client.said() if number == 1]
    assert 4 <= len(bulk) <= 6


def test_a_stream_waits_in_one_queue_once(client: StillReading) -> None:
    client.opened(10)
    for _ in range(3):
        client.reading.look(0)
    assert not client.reading.may_look and client.reading.read_next(MOST) and not client.reading.read_next(MOST)


def test_one_that_is_left_while_it_waits_is_passed_by(client: StillReading) -> None:
    stream = client.opened(10)[0]
    client.reading.look(0)
    receive(client.tunnel, Frame.REFUSED, REFUSED(1)[1:])
    client.tunnel.outbound._take_mail()
    assert client.reading.read_next(MOST) and client.queued() == [] and stream.took == 0


def test_a_socket_that_has_nothing_after_all(client: StillReading) -> None:
    client.opened(10)
    client.reading.look(0)
    stream = client.state.streams.by_number[1]
    assert stream.local is not None and stream.local.recv(100)
    assert client.reading.read_next(MOST) and client.queued() == []
    client.near[1].sendall(b"x")
    client.turn()
    assert client.said() == [(1, 1)]


def test_small_payloads_are_kept_as_copies_and_large_ones_in_their_slots(
    client: StillReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = BufferPool(limits.SLOT, 9)
    monkeypatch.setattr(module, "SLOTS", slots)
    streams = client.opened(limits.COPY_BELOW - 1, limits.COPY_BELOW)
    client.turn()
    kept = [(len(plain), slot is not None) for plain, slot in client.resend._kept][2:]
    assert kept == [(limits.COPY_BELOW + 4, False), (limits.COPY_BELOW + 5, True)] and slots._free == []
    assert [stream.took for stream in streams] == [limits.COPY_BELOW - 1, limits.COPY_BELOW]


# -- ends -------------------------------------------------------------------------------------------------------------


def test_the_end_is_said_behind_the_last_byte(client: StillReading) -> None:
    stream = client.opened(10)[0]
    client.near[1].shutdown(socket.SHUT_WR)
    client.turn()
    client.turn()
    assert [plain[0] for plain in client.queued()] == [Frame.DATA, Frame.END]
    assert stream.sending is Sending.ENDED and stream.sent_all and client.reading._watched == 0


@pytest.mark.parametrize("told", [False, True])
def test_a_reset_that_inbound_was_told_of_is_no_end(told: bool, client: StillReading) -> None:
    """The kernel tells of a reset once: to inbound, which writes at the same time, and may not have said so yet."""
    stream = client.open(tcp=True)
    reset(client.near[1])
    if told:
        assert stream.local is not None
        assert stream.local.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
    client.turn()
    assert client.queued() == [OPEN(1), RESET(1)]
    assert stream.sending is Sending.OVER and stream.ending is Ending.RESET_HERE and client.reading._watched == 0


def test_one_that_takes_no_more_is_reset_behind_what_it_says(client: StillReading) -> None:
    stream = client.opened(100)[0]
    stream.broken = True  # inbound could not write
    client.reading.attend(stream)
    client.turn(60)
    assert client.said() == [(1, 60), (1, 40)]
    client.near[1].close()
    client.turn()
    assert client.queued() == [RESET(1)] and stream.ending is Ending.RESET_HERE


@pytest.mark.parametrize("over", [False, True])
def test_one_that_takes_no_more_behind_its_end(over: bool, client: StillReading) -> None:
    stream = client.opened(0)[0]
    receive(client.tunnel, Frame.OPENED, OPENED(1)[1:])
    client.near[1].shutdown(socket.SHUT_WR)
    client.turn()
    assert client.queued() == [END(1)]
    stream.broken = True
    if over:
        receive(client.tunnel, Frame.END, END(1)[1:])
    client.reading.attend(stream)
    assert client.queued() == ([] if over else [RESET(1)]), "of a stream that is over nothing is said"


def test_no_watch_is_left_of_a_thousand_streams(client: StillReading) -> None:
    gc.collect()  # what earlier tests have left goes now, and not meanwhile
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(1_000):
        stream = client.open()
        receive(client.tunnel, Frame.OPENED, OPENED(stream.number)[1:])
        client.near.pop(stream.number).close()
        client.turn()
        receive(client.tunnel, Frame.END, END(stream.number)[1:])
        client.tunnel.inbound._take_mail()
        assert stream.ending is Ending.CLEAN
    assert client.reading._watched == 0 and client.tunnel.load == 0
    assert len(client.state.outbox.waiter._selector.get_map()) == 1, "its own wake"
    assert set(os.listdir("/proc/self/fd")) <= before
