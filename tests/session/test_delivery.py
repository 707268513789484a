"""Delivery: early data, slow local sockets, and what came before END, RESET and the session's end."""

from __future__ import annotations

import os
import socket

import pytest
from half import Half
from links import Threads
from loopback import is_silent, read_all, read_exactly, was_reset
from plains import DATA, END, OPEN, OPENED, REFUSED, RESET
from scarce import no_threads

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Abort, Frame, Reply, Reset
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.session.dialling import Unreached
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending, Request

SMALL = 4_608  # bytes of the kernel's buffers, so that a local socket is soon slow
WINDOW = limits.WINDOW
FULL = os.urandom(WINDOW)  # more than all buffers of that size hold, and what may be sent without a raised limit


def server(**options) -> Half:
    return Half(True, held=True, **options)


def number_of(payload: bytes) -> int:
    return int(wire.STREAM.unpack_from(payload)[0])


# -- before the answer ------------------------------------------------------------------------------------------------


def test_what_came_before_the_answer_is_delivered_behind_it() -> None:
    with server() as half:
        half.send(OPEN(1), DATA(1, b"early "), DATA(1, b"data"))
        assert half.seen() == [] and half.backlog == 10
        far = half.reach(1)
        assert read_exactly(far, 10) == b"early data" and half.until(Frame.OPENED)
        half.send(DATA(1, b" more"))
        assert read_exactly(far, 5) == b" more" and half.backlog == 0


def test_small_frames_are_held_together() -> None:
    """What a byte costs while it is held does not depend on how it was cut."""
    with server() as half:
        half.send(OPEN(1), *(DATA(1, FULL[i : i + 1]) for i in range(5_000)))
        half.send(DATA(1, FULL[5_000:40_000]), *(DATA(1, FULL[i : i + 3]) for i in range(40_000, 49_000, 3)))
        half.until_acked()
        (stream,) = half.tunnel.state.streams.all()
        assert half.backlog == 49_000 and len(stream.backlog) <= 4
        far = half.reach(1)
        assert read_exactly(far, 49_000) == FULL[:49_000] and half.until(Frame.OPENED)


