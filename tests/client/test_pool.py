"""Pool: which stream goes to which session, when there is one more, and when one less."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from loopback import unused_port
from pools import WatchedPool, begun, burst, made_ahead
from registries import empty
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client.session import ClientSession
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.streams import Ending


@pytest.fixture
def world() -> Iterator[World]:
    with World(proxy=True) as made:
        yield made


# -- which session ----------------------------------------------------------------------------------------------------


@dataclass
class Tunnel:
    load: int = 0
    connected: bool = True


@dataclass
class Session:
    """What the choice looks at."""

    name: str
    load: int = 0
    bulk: bool = False
    connected: bool = True
    usable: bool = True
    owes: bool = False
    tunnel: Any = field(init=False)

    def __post_init__(self) -> None:
        self.tunnel = Tunnel(self.load, self.connected)

    def owes_answer(self, target: Target) -> bool:
        return self.owes


CHOICES = {
    "none": ([], None),
    "the only one": ([Session("a", 5)], "a"),
    "the one that carries least": ([Session("a", 5), Session("b", 2), Session("c", 3)], "b"),
    "the oldest of equals": ([Session("a", 1), Session("b", 1)], "a"),
    "not what moves bulk": ([Session("a", 0, bulk=True), Session("b", 9)], "b"),
    "bulk, where all do": ([Session("a", 3, bulk=True), Session("b", 2, bulk=True)], "b"),
    "one with a connection": ([Session("a", 0, connected=False), Session("b", 9)], "b"),
    "one without, rather than bulk": ([Session("a", 1, bulk=True), Session("b", 9, connected=False)], "b"),
    "what is left": ([Session("a", 0, usable=False), Session("b", 7, connected=False)], "b"),
    "none that is usable": ([Session("a", usable=False)], None),
    "where the last OPEN to this target is unanswered": ([Session("a"), Session("b", 9, owes=True)], "b"),
    "there, though it moves bulk": ([Session("a"), Session("b", 9, bulk=True, owes=True)], "b"),
    "not there, where it takes no more": ([Session("a", 9), Session("b", usable=False, owes=True)], "a"),
}


@pytest.mark.parametrize(("alive", "chosen"), CHOICES.values(), ids=CHOICES)
def test_the_choice(alive: list[Any], chosen: str | None, world: World) -> None:
    pool = world.pool()
    pool._alive = alive
    found = pool._choose(Target(Kind.TCP, "host", 1))
    pool._alive = []
    assert (found and found.name) == chosen  # type: ignore[attr-defined]


def test_streams_to_one_target_are_opened_on_one_session_until_it_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others go where less is carried; and so do those to that target, once the last was answered."""
    held = world.enter_context(socket.create_server(("127.0.0.1", 0)))
    pool, chosen = made_ahead(world), []
    first, second = pool.sessions
    really = ClientSession.open
    monkeypatch.setattr(ClientSession, "open", lambda self, stream: (chosen.append(self), really(self, stream)))
    begun(pool, world.target(echo))
    world.proxy.stall()  # type: ignore[union-attr]
    port = held.getsockname()[1]
    for _ in range(3):
        Opened(pool, port)
    Opened(pool, world.target(echo))
    assert chosen == [first, second, second, second, first]
    world.proxy.unstall()  # type: ignore[union-attr]


def test_what_is_owed_is_forgotten_with_its_answer(world: World) -> None:
    pool, port, refused = WatchedPool(world), world.target(echo), unused_port()
    opened = begun(pool, port)
    with Opened(pool, refused).near as near:
        assert near.recv(1) == b""
    pool.wait(lambda: pool.load == 1)
    for each in (port, refused):
        assert not pool.session.owes_answer(Target(Kind.TCP, "127.0.0.1", each))
    assert opened.ask(b"x") == b"x" and pool.session._last == {}


def test_a_session_remembers_no_more_targets_than_it_carries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, ports = WatchedPool(world), [world.target(echo) for _ in range(5)]
    pool.start()
    for port in ports:
        begun(pool, port)
    assert len(pool.session._last) == 5
    monkeypatch.setattr(limits, "STREAMS", 4)
    pool.session.open(next(iter(pool.session._last.values())).again())
    assert len(pool.session._last) == 1


# -- made and reused --------------------------------------------------------------------------------------------------


def test_a_stream_opens_without_a_handshake(world: World) -> None:
    assert world.proxy is not None
    pool, port = WatchedPool(world), world.target(echo)
    pool.start()
    before = world.proxy.bytes_up
    assert Opened(pool, port).ask(b"hello") == b"hello"
    assert (pool.made, world.proxy.connections) == (1, 1)
    assert world.proxy.bytes_up - before < wire.KNOCK + wire.HELLO, "less than the beginning of any handshake"


def test_streams_one_after_another_use_one_session(world: World) -> None:
    pool, port = WatchedPool(world), world.target(echo)
    for n in range(30):
        assert burst(pool, port, 1) == [b"question 0"], n
    assert pool.made == 1 and len(world.registry) == 1


