"""Datagrams between the product and an independent peer, on either side (protocol UD1 to UD6)."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import datagramming
import peer
import pytest
import visits
from hosts import TARGET, Host
from peer_judge import Server
from peer_streams import BLOCK, at
from program import Site, port_of
from visits import BOUND, Served, Visit, Visitor, synced, until, violates

UDP = 3
SIZES = (1, 1_200, 9_000, 60_000, 65_507)
SPEC = "udp:0:{1}:{0}".format(*TARGET)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Site(tmp_path_factory.mktemp("datagrams")) as site:
        made = Served(site, permit="udp:127.0.0.1:*")
        words = "permit", "peer", "--listen", "udp:127.0.0.1:*", "--home", site.home
        done = site.run(*words)
        assert done.returncode == 0, done.stderr
        yield made
        made.process.popen.kill()


visit, visitor = visits.visit, visits.visitor


target = datagramming.target


def begun(visitor: Visitor, target: socket.socket) -> tuple[int, tuple[str, int]]:
    """A stream to a target: its number, and where the target sees it come from."""
    port = target.getsockname()[1]
    number = visitor.open(port, kind=UDP)
    visitor.data(number, b"first")  # which waits for no answer
    visitor.answered(number)
    assert visitor.streams[number].answer == (peer.OPENED, at(port)[1:])
    datagram, sender = target.recvfrom(100)
    assert datagram == b"first"
    return number, sender


def pieces(side: Visitor | Server, number: int, since: int) -> list[bytes]:
    """What each DATA of a stream had, of the frames that were heard since."""
    named = struct.pack(">I", number)
    return [payload[4:] for kind, payload in side.heard[since:] if kind == peer.DATA and payload[:4] == named]


# The product serves


def test_one_datagram_a_frame_both_ways(visitor: Visitor, target: socket.socket) -> None:
    number, sender = begun(visitor, target)
    since = len(visitor.heard)
    for size in SIZES:
        visitor.data(number, bytes([size % 251]) * size)
        assert target.recv(1 << 16) == bytes([size % 251]) * size
        target.sendto(bytes([size % 241]) * size, sender)
        visitor.gather(number, size)
    assert [len(each) for each in pieces(visitor, number, since)] == list(SIZES)


def test_what_no_socket_takes_is_dropped_and_the_limit_rises(visitor: Visitor, target: socket.socket) -> None:
    number, _ = begun(visitor, target)
    for _ in range(3):  # each is nearly a window
        visitor.read(lambda: visitor.streams[number].may - visitor.streams[number].sent >= BLOCK)
        visitor.data(number, bytes(BLOCK))
    visitor.data(number, b"fits")
    assert target.recv(100) == b"fits"


def test_an_end_is_answered_and_nothing_passes_behind_it(visitor: Visitor, target: socket.socket) -> None:
    number, sender = begun(visitor, target)
    visitor.end(number)
    visitor.closed(number)
    target.sendto(b"late", sender)
    again, other = begun(visitor, target)
    assert again == number + 2 and other != sender and not visitor.streams[number].got


def test_ends_and_resets_cross(visitor: Visitor, target: socket.socket) -> None:
    """Whatever comes behind the end of a stream is ignored, as of any stream."""
    numbers = [begun(visitor, target)[0] for _ in range(3)]
    for number in numbers:
        visitor.tell(peer.END, number)
        visitor.tell(peer.RESET, number, b"\1")
    visitor.closed(*numbers)
    begun(visitor, target)


def test_nobody_at_the_target_is_no_end(visit: Visit, visitor: Visitor, target: socket.socket) -> None:
    number, sender = begun(visitor, target)
    port = target.getsockname()[1]
    target.close()
    for _ in range(5):
        visitor.data(number, b"to nobody")
        synced(visitor)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
        again.sendto(b"back", sender)
        assert visitor.gather(number, 4) == b"back"


def test_what_is_not_permitted_is_refused(visitor: Visitor, target: socket.socket) -> None:
    number = visitor.open(target.getsockname()[1], "127.0.0.2", UDP)
    visitor.data(number, b"no")
    visitor.answered(number)
    assert visitor.streams[number].answer[0] == peer.REFUSED and visitor.streams[number].answer[1][:1] == b"\2"


def test_it_goes_on_over_a_new_connection(visitor: Visitor, target: socket.socket) -> None:
    number, sender = begun(visitor, target)
    visitor.cut()
    visitor.again()
    visitor.data(number, b"again")
    assert target.recv(100) == b"again"
    target.sendto(b"still here", sender)
    assert visitor.gather(number, 10) == b"still here"


def test_a_session_is_not_released_with_one_open(visit: Visit, target: socket.socket) -> None:
    visitor = visit.visitor()
    begun(visitor, target)
    violates(visitor, [(peer.DISCONNECT, b"")])


def test_who_sends_to_a_listener_has_a_stream(visitor: Visitor) -> None:
    visitor.listen(kind=UDP)
    port = int.from_bytes(until(visitor, peer.LISTENING)[5:7])
    for number in (2, 4):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            near.settimeout(BOUND)
            near.connect(("127.0.0.1", port))
            near.send(b"asked")
            name = struct.pack(">IIH", number, 1, near.getsockname()[1]) + b"127.0.0.1"
            assert until(visitor, peer.ACCEPTED) == name
            assert visitor.gather(number, 5) == b"asked"
            visitor.opened(number)
            visitor.data(number, b"answer")
            assert near.recv(100) == b"answer"


# The product is the client


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Server, int]]:
    """A client with -L udp: to TARGET, the peer that it visits, and its port."""
    with Site(tmp_path_factory.mktemp("hosting")) as site, Host(site) as host:
        server = host.forward("-L", SPEC)
        assert host.process is not None and host.process.out is not None
        yield host, server, port_of(host.process.out.wait("forwarding udp:").partition(" to ")[0])


@pytest.fixture
def near(hosting: tuple[Host, Server, int]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(BOUND)
        sock.connect(("127.0.0.1", hosting[2]))
        yield sock


def comes(server: Server, *datagrams: bytes) -> int:
    """A new stream to the target, and what comes on it before it is answered."""
    opened = until(server, peer.OPEN)
    number, since = int.from_bytes(opened[:4]), len(server.heard)
    assert opened[4:] == at(TARGET[0], TARGET[1], UDP)
    server.gather(number, sum(map(len, datagrams)))
    assert pieces(server, number, since) == list(datagrams)
    return number


def over(server: Server, number: int) -> None:
    server.end(number)
    server.closed(number)


def test_early_datagrams_and_all_sizes(hosting: tuple[Host, Server, int], near: socket.socket) -> None:
    _, server, _ = hosting
    near.send(b"one")
    near.send(b"")  # is dropped
    near.send(b"two")
    number = comes(server, b"one", b"two")
    server.opened(number, *TARGET)
    for size in SIZES:
        server.data(number, bytes([size % 251]) * size)
        assert near.recv(1 << 16) == bytes([size % 251]) * size
        since = len(server.heard)
        near.send(bytes([size % 241]) * size)
        server.gather(number, size)
        assert pieces(server, number, since) == [bytes([size % 241]) * size]
    over(server, number)


@pytest.mark.parametrize("how", ["end", "reset", "refused"])
def test_a_stream_that_is_over_gives_way_to_a_new_one(
    hosting: tuple[Host, Server, int], near: socket.socket, how: str
) -> None:
    _, server, _ = hosting
    near.send(b"one")
    number = comes(server, b"one")
    if how == "refused":
        server.refused(number, 1)
    else:
        server.opened(number, *TARGET)
        (over if how == "end" else Server.reset)(server, number)
    synced(server)
    since = len(server.heard)
    near.settimeout(0.05)
    for _ in range(400):  # what comes while it ends may go nowhere
        near.send(b"two")
        with contextlib.suppress(TimeoutError):
            near.recv(1)
        if synced(server):
            break
    assert peer.OPEN in [kind for kind, _ in server.heard[since:]] and server.alive().popitem()[0] == number + 2


def test_what_is_larger_than_a_datagram_is_dropped(hosting: tuple[Host, Server, int], near: socket.socket) -> None:
    _, server, _ = hosting
    near.send(b"one")
    number = comes(server, b"one")
    server.opened(number, *TARGET)
    server.data(number, bytes(BLOCK))
    server.read(lambda: server.streams[number].may - server.streams[number].sent > 10)
    server.data(number, b"fits")
    assert near.recv(1 << 16) == b"fits"
    over(server, number)
