"""Listeners between the product and an independent peer, on either side (protocol LI1 to LI7)."""

import contextlib
import socket
import struct
from collections.abc import Iterator

import peer
import pytest
from hosts import Host
from peer_judge import PeerError, Server
from peer_streams import at
from program import Process, Site
from targets import Target, echo
from visits import BOUND, Served, Visit, Visitor, aborted, exactly, prompt, until, was_reset

LISTENER = struct.pack(">I", 1)
STREAM = struct.pack(">I", 2)
NOT_PERMITTED, GENERAL, COMMAND, ADDRESS_TYPE, VIOLATION = 2, 1, 7, 8, 1


# The product listens


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Site(tmp_path_factory.mktemp("listening")) as site:
        made = Served(site)
        words = "permit", "peer", "--listen", "127.0.0.1:*", "--home", site.home
        assert site.run(*words).returncode == 0
        yield made


@pytest.fixture
def visit(served: Served) -> Iterator[Visit]:
    with Visit(served) as made:
        yield made


def listens(visitor: Visitor, port: int = 0) -> int:
    """Where the server listens now."""
    number = visitor.listen(port)
    payload = until(visitor, peer.LISTENING)
    assert payload[:5] == struct.pack(">IB", number, 0) and payload[7:] == b"127.0.0.1"
    got = int.from_bytes(payload[5:7])
    assert got == port or (port == 0 and got >= 1024)
    return got


def comes(visit: Visit, port: int) -> socket.socket:
    return prompt(visit.enter_context(socket.create_connection(("127.0.0.1", port), BOUND)))


def accepts(visitor: Visitor, number: int, listener: int, near: socket.socket) -> None:
    """ACCEPTED says who connected; then the stream carries both ways."""
    host, port = near.getsockname()
    assert until(visitor, peer.ACCEPTED) == struct.pack(">IIH", number, listener, port) + host.encode()
    visitor.opened(number)
    visitor.data(number, b"from the client")
    assert exactly(near, 15) == b"from the client"
    near.sendall(b"from the server")
    assert visitor.gather(number, 15) == b"from the server"


def test_what_connects_is_accepted(visit: Visit) -> None:
    visitor = visit.visitor()
    port = listens(visitor)
    for number in (2, 4, 6):
        accepts(visitor, number, 1, comes(visit, port))
    near = comes(visit, port)
    until(visitor, peer.ACCEPTED)
    visitor.refused(8, GENERAL)
    assert was_reset(near)


def test_unlisten_frees_the_place(visit: Visit) -> None:
    visitor = visit.visitor()
    port = listens(visitor)
    visitor.tell(peer.UNLISTEN, 1)
    visitor.tell(peer.UNLISTEN, 1)  # it is over, so this is ignored
    assert listens(visitor, port) == port
    accepts(visitor, 2, 2, comes(visit, port))


def test_another_session_takes_it_over(visit: Visit) -> None:
    first, second = visit.visitor(), visit.visitor()
    port = listens(first)
    accepts(first, 2, 1, comes(visit, port))
    assert listens(second, port) == port
    assert until(first, peer.UNLISTEN) == LISTENER
    accepts(second, 2, 1, comes(visit, port))


def test_what_comes_without_a_connection_waits(visit: Visit) -> None:
    visitor = visit.visitor()
    port = listens(visitor)
    visitor.cut()
    near = comes(visit, port)
    visitor.again()
    accepts(visitor, 2, 1, near)


@pytest.mark.parametrize(
    ("port", "host", "kind", "reply"),
    [
        (80, "127.0.0.1", 1, NOT_PERMITTED), (8080, "127.0.0.2", 1, NOT_PERMITTED), (8080, "", 1, NOT_PERMITTED),
        (8080, "*", 1, NOT_PERMITTED), (8080, "::", 1, NOT_PERMITTED), (8080, "name.example", 1, ADDRESS_TYPE),
        (0, "/run/a.sock", 2, NOT_PERMITTED), (0, "", 2, NOT_PERMITTED), (8080, "127.0.0.1", 3, NOT_PERMITTED),
    ],
)  # fmt: skip
def test_what_is_refused(visit: Visit, port: int, host: str, kind: int, reply: int) -> None:
    visitor = visit.visitor()
    visitor.listen(port, host, kind)
    assert until(visitor, peer.LISTENING)[:5] == LISTENER + bytes([reply])
    listens(visitor)


