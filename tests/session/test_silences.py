"""Streams of datagrams: borders, what is dropped, and the ends that silence and room for others make (UD)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from half import Half
from links import BOUND
from plains import DATA, END, OPEN, OPENED

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Abort, Frame, Kind, Reset
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.session.dialling import Reached
from nitrosocks_lib.session.streams import Ending, Stream

AT = Address("10.0.0.1", 7)
Pair = Callable[[], tuple[socket.socket, socket.socket]]


def packets() -> tuple[socket.socket, socket.socket]:
    """As an entry makes them, which tell an end."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def udp() -> tuple[socket.socket, socket.socket]:
    """As to a target: connected to each other."""
    ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for end in ends:
        end.bind(("127.0.0.1", 0))
    for end, other in zip(ends, reversed(ends), strict=True):
        end.connect(other.getsockname())
    return ends[0], ends[1]


class Datagrams(Half):
    def ends(self, pair: Pair) -> tuple[socket.socket, socket.socket]:
        near, far = pair()
        near.settimeout(BOUND)
        far.setblocking(False)
        return self.enter_context(near), far

    def target(self, number: int, pair: Pair = udp) -> socket.socket:  # type: ignore[override]
        """Of a server's half: the dial has its socket; the target's end."""
        near, far = self.ends(pair)
        self.dials.decide(number, Reached(far, AT))
        return near

    def begun(self, number: int) -> socket.socket:
        """OPEN to OPENED."""
        self.send(OPEN(number, kind=Kind.UDP))
        near = self.target(number)
        self.until(Frame.OPENED)
        return near

    def flow(self) -> tuple[socket.socket, Stream]:
        """Of a client's half: a stream that is open, and the entry's end."""
        near, far = self.ends(packets)
        stream = Stream(Target(Kind.UDP, "host", 7), far)
        self.tunnel.outbox.open(stream)
        number = wire.STREAM.unpack_from(self.until(Frame.OPEN))[0]
        self.send(OPENED(number))
        self.ping()
        return near, stream

    def ping(self) -> None:
        """All that was sent before is handled."""
        self.send(bytes([Frame.PING]) + bytes(8))
        self.until(Frame.PONG)

    @property
    def silences(self):  # type: ignore[no-untyped-def]
        return self.tunnel.inbound.delivery.silences


@pytest.fixture
def server() -> Iterator[Datagrams]:
    with Datagrams(True, held=True) as half:
        yield half


@pytest.fixture
def client() -> Iterator[Datagrams]:
    with Datagrams(False) as half:
        yield half


# -- borders ----------------------------------------------------------------------------------------------------------


def test_each_datagram_is_one_frame_both_ways(server: Datagrams) -> None:
    target = server.begun(1)
    for size in (1, 1_200, 9_000, 60_000, 65_507):
        server.send(DATA(1, bytes([size % 251]) * size))
        assert target.recv(1 << 16) == bytes([size % 251]) * size
        target.send(bytes([size % 241]) * size)
        assert server.until(Frame.DATA)[wire.STREAM.size :] == bytes([size % 241]) * size


def test_what_came_before_the_dial_keeps_its_borders_and_few_wait(server: Datagrams) -> None:
    server.send(OPEN(1, kind=Kind.UDP), *(DATA(1, b"%d" % i) for i in range(limits.DATAGRAMS_HELD + 3)))
    server.until_acked()
    target = server.target(1)
    server.until(Frame.OPENED)
    server.send(DATA(1, b"last"))
    assert [target.recv(100) for _ in range(limits.DATAGRAMS_HELD)] == [b"%d" % i for i in range(limits.DATAGRAMS_HELD)]
    assert target.recv(100) == b"last" and server.backlog == 0


def test_empty_ones_are_dropped_and_nobody_at_the_target_ends_nothing(server: Datagrams) -> None:
    target = server.begun(1)
    target.send(b"")
    target.send(b"one")
    assert server.until(Frame.DATA)[wire.STREAM.size :] == b"one"
    port, to = target.getsockname(), target.getpeername()
    target.close()
    server.send(DATA(1, b"nobody is there"))
    server.ping()  # the kernel has told the socket so by now
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.settimeout(BOUND)
        again.bind(port)
        again.connect(to)
        server.send(DATA(1, b"somebody is"))
        assert again.recv(100) == b"somebody is"
        again.send(b"back")
        assert server.until(Frame.DATA)[wire.STREAM.size :] == b"back"


# -- limits -----------------------------------------------------------------------------------------------------------


def test_the_limit_rises_with_each_that_was_taken(server: Datagrams) -> None:
    target = server.begun(1)
    window = server.tunnel.state.receive_window
    for i in range(1, 4):
        server.send(DATA(1, bytes(1_000)))
        target.recv(2_000)
        while server.limits.get(1) != window + 1_000 * i:
            server.read()


