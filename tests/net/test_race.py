"""Race: RFC 8305 on loopback, with a clock of the test's own; nothing in it waits, and no descriptor is left."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from loopback import read_all, unused_port
from targets import unanswering

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.race import Connected, Place, Race, interleaved, tune
from nitrosocks_lib.net.sockets import tcp_pair
from nitrosocks_lib.net.wake import wait

V4, V6 = socket.AF_INET, socket.AF_INET6
DEADLINE = 10.0


def v4(port: int, host: str = "127.0.0.1") -> Place:
    return V4, (host, port)


class Watched(set[socket.socket]):
    """What a race watches."""

    def race(self, *places: Place, deadline: float = DEADLINE) -> Race:
        return Race(places, deadline, self.add, self.discard)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Nothing is watched in the end, and as many descriptors are open as before."""
    before, made = os.listdir("/proc/self/fd"), Watched()
    yield made
    assert not made and len(os.listdir("/proc/self/fd")) == len(before)


@pytest.fixture
def listener(watched: Watched) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def dead(watched: Watched) -> Iterator[Place]:
    with unanswering() as where:
        yield V4, where


def ended(won: Connected | None, place: Place) -> None:
    assert won is not None and won.place == place
    with won.sock:
        assert won.sock.getpeername() == place[1] and not won.sock.getblocking()
        assert won.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_descriptor_beyond_the_bound_is_none(listener: socket.socket) -> None:
    """What is above is for others; the reason is told as if the process had no more. 0 to 2 are taken."""
    place = v4(listener.getsockname()[1])
    race = Race([place], DEADLINE, lambda _: None, lambda _: None, 3)
    assert race.advance(0.0) is None and race.over and race.failed[place].errno == errno.EMFILE
    ended(Race([place], DEADLINE, lambda _: None, lambda _: None, 1 << 20).advance(0.0), place)


# -- one place --------------------------------------------------------------------------------------------------------


def test_loopback_needs_no_wait(watched: Watched, listener: socket.socket) -> None:
    place = v4(listener.getsockname()[1])
    race = watched.race(place)
    ended(race.advance(0.0), place)
    assert race.over and not watched and not race.failed


def test_nobody_listens(watched: Watched) -> None:
    race = watched.race(place := v4(unused_port()))
    assert race.advance(0.0) is None and race.over
    assert race.failed[place].errno == errno.ECONNREFUSED


def test_nobody_answers(watched: Watched, dead: Place) -> None:
    race = watched.race(dead)
    assert race.advance(0.0) is None and len(watched) == 1 and race.next_at == DEADLINE
    assert race.advance(DEADLINE - 0.1) is None and not race.over
    assert race.advance(DEADLINE) is None and race.over
    assert race.failed[dead].errno == errno.ETIMEDOUT and not watched


def test_an_answer_that_comes_later(watched: Watched) -> None:
    """Its queue is full when it is asked, and has room when the kernel asks again."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        stack.enter_context(socket.create_connection(full.getsockname()))
        race = watched.race(place := v4(full.getsockname()[1]))
        assert race.advance(0.0) is None
        stack.enter_context(full.accept()[0])
        (sock,) = watched
        assert wait({sock.fileno(): 4}, 30.0)
        ended(race.advance(1.0), place)


def test_the_deadline_comes_before_the_first_attempt(watched: Watched, listener: socket.socket) -> None:
    race = watched.race(place := v4(listener.getsockname()[1]), deadline=0.0)
    assert race.advance(0.0) is None and race.over and race.failed[place].errno == errno.ETIMEDOUT


def test_a_connection_with_itself_is_none(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at a port that the kernel then picks for the very socket that is to connect there."""
    port, connect = unused_port(), socket.socket.connect_ex

    def from_there(sock: socket.socket, address: tuple[str, int]) -> int:
        sock.bind(address)
        return connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect_ex", from_there)
    race = watched.race(place := v4(port))
    assert race.advance(0.0) is None and race.failed[place].errno == errno.ECONNREFUSED


def test_what_cannot_be_watched_is_closed(dead: Place) -> None:
    def full(_: socket.socket) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    race = Race([dead], DEADLINE, full, lambda _: None)
    assert race.advance(0.0) is None and race.failed[dead].errno == errno.ENOSPC


