"""Stream: its end is reported once, its socket closed once, and only what carried nothing may be moved."""

from __future__ import annotations

import socket
import threading

import pytest
from loopback import was_reset

from nitrosocks_lib.facts.wire import Reset
from nitrosocks_lib.protocol.frames import Reason, Target
from nitrosocks_lib.session.streams import Stream, Ticket

TARGET, REASON = Target(1, "host", 1), Reason(5, "")


@pytest.fixture
def ends():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), 20) as near,
        listener.accept()[0] as far,
    ):
        yield near, far


def test_a_ticket_is_taken_once_by_many_threads() -> None:
    for _ in range(100):
        ticket, meeting, taken = Ticket(), threading.Barrier(4), []

        def take(ticket: Ticket = ticket, meeting: threading.Barrier = meeting, taken: list = taken) -> None:
            meeting.wait(20)
            taken.append(ticket.take())

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(taken) == [False, False, False, True] and not ticket.take()


@pytest.mark.parametrize("abruptly", [True, False])
def test_the_local_socket_is_closed_once(abruptly: bool, ends) -> None:
    near, far = ends
    stream = Stream(TARGET, far)
    stream.close_local(abruptly)
    stream.close_local(not abruptly)
    assert stream.closed and far.fileno() == -1 and was_reset(near) is abruptly


def test_without_a_local_socket_there_is_nothing_to_close() -> None:
    stream = Stream(TARGET, None)
    stream.close_local(abruptly=True)
    assert not stream.closed, "a dial may still bring one"


def test_a_socket_that_knows_no_linger() -> None:
    near, far = socket.socketpair()
    with near:
        Stream(TARGET, far).close_local(abruptly=True)
        assert near.recv(1) == b""


@pytest.mark.parametrize(
    ("field", "value"),
    [("lost", "gone"), ("failed", True), ("reset_out", Reset.LOCAL), ("refused", REASON), ("reset_in", REASON)],
)
def test_what_is_no_good_end(field: str, value: object) -> None:
    stream = Stream(TARGET, None)
    assert stream.ended_well
    setattr(stream, field, value)
    assert not stream.ended_well


def test_the_end_is_reported_once() -> None:
    told: list[Stream] = []
    stream = Stream(TARGET, None, told.append)
    stream.report()
    stream.report()
    assert told == [stream]
    Stream(TARGET, None).report()


def test_a_stream_that_carried_nothing_may_be_moved() -> None:
    near, far = socket.socketpair()
    with near, far:
        told: list[Stream] = []
        stream = Stream(TARGET, far, told.append, early=True)
        moved = stream.again()
        assert moved is not None and (moved.target, moved.local, moved.finished) == (TARGET, far, told.append)
        assert stream.local is None and stream.finished is None and moved.untouched
        stream.close_local(abruptly=True)
        stream.report()
        assert told == [] and far.fileno() >= 0, "the old one has no say any more"


@pytest.mark.parametrize("field", ["answered", "took_data", "closed", "failed", "reset_sent", "reset_out"])
def test_others_may_not(field: str) -> None:
    stream = Stream(TARGET, None)
    setattr(stream, field, Reset.LOCAL if field == "reset_out" else True)
    assert not stream.untouched and stream.again() is None