def test_data_beyond_the_limit_while_it_is_dialled(server: Datagrams) -> None:
    """Nobody has taken what waits for the target; where more than is held came, that counts as taken."""
    window = server.tunnel.state.receive_window
    server.send(OPEN(1, kind=Kind.UDP), *[DATA(1, bytes(window // 8))] * 8)
    server.ping()
    server.send(DATA(1, b"x"))
    assert server.aborted() == Abort.LIMIT


def test_what_the_limit_does_not_let_through_is_dropped_and_what_fits_passes(client: Datagrams) -> None:
    near, stream = client.flow()
    for _ in range(stream.limit // 60_000):
        near.send(bytes(60_000))
        client.until(Frame.DATA)
    near.send(bytes(60_000))
    near.send(b"small")
    assert client.until(Frame.DATA)[wire.STREAM.size :] == b"small"
    client.ack((1, 1 << 20))
    client.ping()
    near.send(bytes(60_000))
    assert len(client.until(Frame.DATA)) == wire.STREAM.size + 60_000


def test_what_comes_while_there_is_no_connection_is_dropped(client: Datagrams) -> None:
    near, _ = client.flow()
    client.leave()
    for _ in range(50):
        near.send(b"late")
    client.again()
    client.resend()
    client.ping()
    near.send(b"in time")
    assert client.until(Frame.DATA)[wire.STREAM.size :] == b"in time"


# -- ends -------------------------------------------------------------------------------------------------------------


def test_an_end_of_the_peer_is_answered_by_an_end(server: Datagrams) -> None:
    server.begun(1)
    server.send(END(1))
    server.until(Frame.END)
    assert server.gone().ending is Ending.CLEAN
    assert not server.silences  # nothing of it is kept


def test_the_entry_sees_that_its_datagrams_go_nowhere(client: Datagrams) -> None:
    near, stream = client.flow()
    client.silences.part(stream, Frame.END)
    client.until(Frame.END)
    with pytest.raises(BrokenPipeError):
        near.send(b"late")
    client.send(DATA(1, b"on its way"), END(1))
    assert near.recv(100) == b"on its way" and near.recv(100) == b""
    assert client.gone().ending is Ending.CLEAN


def test_an_entry_that_closes_its_end_ends_the_stream(client: Datagrams) -> None:
    near, _ = client.flow()
    near.send(b"last")
    near.close()
    assert client.until(Frame.DATA)[wire.STREAM.size :] == b"last"
    client.until(Frame.END)
    client.send(DATA(1, b"nobody takes it"), END(1))
    assert client.gone().ending is Ending.CLEAN


@pytest.mark.parametrize("speaks", [False, True])
def test_silence_ends_it_and_a_datagram_either_way_is_none(speaks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with Datagrams(True, held=True) as server:
        target, silences = server.begun(1), server.silences
        (stream,) = server.tunnel.state.streams.all()
        server.leave()  # the test is the thread now
        at = stream.heard_at + limits.DATAGRAMS_IDLE
        if speaks:
            stream.spoke_at = at - 1.0
            assert silences.due(at) == at - 1.0 + limits.DATAGRAMS_IDLE and not stream.parting
        else:
            assert silences.due(at - 0.1) == at and not stream.parting
            silences.due(at)
            assert stream.parting == Frame.END
            server.again()
            server.until(Frame.END)
            server.send(END(1))
            assert server.gone().ending is Ending.CLEAN
            assert silences.due(at + limits.DATAGRAMS_IDLE) is None
        target.close()


def test_the_inbound_thread_looks_for_silence_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DATAGRAMS_IDLE", 0.05)
    with Datagrams(True, held=True) as server:
        server.begun(1)
        server.until(Frame.END)


def test_room_is_made_by_the_one_that_was_silent_longest(server: Datagrams) -> None:
    targets = [server.begun(number) for number in (1, 3, 5)]
    targets[0].send(b"still here")
    server.until(Frame.DATA)
    server.silences.make_room(server.tunnel.state.streams.by_number[5])
    number, why = frames.parse_refusal(server.until(Frame.RESET), Frame.RESET)
    assert (number, why.code) == (3, Reset.LIMIT)
    assert server.gone().number == 3 and server.tunnel.load == 2
    server.silences.make_room(server.tunnel.state.streams.by_number[1])
    assert frames.parse_refusal(server.until(Frame.RESET), Frame.RESET)[0] == 5
    server.silences.make_room(server.tunnel.state.streams.by_number[1])
    server.ping()
    assert server.tunnel.state.streams.by_number[1].parting == 0