def test_there_is_no_descriptor(watched: Watched, monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    def none(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none)
    race = watched.race(one := v4(1), other := v4(2))
    assert race.advance(0.0) is None and race.over
    assert [race.failed[place].errno for place in (one, other)] == [errno.EMFILE] * 2


# -- several places ---------------------------------------------------------------------------------------------------


def test_the_next_begins_after_a_while(watched: Watched, dead: Place, listener: socket.socket) -> None:
    race = watched.race(dead, place := v4(listener.getsockname()[1]))
    assert race.advance(0.0) is None and race.next_at == limits.STAGGER == 0.25
    assert race.advance(0.24) is None and len(watched) == 1
    ended(race.advance(0.25), place)
    assert len(watched) == 1 and not race.over, "the first one goes on"
    race.close()
    assert race.over


def test_the_next_begins_at_once_when_one_fails(watched: Watched, listener: socket.socket) -> None:
    refused, place = v4(unused_port(), "127.0.0.2"), v4(listener.getsockname()[1])
    race = watched.race(refused, place)
    ended(race.advance(0.0), place)
    assert list(race.failed) == [refused]


def test_a_late_failure_begins_the_next_at_once(
    watched: Watched, dead: Place, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = watched.race(dead, place := v4(listener.getsockname()[1]))
    assert race.advance(0.0) is None
    error = [errno.EHOSTUNREACH]
    real = socket.socket.getsockopt
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *args: error.pop() if error else real(*args))
    ended(race.advance(0.1), place)
    assert race.failed[dead].errno == errno.EHOSTUNREACH


def test_both_may_win(watched: Watched, listener: socket.socket) -> None:
    """Who wants the second, because the first does not do, asks again."""
    port = listener.getsockname()[1]
    with socket.create_server(("127.0.0.2", port)):
        race = watched.race(one := v4(port), other := v4(port, "127.0.0.2"))
        ended(race.advance(0.0), one)
        assert race.advance(0.0) is None
        race.hold(5.0)
        assert race.advance(4.9) is None and race.next_at == 5.0
        race.hurry()
        ended(race.advance(4.9), other)


def test_families_take_turns() -> None:
    a, b, c = (v4(1, f"127.0.0.{n}") for n in (1, 2, 3))
    x, y = ((V6, (f"::{n}", 1, 0, 0)) for n in (1, 2))
    assert interleaved([x, y, a, b, c]) == [x, a, y, b, c]
    assert interleaved([a, b, a, x]) == [a, x, b] and interleaved([]) == []


def test_both_families(watched: Watched, listener: socket.socket) -> None:
    """IPv6 has nobody there, IPv4 has."""
    port = listener.getsockname()[1]
    race = watched.race((V6, ("::1", port, 0, 0)), place := v4(port))
    ended(race.advance(0.0), place)


def test_few_are_under_way_at_once(watched: Watched, dead: Place) -> None:
    """The oldest gives way, so that all get their turn."""
    places = [(V4, (f"127.0.0.{n}", dead[1][1])) for n in range(1, limits.RACING + 3)]
    with ExitStack() as stack:
        for _, address in places[1:]:
            full = stack.enter_context(socket.create_server(address, backlog=0))
            stack.enter_context(socket.create_connection(full.getsockname()))
        race = watched.race(*places)
        for turn in range(len(places)):
            assert race.advance(turn * limits.STAGGER) is None
            assert len(watched) == min(turn + 1, limits.RACING)
        assert list(race.failed) == places[:2]
        race.advance(DEADLINE)
        assert set(race.failed) == set(places)


# -- unix sockets -----------------------------------------------------------------------------------------------------


def test_a_full_backlog_is_tried_again(watched: Watched, tmp_path: Path) -> None:
    place = socket.AF_UNIX, bytes(tmp_path / "socket")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(place[1])
        listener.listen(0)
        first = watched.race(place).advance(0.0)
        assert first is not None
        stack.enter_context(first.sock)
        race = watched.race(place)
        assert race.advance(0.0) is None and race.next_at == limits.BUSY_AGAIN and not watched
        assert race.advance(1.0) is None and race.next_at == 1.0 + limits.BUSY_AGAIN
        stack.enter_context(listener.accept()[0])
        won = race.advance(2.0)
        assert won is not None and won.place == place
        won.sock.close()
        late = watched.race(place)
        assert late.advance(0.0) is None and late.advance(DEADLINE) is None
        assert late.over and late.failed[place].errno == errno.ETIMEDOUT


@pytest.mark.parametrize(("name", "code"), [("none", errno.ENOENT), ("x" * 200, None)])
def test_a_path_without_a_socket(name: str, code: int | None, watched: Watched, tmp_path: Path) -> None:
    race = watched.race(place := (socket.AF_UNIX, bytes(tmp_path / name)))
    assert race.advance(0.0) is None and race.over and race.failed[place].errno == code


# -- options ----------------------------------------------------------------------------------------------------------


def test_tune() -> None:
    near, far = socket.socketpair()
    with near, far, socket.socket() as tcp:
        tune(near)  # knows no such options
        tune(tcp)
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) and os.name == "posix"


@pytest.mark.parametrize("carried", [True, False])
def test_an_urgent_byte_of_what_is_carried_is_read_in_its_place(carried: bool) -> None:
    near, far = tcp_pair()
    with near, far:
        tune(far, carried=carried)
        far.setblocking(True)
        for piece, how in ((b"IAC", 0), (b"D", socket.MSG_OOB), (b"more", 0)):
            near.send(piece, how)
        near.shutdown(socket.SHUT_WR)
        assert read_all(far) == (b"IACDmore" if carried else b"IACmore")
