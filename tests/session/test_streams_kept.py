"""session/streams: a Stream and a Table by themselves: ends that are decided once, sockets closed once, numbers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from alone import TARGET
from loopback import read_exactly, was_reset

from nitrosocks_lib.protocol.frames import Address
from nitrosocks_lib.protocol.receiving import Peer
from nitrosocks_lib.session.streams import Ending, Sending, Stream, Table

BOUND = 20.0  # seconds until a wait is given up


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), BOUND) as near,
        listener.accept()[0] as far,
    ):
        yield near, far


def test_the_first_end_decides() -> None:
    stream = Stream(TARGET, None)
    assert stream.end(Ending.LOST, "cut", 2)
    assert not stream.end(Ending.CLEAN)
    assert (stream.ending, stream.reason, stream.detail) == (Ending.LOST, "cut", 2)


def test_of_many_threads_one_decides() -> None:
    for _ in range(50):
        stream, meeting = Stream(TARGET, None), threading.Barrier(4)
        won: list[Ending] = []

        def end(ending: Ending, stream: Stream = stream, meeting: threading.Barrier = meeting, won: list = won) -> None:
            meeting.wait(BOUND)
            if stream.end(ending, ending.name):
                won.append(ending)

        threads = [threading.Thread(target=end, args=[ending]) for ending in list(Ending)[:4]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
        assert won == [stream.ending] and stream.reason == won[0].name


@pytest.mark.parametrize("sending", Sending)
@pytest.mark.parametrize("peer", Peer)
def test_when_a_stream_is_over(sending: Sending, peer: Peer) -> None:
    """With END in both directions, or with RESET or REFUSED of either side (protocol ST4)."""
    stream = Stream(TARGET, None)
    stream.sending, stream.peer = sending, peer
    both = (sending, peer) == (Sending.ENDED, Peer.ENDED)
    assert stream.over == (both or sending is Sending.OVER or peer is Peer.OVER)


@pytest.mark.parametrize("ending", Ending)
def test_the_local_socket_is_closed_once_and_reset_unless_all_ended_well(
    ending: Ending, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    stream = Stream(TARGET, far)
    stream.end(ending)
    stream.close_local()
    stream.close_local()
    assert far.fileno() == -1 and was_reset(near) == (ending is not Ending.CLEAN)


@pytest.mark.parametrize("reached", [False, True])
def test_a_socket_that_goes_with_its_process_is_reset(ends: tuple[socket.socket, socket.socket], reached: bool) -> None:
    near, far = ends
    stream = Stream(TARGET, None if reached else far)
    if reached:
        stream.reach(far, Address("127.0.0.1", 1))
    far.sendall(b"part")
    assert read_exactly(near, 4) == b"part"
    far.close()  # as the kernel does
    assert was_reset(near)


def test_without_a_local_socket_there_is_nothing_to_close() -> None:
    Stream(TARGET, None).close_local()


def test_a_socket_that_knows_no_reset_is_closed_all_the_same() -> None:
    near, far = socket.socketpair()
    with near:
        Stream(TARGET, far).close_local()
        assert near.recv(1) == b""


def test_the_end_is_reported_once() -> None:
    told: list[Stream] = []
    stream = Stream(TARGET, None, told.append)
    stream.report()
    stream.report()
    assert told == [stream]
    Stream(TARGET, None).report()


def test_a_stream_that_carried_nothing_may_be_moved(ends: tuple[socket.socket, socket.socket]) -> None:
    far = ends[1]
    told: list[Stream] = []
    stream = Stream(TARGET, far, told.append)
    assert stream.untouched
    moved = stream.again()
    assert (moved.target, moved.local, moved.moves) == (TARGET, far, 1) and moved.untouched
    stream.close_local()
    stream.report()
    assert told == [] and far.fileno() >= 0, "the old one has no say any more"
    moved.report()
    assert told == [moved] and moved.again().moves == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("answered", True), ("took", 1), ("ending", Ending.LOST), ("sending", Sending.ENDED), ("sending", Sending.OVER)],
)
def test_others_may_not(field: str, value: object) -> None:
    stream = Stream(TARGET, None)
    setattr(stream, field, value)
    assert not stream.untouched


@pytest.mark.parametrize("serving", [False, True])
def test_a_table_knows_what_was_opened_and_gives_each_side_its_numbers(serving: bool) -> None:
    table = Table(serving)
    assert not any(table.known(number) for number in range(8)) and len(table) == 0
    ours = [table.ours.take() for _ in range(3)]
    assert ours == ([2, 4, 6] if serving else [1, 3, 5])
    assert [number for number in range(8) if table.known(number)] == ours
    streams = [Stream(TARGET, None) for _ in ours]
    for number, stream in zip(ours, streams, strict=True):
        table.add(stream, number)
    assert [stream.number for stream in table.all()] == ours and len(table) == 3
    del table.by_number[ours[0]]
    assert table.known(ours[0]), "what is over was opened once"