def test_a_frame_that_is_held_costs_twice_its_size_at_most() -> None:
    with server() as half:
        half.send(OPEN(1), *(DATA(1, FULL[:size]) for size in (limits.COPY_BELOW, limits.SLOT // 2 - 1, 60_000)))
        half.until_acked()
        (stream,) = half.tunnel.state.streams.all()
        assert len(stream.backlog) == 3
        assert all(slot is None or len(slot) <= 2 * len(rest) for rest, slot in stream.backlog)


@pytest.mark.parametrize("size", [0, 1, WINDOW])
def test_an_end_before_the_answer_too(size: int) -> None:
    with server() as half:
        half.send(OPEN(1))
        half.pour(1, FULL[:size])
        half.send(END(1))
        assert half.seen() == []
        far = half.reach(1, buffer=SMALL)
        assert read_all(far) == FULL[:size]
        far.sendall(b"answer")
        far.close()
        assert half.until(Frame.OPENED) and half.gather(1, 6) == b"answer" and half.until(Frame.END)
        assert half.gone().ending is Ending.CLEAN


def test_a_reset_before_the_answer_stops_the_dial() -> None:
    with server() as half:
        half.send(OPEN(1), DATA(1, b"early"), RESET(1, Reset.LOCAL))
        stream = half.gone()
        assert half.dials.stopped == [1] and (stream.ending, stream.detail) == (Ending.RESET_THERE, Reset.LOCAL)
        assert half.seen() == [] and half.backlog == 0 and half.tunnel.load == 0
        half.send(DATA(1, b"late"), END(1))  # it is over: ignored, and counted
        half.until_acked()


def test_a_dial_that_was_done_when_the_reset_came_is_closed() -> None:
    with server() as half:
        half.send(OPEN(1), RESET(1))
        half.gone()
        assert is_silent(half.reach(1)) is False  # told all the same, as a race may have it


def test_a_refusal_drops_what_came() -> None:
    with server() as half:
        half.send(OPEN(1), DATA(1, b"early"), END(1))
        assert half.seen() == []
        half.dials.decide(1, Unreached(Reply.CONNECTION_REFUSED, "nobody there"))
        assert half.until(Frame.REFUSED) == REFUSED(1, text="nobody there")[1:]
        stream = half.gone()
        assert (stream.ending, stream.reason) == (Ending.REFUSED, "nobody there") and half.backlog == 0
        half.send(DATA(1, b"late"), RESET(1))
        assert half.seen() == []


def test_a_refused_stream_of_ours_resets_its_local_socket() -> None:
    with Half(False) as half:
        near, far = half.pair()
        half.stream(far)
        half.send(REFUSED(number_of(half.until(Frame.OPEN)), Reply.NOT_PERMITTED))
        stream = half.gone()
        assert (stream.ending, stream.detail, stream.reason) == (Ending.REFUSED, 2, "reason 2") and was_reset(near)


# -- slow local sockets -----------------------------------------------------------------------------------------------


def test_one_that_takes_nothing_delays_no_other() -> None:
    with server() as half, Threads() as threads:
        slow, fast = half.reached(1, buffer=SMALL), half.reached(3, buffer=SMALL)
        half.send(*(DATA(1, FULL[at : at + 32_768]) for at in range(0, WINDOW, 32_768)))
        got: list[bytes] = []
        threads.start(lambda: got.append(read_exactly(fast, 4 * WINDOW)))
        half.pour(3, FULL * 4)
        threads.join()
        assert got == [FULL * 4] and WINDOW // 2 < half.backlog <= WINDOW
        assert read_exactly(slow, WINDOW) == FULL
        half.send(DATA(1, b"x"))
        assert read_exactly(slow, 1) == b"x" and half.backlog == 0
        assert half.seen() == [] and len(half.tunnel.state.inbox.waiter._selector.get_map()) == 2, (
            "the wake and the link"
        )


def test_a_local_side_that_takes_nothing_delays_no_other() -> None:
    with Half(False) as half, Threads() as threads:
        (slow, _), (fast, _) = half.opened(buffer=SMALL), half.opened(buffer=SMALL)
        half.pour(1, FULL)
        got: list[bytes] = []
        threads.start(lambda: got.append(read_exactly(fast, 4 * WINDOW)))
        half.pour(3, FULL * 4)
        threads.join()
        assert got == [FULL * 4] and read_exactly(slow, WINDOW) == FULL


def test_a_limit_counts_what_came_where_the_local_side_is_told_something_else() -> None:
    """As of an answer whose head gets a line; and what is told as it comes, from then on, passes as it is."""
    changed = [(b"longer than that", False), (b"", False), (FULL, True)]
    with Half(False) as half:
        near, far = half.pair(buffer=SMALL)
        request = Request(b"", lambda address: b"", lambda local, code, reason: None, None, lambda came: changed.pop(0))
        half.stream(far, request=request)
        number = number_of(half.until(Frame.OPEN))
        half.send(OPENED(number), *(DATA(number, came) for came in (b"short", b"none", b"few", b"more")))
        half.until_acked()
        (stream,) = half.tunnel.state.streams.all()
        assert read_exactly(near, 16 + WINDOW + 4) == b"longer than that" + FULL + b"more"
        half.send(DATA(number, b"x"), END(number))
        assert read_all(near) == b"x" and half.backlog == 0
        near.close()
        assert half.gone() is stream
        assert stream.credit.taken == stream.credit.received == len(b"shortnonefewmorex")


SIZES = pytest.mark.parametrize("size", [1, limits.COPY_BELOW - 1, limits.COPY_BELOW, 3 << 20])


@SIZES
@pytest.mark.parametrize("ends", [Frame.END, Frame.RESET])
def test_what_came_before_the_end_arrives_before_it(ends: Frame, size: int) -> None:
    data = os.urandom(size)
    with server() as half, Threads() as threads:
        far = half.reached(1, buffer=SMALL)
        threads.start(lambda: (half.pour(1, data), half.send(END(1) if ends is Frame.END else RESET(1))))
        assert read_exactly(far, size) == data
        assert far.recv(1) == b"" if ends is Frame.END else was_reset(far)
        threads.join()


def test_a_reset_waits_for_what_the_kernel_holds() -> None:
    """All is with the kernel, no backlog is left: a RST now would make it forget what the target has not taken."""
    with server() as half:
        far = half.reached(1)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        half.send(DATA(1, FULL[:60_000]), RESET(1, Reset.IDLE))
        assert half.seen() == []
        assert read_exactly(far, 60_000) == FULL[:60_000] and was_reset(far)
        stream = half.gone()
        assert (stream.ending, stream.reason) == (Ending.RESET_THERE, "it was idle for too long")


def test_a_reset_behind_an_end_ends_the_other_direction() -> None:
    with server() as half:
        far = half.reached(1)
        half.send(DATA(1, b"x"), END(1))
        assert read_all(far) == b"x"
        far.sendall(b"y")
        assert half.gather(1, 1) == b"y"
        half.send(RESET(1))
        assert half.gone().ending is Ending.RESET_THERE
        with pytest.raises(OSError):
            far.sendall(b"z" * WINDOW)


# -- a session that is over -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_held_when_the_session_ends_is_delivered(clean: bool) -> None:
    with server() as half:
        far = half.reached(1, buffer=SMALL)
        if clean:
            far.shutdown(socket.SHUT_WR)
            half.until(Frame.END)
        half.pour(1, FULL)
        half.send(*[END(1)] * clean, frames.abort(Abort.OTHER, "no more"))
        assert half.over() is Outcome.OVER
        half.dispose("over")
        assert half.backlog > 0
        assert read_exactly(far, WINDOW) == FULL
        assert far.recv(1) == b"" if clean else was_reset(far)
        stream = half.gone()
        assert stream.ending is (Ending.CLEAN if clean else Ending.LOST)
        assert half.backlog == half.tunnel.load == 0


def test_what_waits_for_a_dial_when_the_session_ends_is_not() -> None:
    with server() as half:
        half.send(OPEN(1), DATA(1, b"early"), frames.abort(Abort.OTHER, ""))
        assert half.over() is Outcome.OVER
        half.dispose("over")
        assert half.gone().ending is Ending.LOST and half.backlog == half.tunnel.load == 0


def test_without_a_thread_for_it_what_is_held_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as half:
        far = half.reached(1, buffer=SMALL)
        half.pour(1, FULL)
        half.send(frames.abort(Abort.OTHER, ""))
        half.over()
        with no_threads("delivery"):
            half.dispose("over")
        assert half.backlog == half.tunnel.load == 0
        with pytest.raises(ConnectionResetError):
            while far.recv(1 << 16):
                pass
