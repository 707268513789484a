"""PipeLink: a session's end of a pipe, with the carrier at the other."""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Iterator

import pytest
from links import BOUND, Threads, fill, receive, send

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.pipe import PipeLink, Progress, is_left, pair
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait

Ends = tuple[PipeLink, socket.socket, Progress]


@pytest.fixture
def ends() -> Iterator[Ends]:
    progress = Progress()
    link, far = pair(progress, "192.0.2.7", presented=b"p" * 32)
    yield link, far, progress
    link.close()
    far.close()


@pytest.fixture
def small() -> Iterator[tuple[PipeLink, PipeLink]]:
    link, far = pair(Progress(), buffer=8_192)
    other = PipeLink(far, Progress())
    yield link, other
    link.close()
    other.close()


def test_both_directions_at_once_through_small_buffers(small: tuple[PipeLink, PipeLink]) -> None:
    near, far = small
    up, down = os.urandom(1 << 20), os.urandom(1 << 20)
    got: dict[str, bytes] = {}
    with Threads() as threads:
        threads.start(send, near, up, 1)
        threads.start(send, far, down, 2)
        threads.start(lambda: got.update(up=receive(far, len(up), 3)))
        threads.start(lambda: got.update(down=receive(near, len(down), 4)))
    assert got == {"up": up, "down": down}


def test_a_full_pipe_stops_the_writer_and_what_is_taken_out_lets_it_go_on(ends: Ends) -> None:
    link, far, _ = ends
    data = os.urandom(4 * limits.PIPE)
    at = fill(link, data)
    assert limits.PIPE // 2 <= at <= 2 * limits.PIPE, "bounded, and a full turn fits"
    assert link.write_some(memoryview(data)[at:]) == 0 and link.write_wants == select.POLLOUT
    assert far.recv(at) == data[:at]
    assert link.write_some(memoryview(data)[at:]) > 0


def test_a_read_says_what_is_left(ends: Ends) -> None:
    link, far, _ = ends
    room = memoryview(bytearray(4))
    assert link.read_some(room) == 0 and link.dry and link.read_wants == select.POLLIN
    far.send(b"123456")
    assert link.read_some(room) == 4 and not link.dry
    assert link.read_some(room) == 2 and link.dry and bytes(room[:2]) == b"56"


def test_what_is_queued_is_what_the_carrier_has_not_said_it_has(ends: Ends) -> None:
    link, far, progress = ends
    assert link.queued() == (0, 0, 0.0)
    assert link.write_some(memoryview(bytes(1_000))) == 1_000
    assert link.queued() == (1_000, 1_000, 0.0) and link.unacknowledged() == 1_000
    far.recv(1_000)
    assert link.queued() == (1_000, 1_000, 0.0), "out of the pipe is not on its way"
    progress.sent, progress.acknowledged, progress.round_trip = 900, 300, 0.25
    assert link.queued() == (100, 700, 0.25) and link.unacknowledged() == 700


def test_it_tells_what_it_was_given(ends: Ends) -> None:
    link, _, progress = ends
    assert link.remote() == "192.0.2.7" and link.presented_hash() == b"p" * 32
    progress.certificate, progress.version = b"certificate", "TLSv1.3"
    assert link.certificate() == b"certificate" and any(link.certificate_hash())
    assert link.version() == "TLSv1.3"
    assert link.silent() == math.inf
    bare, far = pair(Progress())
    assert bare.remote() == "" and bare.certificate_hash() == bytes(32)
    bare.close()
    far.close()


# -- the end ----------------------------------------------------------------------------------------------------------


def test_the_carriers_end_is_seen_behind_its_last_byte(ends: Ends) -> None:
    link, far, _ = ends
    far.send(b"last")
    far.close()
    assert link.read_exactly(4, now() + BOUND) == b"last"
    with pytest.raises(NetworkError, match="ended"):
        link.read_exactly(1, now() + BOUND)
    with pytest.raises(NetworkError, match="broke"):
        link.write_some(memoryview(b"x"))


def test_a_carrier_that_left_something_unread_is_an_end_too(ends: Ends) -> None:
    link, far, _ = ends
    link.write_all(b"unread", now() + BOUND)
    far.close()
    with pytest.raises(NetworkError, match="broke"):
        link.read_exactly(1, now() + BOUND)


@pytest.mark.parametrize("end", ["abort", "break_off"])
def test_an_end_by_another_thread_wakes_who_waits(ends: Ends, end: str) -> None:
    link, far, _ = ends
    with Threads() as threads:

        def read() -> None:
            with pytest.raises(NetworkError):
                link.read_exactly(1, now() + BOUND)

        threads.start(read)
        getattr(link, end)()
    assert far.recv(1) == b"", "and the carrier sees it"
    link.close()
    getattr(link, end)()


def test_a_goodbye_ends_one_direction_and_reads_the_other_until_its_end(ends: Ends) -> None:
    link, far, _ = ends
    link.write_all(b"last words", now() + BOUND)
    far.send(bytes(50_000))
    with Threads() as threads:
        threads.start(link.say_goodbye, now() + BOUND)
        assert wait({far.fileno(): select.POLLIN}, BOUND) and far.recv(100) == b"last words"
        assert wait({far.fileno(): select.POLLIN}, BOUND) and far.recv(100) == b""
        assert far.send(b"answer") == 6
        far.shutdown(socket.SHUT_WR)
    link.close(now() + BOUND)


def test_a_goodbye_waits_no_longer_than_its_deadline(ends: Ends) -> None:
    link, far, _ = ends
    link.close(now() + 0.05)
    assert far.recv(1) == b""


def test_the_carrier_sees_that_nobody_is_left() -> None:
    link, end = pair(Progress())
    assert not is_left(end)
    link.write_some(memoryview(b"last words"))
    link.close()
    assert is_left(end) and end.recv(100) == b"last words"
    end.close()