def test_one_session_does_not_listen_twice_at_one_place(visit: Visit) -> None:
    visitor = visit.visitor()
    visitor.listen(listens(visitor))
    assert until(visitor, peer.LISTENING)[:5] == struct.pack(">IB", 2, GENERAL)


# The product asks


@pytest.fixture
def target() -> Iterator[Target]:
    with Target(echo) as made:
        yield made


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Site(tmp_path_factory.mktemp("asking")) as site, Host(site) as made:
        yield made


def asks(host: Host, target: Target) -> tuple[Server, Process]:
    """A client with one -R that has asked for it. A test names `target` before `host`: so the client ends first."""
    words = "-i", host.profile, "--sessions", 1, "--carrier", "raw"
    host.process = host.site.nitrosocks("forward", "-R", f"127.0.0.1:8080:127.0.0.1:{target.port}", *words)
    server = host.accept()
    assert until(server, peer.LISTEN) == LISTENER + at(8080)
    return server, host.process


def test_what_is_accepted_reaches_the_target(target: Target, host: Host) -> None:
    server, process = asks(host, target)
    server.tell(peer.LISTENING, 1, b"\0" + at(8080)[1:])
    process.err.wait("nitrosocks: ready")
    for _ in range(3):
        number = server.accepted(1)
        server.data(number, b"hello")
        server.answered(number)
        assert server.streams[number].answer == (peer.OPENED, at(target.port)[1:])
        assert server.gather(number, 5) == b"hello"
    assert str(process.out) == f"forwarding 127.0.0.1:8080 at the server to 127.0.0.1:{target.port}\n"


@pytest.mark.parametrize(("reply", "code"), [(NOT_PERMITTED, 77), (GENERAL, 69), (COMMAND, 69), (0xFF, 69)])
def test_a_refusal_ends_it(target: Target, host: Host, reply: int, code: int) -> None:
    server, process = asks(host, target)
    server.tell(peer.LISTENING, 1, bytes([reply]) + b"for a test")
    with contextlib.suppress(PeerError):  # it disconnects
        server.read(lambda: False)
    assert process.wait() == code and "-R 127.0.0.1:8080: for a test" in str(process.err)


LISTENING = peer.LISTENING, LISTENER + b"\0" + at(8080)[1:]
UNLISTEN = peer.UNLISTEN, LISTENER
ACCEPTED = peer.ACCEPTED, STREAM + LISTENER + at()[1:]
OTHER = struct.pack(">I", 2)


@pytest.mark.parametrize(
    "frames",
    [
        [LISTENING, LISTENING], [ACCEPTED], [LISTENING, UNLISTEN, ACCEPTED], [UNLISTEN, ACCEPTED],
        [(peer.LISTENING, LISTENER + b"\1"), ACCEPTED], [LISTENING, (peer.LISTENING, OTHER + b"\1")],
        [LISTENING, (peer.UNLISTEN, OTHER)], [LISTENING, (peer.ACCEPTED, STREAM + OTHER + at()[1:])],
        [LISTENING, (peer.ACCEPTED, LISTENER + LISTENER + at()[1:])],
    ],
    ids=lambda frames: "-".join(f"{kind:x}" for kind, _ in frames),
)  # fmt: skip
def test_what_breaks_the_rules(target: Target, host: Host, frames: list[tuple[int, bytes]]) -> None:
    server, _ = asks(host, target)
    with contextlib.suppress(PeerError):  # the connection may have ended before the last
        for frame in frames:
            server.send(*frame)
    assert aborted(server) == VIOLATION
    assert not target.connections


def test_unlisten_of_the_server_is_told_and_not_fought(target: Target, host: Host) -> None:
    server, process = asks(host, target)
    server.send(*LISTENING)
    process.err.wait("nitrosocks: ready")
    server.send(*UNLISTEN)
    server.send(*UNLISTEN)  # it is over, so these are ignored
    server.send(*LISTENING)
    process.err.wait("another client with this profile does")
    process.signal()
    until(server, peer.DISCONNECT)  # and no LISTEN before it
    assert len(server.listeners) == 1