def test_fifty_at_once_use_one_session(world: World) -> None:
    meeting = threading.Barrier(50)

    def together(sock: socket.socket) -> None:
        meeting.wait(BOUND)  # all fifty are open at the same time
        echo(sock)

    pool, port = WatchedPool(world, sessions=4), world.target(together)
    for _ in range(2):
        assert burst(pool, port, 50) == [b"question %d" % n for n in range(50)]
    assert pool.made == 1 and len(world.registry) == 1


def test_one_more_is_made_before_the_last_is_crowded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each carries a few; when all do, there is the next one, up to the bound."""
    monkeypatch.setattr(limits, "STREAMS_EACH", 2)
    pool, port = WatchedPool(world, sessions=3), world.target(echo)
    for alive in (1, 2, 2, 3, 3, 3, 3, 3):
        begun(pool, port)
        pool.wait(lambda alive=alive: pool.alive == alive)
    assert pool.made == 3
    assert sorted(session.tunnel.load for session in pool.sessions) == [2, 3, 3]


def test_one_more_is_made_where_all_move_bulk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interactive stream that comes next goes there."""
    monkeypatch.setattr(limits, "BULK", 100_000)
    pool, port = WatchedPool(world, sessions=2), world.target(echo)
    bulk = begun(pool, port)
    pool._look(0.0)
    data = bytes(150_000)
    sender = threading.Thread(target=bulk.near.sendall, args=(data,))
    sender.start()
    got = 0
    while got < len(data):
        got += len(bulk.near.recv(len(data)))
    sender.join()
    (carrying,) = pool.sessions
    pool._look(0.0)
    assert carrying.bulk
    pool.wait(lambda: pool.alive == 2)
    typed = begun(pool, port)
    assert [session.tunnel.load for session in pool.sessions] == [1, 1]
    pool._look(0.0)
    assert not carrying.bulk and typed.ask(b"x") == b"x"


def test_no_more_than_the_bound_are_made_ahead(world: World) -> None:
    pool = WatchedPool(world, sessions=1)
    pool.start()
    pool.session.bulk = True
    pool._make_ahead()
    assert pool._making == 0 and pool.alive == 1


def test_at_the_bound_a_stream_is_lost_and_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session carries all that one may."""
    monkeypatch.setattr(limits, "STREAMS", 3)
    pool, port = WatchedPool(world, sessions=1), world.target(echo)
    held = [begun(pool, port) for _ in range(3)]
    stream = Opened(pool, port).end()
    assert (stream.ending, stream.reason) == (Ending.LOST, "each of 1 sessions carries 3 streams")
    assert held.pop().ask(b"x") == b"x"
    pool.wait(lambda: pool.load == 2)
    assert begun(pool, port).ask(b"x") == b"x" and pool.made == 1


# -- idle -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later", "left"), [(1, 2), (-1, 1)])
def test_idle_sessions_are_released_but_one(later: int, left: int, world: World) -> None:
    pool = made_ahead(world)
    pool._look(max(session.idle_since for session in pool.sessions) + limits.IDLE - later)
    pool.wait(lambda: pool.alive == left and not pool._leaving)
    assert empty(world.registry, left) and pool.free == left


def test_a_busy_session_is_not_released_and_an_idle_one_beside_it_is(world: World) -> None:
    pool = made_ahead(world)
    opened = begun(pool, world.target(echo))
    pool._look(now() + limits.IDLE + 1)
    pool.wait(lambda: pool.alive == 1)
    assert empty(world.registry, 1) and opened.ask(b"x") == b"x" and opened.clean


def test_a_session_is_idle_since_its_last_stream_ended(world: World) -> None:
    pool = WatchedPool(world)
    pool.start()
    before = pool.session.idle_since
    burst(pool, world.target(echo), 1)
    assert pool.session.idle_since > before


def test_a_stream_is_not_opened_on_a_session_that_is_released(world: World) -> None:
    """What is released carries nothing, and carries nothing from then on; each is seen under the lock."""
    pool = made_ahead(world)
    first, second = pool.sessions
    Opened(pool, world.target(echo))
    pool._release_idle([first, second])
    assert (first.usable, second.usable) == (True, False)


# -- a server that drains ---------------------------------------------------------------------------------------------


def test_a_draining_server_serves_what_runs_and_takes_nothing_new(world: World) -> None:
    pool, port = WatchedPool(world), world.target(echo)
    opened, drained = begun(pool, port), threading.Thread(target=world.server.drain, args=(BOUND,))
    drained.start()
    pool.wait(lambda: pool.session.spent)
    new = Opened(pool, port).end()
    assert new.ending is Ending.LOST and "about to stop" in new.reason
    assert opened.ask(b"x") == b"x" and opened.clean
    pool.wait(lambda: pool.alive == 0)
    drained.join(BOUND)


def test_an_idle_session_of_a_draining_server_is_released(world: World) -> None:
    pool = WatchedPool(world)
    burst(pool, world.target(echo), 1)
    world.server.drain(0.0)
    pool.wait(lambda: pool.alive == 0)
    assert empty(world.registry, 0)
