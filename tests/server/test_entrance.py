"""Entrance: strangers have no thread, who came further keeps its place, and who knocks gets in beside a flood."""

from __future__ import annotations

import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from loopback import dial_tcp, is_silent
from pools import WatchedPool, begun
from prober import hello
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NitroSocksError
from nitrosocks_lib.net.connect import client_context, dial
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.server.admission import Admission, Rank
from nitrosocks_lib.server.decoy import Site


class Counted(Admission):
    """Tells how many of a rank there are, when they have become as many."""

    def __init__(self, most: dict[Rank, int]) -> None:
        super().__init__(most, random.Random(1).randrange)
        self.changed, self.entered = threading.Condition(), 0

    def _put(self, place, rank: Rank):
        victim = super()._put(place, rank)
        with self.changed:
            self.entered += rank is Rank.SILENT
            self.changed.notify_all()
        return victim

    def leave(self, place) -> bool:
        left = super().leave(place)
        with self.changed:
            self.changed.notify_all()
        return left

    def wait(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, BOUND), f"{self.entered=}, {[self.count(r) for r in Rank]}"


@pytest.fixture
def world():
    with World() as made:
        yield made


def few(world: World, places: int = 4, heard: int = 4) -> Counted:
    world.server._entrance._admission = Counted(dict.fromkeys(Rank, places) | {Rank.HEARD: heard})
    return world.server._entrance._admission


def silent(world: World) -> socket.socket:
    sock = dial_tcp(world.port)
    world.callback(sock.close)
    return sock


def silent_tls(world: World) -> Link:
    link = dial(("127.0.0.1", world.port), client_context(False), socket.AF_INET, BOUND)
    world.callback(link.close)
    return link


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_strangers_have_no_thread(world: World) -> None:
    world.dialler().greet().link.close()
    places, before = world.server._entrance._admission, threading.active_count()
    made = [*[silent(world) for _ in range(30)], *[silent_tls(world) for _ in range(30)]]
    while places.count(Rank.UNPROVEN) < 30:
        assert threading.active_count() <= before
    assert len(world.server._entrance) == 60 == len(made)


@pytest.fixture
def decoy():
    """A decoy that says nothing, whose connections are those of strangers; and the server in front of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        listener.settimeout(BOUND)
        asked = threads.submit(listener.accept)
        with World(decoy=Site(*listener.getsockname())) as world:
            asked.result()[0].close()  # `serve` asks it once
            yield listener, world


def test_a_decoy_counts_from_accept_and_hears_nothing_of_clients(decoy) -> None:
    """As a web server does that has TLS of its own."""
    listener, world = decoy
    silent(world)
    stranger, _ = listener.accept()
    world.dialler().greet().link.close()
    client, _ = listener.accept()
    with stranger, client:
        assert client.recv(1) == b"" and is_silent(stranger)


def test_a_flood_of_silent_ones_is_not_passed_on_to_the_decoy(decoy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AHEAD", 2)
    listener, world = decoy
    places = few(world, 40)
    flood = [silent(world) for _ in range(20)]
    places.wait(lambda: places.count(Rank.SILENT) == 20)
    made = [listener.accept()[0] for _ in range(2)]
    flood[-1].sendall(hello())  # the next one to get a connection, and the oldest is closed for it
    made.append(listener.accept()[0])
    assert made[0].recv(1) == b"" and all(map(is_silent, made[1:]))
    for each in made:
        each.close()


def test_a_flood_ends_the_silent_and_nobody_else(world: World) -> None:
    places = few(world)
    further = [silent_tls(world) for _ in range(3)]
    places.wait(lambda: places.count(Rank.UNPROVEN) == 3)
    flood = [silent(world) for _ in range(40)]
    places.wait(lambda: places.entered >= 43)
    world.dialler().greet().link.close()  # the last ones were closed before
    assert sum(map(is_open, flood)) in (3, 4)
    assert all(is_silent(link._sock) for link in further)


def test_whoever_knocks_gets_in_beside_those_who_do_not(world: World) -> None:
    places, port = few(world), world.target(echo)
    for _ in range(12):
        silent(world)
    for _ in range(4):
        silent_tls(world)
    assert Opened(world.pool(), port).ask(b"x") == b"x"
    places.wait(lambda: places.count(Rank.HEARD) == places.count(Rank.NAMED) == 0)


def test_sessions_have_no_place(world: World) -> None:
    places, port = few(world), world.target(echo)
    opened = [begun(world.pool(), port) for _ in range(6)]
    places.wait(lambda: len(places) == 0)
    flood = [silent(world) for _ in range(12)]
    places.wait(lambda: places.entered >= 12)
    assert [each.ask(b"x") for each in opened] == [b"x"] * 6 and len(flood) == 12


def test_a_session_is_resumed_beside_a_flood() -> None:
    with World(proxy=True) as world:
        places = few(world)
        opened = begun(WatchedPool(world), world.target(echo))
        for _ in range(12):
            silent(world)
        for _ in range(6):
            silent_tls(world)
        assert world.proxy is not None
        world.proxy.cut()
        assert opened.ask(b"x") == b"x"
        places.wait(lambda: places.count(Rank.RESUMING) == 0)


def test_that_places_are_scarce_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    places = few(world)
    flood = [silent(world) for _ in range(20)]
    places.wait(lambda: places.entered == 20)
    world.dialler().greet().link.close()
    assert caplog.text.count("places for strangers are scarce") == 1 and len(flood) == 20


def test_who_waits_too_long_for_its_turn_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is served too late anyhow; a client tries again."""
    monkeypatch.setattr(limits, "STALE", -1.0)
    monkeypatch.setattr(limits, "TURN", 0.0)  # one a turn
    entrance = world.server._entrance
    monkeypatch.setattr(entrance, "_hand_over", lambda: None)
    with pytest.raises(NitroSocksError):
        world.dialler().greet()
    assert len(entrance) == 0


def test_who_waits_for_a_thread_gets_one_when_another_is_done(world: World) -> None:
    places, port = few(world, 8, heard=1), world.target(echo)
    opened = [Opened(world.pool(), port) for _ in range(3)]
    assert [each.ask(b"x") for each in opened] == [b"x"] * 3
    places.wait(lambda: len(places) == 0)


def test_a_fault_of_ours_ends_one_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.server._entrance, "_step", lambda stranger: 1 // 0)
        with pytest.raises(NitroSocksError):
            world.dialler().greet()
    assert "internal error" in caplog.text
    assert Opened(world.pool(), world.target(echo)).ask(b"x") == b"x"


def test_no_descriptor_left_makes_the_least_advanced_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, further = silent(world), silent_tls(world)
    entrance = world.server._entrance
    while len(entrance) < 2:
        pass
    real, failed = entrance._accept, threading.Event()

    class Broken:
        def accept(self):
            failed.set()
            raise OSError(24, "Too many open files")

    def accept(listener):
        monkeypatch.setattr(entrance, "_accept", real)
        monkeypatch.setattr(limits, "ACCEPTED_AT_ONCE", 1)
        real(Broken())

    monkeypatch.setattr(entrance, "_accept", accept)
    silent(world)
    assert failed.wait(BOUND) and waiting.recv(1) == b""
    assert is_silent(further._sock)
