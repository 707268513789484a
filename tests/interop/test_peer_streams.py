"""The independent peer as a client of our server: what streams do, and what RESET does to them, over TLS."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import peer
import pytest
from meeting import BOUND, Blocked, Tap, answered, at, ended, gathered, reset, told, until, until_acked, visiting
from world import World, read_all

from nitrosocks_lib.net.wake import Wake
from nitrosocks_lib.server import tunnel as host


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as shared:
        yield shared


@pytest.fixture
def tap(world: World) -> Tap:
    return Tap(world)


# Streams


def test_each_direction_ends_by_itself(world: World, tap: Tap) -> None:
    visitor = visiting(world)
    for first in ("client", "target"):
        target = visitor.opens(tap)
        if first == "client":
            visitor.send(peer.END)
            assert target.recv(1) == b""
            target.sendall(b"late")
            assert gathered(visitor, 4) == b"late"
        else:
            target.shutdown(socket.SHUT_WR)
            assert told(visitor, peer.END) == b""
            visitor.send(peer.DATA, b"late")
            visitor.send(peer.END)
            assert read_all(target) == b"late"
        target.close()
        if first == "client":
            told(visitor, peer.END)
        until_acked(visitor)
    assert visitor.stream == "idle"


def test_data_and_end_right_behind_open(world: World, tap: Tap) -> None:
    visitor = visiting(world)
    visitor.send(peer.OPEN, tap.open)
    visitor.send(peer.DATA, b"early")
    visitor.send(peer.END)
    target = tap.accept()
    assert read_all(target) == b"early"
    target.close()
    told(visitor, peer.OPENED)
    told(visitor, peer.END)
    until_acked(visitor)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("kind", "named", "reason"),
    [
        (peer.OPEN, at(host="192.0.2.1"), 2),  # not permitted
        (peer.OPEN, at(0, "/etc/passwd", 2), 2),
        (peer.OPEN, at(0), 1),
        (peer.OPEN, at(host=""), 1),
        (peer.OPEN, at(host="x" * 256), 1),
        (peer.OPEN, None, 5),  # nobody listens there
        (peer.OPEN, at(kind=3), 7),
        (peer.LISTEN, at(), 7),
    ],
)
def test_a_refused_stream_is_over_at_once(world: World, tap: Tap, kind: int, named: bytes | None, reason: int) -> None:
    visitor = visiting(world)
    for behind in ([], [(peer.DATA, b"dropped"), (peer.END, b"")], [(peer.RESET, b"\1why")]):
        visitor.send(kind, named or at(closed_port()))
        refused = told(visitor, peer.REFUSED)
        assert refused[0] == reason and refused[1:].decode().isprintable() and refused[1:]
        for frame in behind:  # they crossed it
            visitor.send(*frame)
        until_acked(visitor)
    ended(visitor, visitor.opens(tap))


def test_a_refusal_drops_what_waited_for_the_dial(world: World, tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked, visitor = Blocked(monkeypatch, host, "reach"), visiting(world)
    visitor.send(peer.OPEN, at(closed_port()))
    for _ in range(3):
        visitor.send(peer.DATA, bytes(65_536))
    visitor.send(peer.END)
    assert answered(visitor) == [peer.ACK] and len(visitor.kept) == 4
    blocked.go.set()
    assert told(visitor, peer.REFUSED)[0] == 5
    until_acked(visitor)
    ended(visitor, visitor.opens(tap))


def test_the_next_open_may_come_before_we_have_noticed_our_own_refusal(
    world: World, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor, go, real = visiting(world), threading.Event(), Wake.set
    answered(visitor)
    inbound = visitor.hosted.tunnel.inbound

    def late(wake: Wake) -> None:
        """The dialling thread is held up just before it tells inbound."""
        assert wake is not inbound.wake or threading.current_thread().name != "dial" or go.wait(BOUND)
        real(wake)

    monkeypatch.setattr(Wake, "set", late)
    visitor.send(peer.OPEN, at(closed_port()))
    assert told(visitor, peer.REFUSED)[0] == 5
    visitor.send(peer.OPEN, tap.open)
    assert told(visitor, peer.OPENED) == tap.open[1:]
    go.set()
    ended(visitor, tap.accept())


# RESET


def test_the_answer_comes_before_a_reset(world: World, tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target resets at once, and early data meets it before the answer is posted."""
    blocked, visitor = Blocked(monkeypatch, host.ServerTunnel, "_post_answer"), visiting(world)
    visitor.send(peer.OPEN, tap.open)
    target = tap.accept()
    blocked.entered.get(timeout=BOUND)
    reset(target)
    for _ in range(2):
        visitor.send(peer.DATA, b"early")
    assert set(answered(visitor)) <= {peer.ACK}
    blocked.go.set()
    assert told(visitor, peer.OPENED) and told(visitor, peer.RESET)
    visitor.send(peer.RESET, b"\1")
    until_acked(visitor)


@pytest.mark.parametrize("before", [[], [(peer.DATA, b"x")], [(peer.END, b"")]])
def test_a_reset_of_the_client(world: World, tap: Tap, before: list) -> None:
    visitor = visiting(world)
    target = visitor.opens(tap)
    for frame in [*before, (peer.RESET, b"\1over")]:
        visitor.send(*frame)
    with contextlib.suppress(ConnectionResetError):  # END, and what came before RESET, may have been passed on
        assert read_all(target) in (b"", b"x") and before
    assert told(visitor, peer.RESET)[0] == 1
    until_acked(visitor)
    ended(visitor, visitor.opens(tap))


@pytest.mark.parametrize("behind", [[], [(peer.DATA, bytes(65_536)), (peer.END, b"")]])
def test_a_reset_before_the_answer(world: World, tap: Tap, monkeypatch: pytest.MonkeyPatch, behind: list) -> None:
    blocked, visitor = Blocked(monkeypatch, host, "reach"), visiting(world)
    visitor.send(peer.OPEN, tap.open)
    blocked.entered.get(timeout=BOUND)  # else there may be no dial at all
    for frame in [*behind, (peer.RESET, b"\1")]:
        visitor.send(*frame)
    assert told(visitor, peer.REFUSED)[0] == 1
    until_acked(visitor)
    visitor.send(peer.OPEN, tap.open)  # while the first dial still runs
    blocked.go.set()
    assert told(visitor, peer.OPENED) == tap.open[1:]
    targets = [tap.accept(), tap.accept()]
    visitor.send(peer.DATA, b"to the second")
    got = [target.recv(100) for target in targets]
    assert sorted(got) == [b"", b"to the second"]
    ended(visitor, targets[got.index(b"to the second")])


@pytest.mark.parametrize("half", ["", "END of the client", "END of the target"])
def test_a_reset_of_the_target_goes_out_before_the_ack_of_what_it_drops(world: World, tap: Tap, half: str) -> None:
    visitor = visiting(world)
    target = visitor.opens(tap)
    if half == "END of the target":
        target.shutdown(socket.SHUT_WR)
        told(visitor, peer.END)
    receiving = visitor.hosted.tunnel.inbound.receiving
    while receiving.held_bytes < 1 << 20:  # the target does not read
        for _ in range(16):
            visitor.send(peer.DATA, bytes(65_536))
        answered(visitor)
    if half == "END of the client":
        visitor.send(peer.END)
        answered(visitor)
    taken = receiving.consumed
    assert taken < visitor.sent
    reset(target)
    assert until(visitor, peer.RESET) == b"\1" and visitor.acked <= taken
    visitor.ack()
    visitor.send(peer.RESET, b"\1")
    until_acked(visitor)
    ended(visitor, visitor.opens(tap))


def test_resets_of_what_is_over_are_ignored(world: World, tap: Tap) -> None:
    visitor = visiting(world)
    for _ in range(2):
        visitor.send(peer.RESET, b"\1")
        until_acked(visitor)
        ended(visitor, visitor.opens(tap))
    assert answered(visitor) == []
