"""ClientSession: what ends a pause, when it gives up, what becomes of it and of its streams when it is over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pools import WatchedPool, begun
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client.pauses import Pauses
from nitrosocks_lib.client.session import ClientSession
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.session.streams import Ending

LONG = 2 * BOUND


class Resting:
    """A world whose sessions rest for longer than any test waits, unless something ends that; `rest` awaits it."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._world, self._rests, real = world, threading.Event(), ClientSession._rest
        monkeypatch.setattr(limits, "BACKOFF_FIRST", LONG)

        def rest(session: ClientSession, *arguments: Any) -> None:
            self._rests.set()
            real(session, *arguments)

        monkeypatch.setattr(ClientSession, "_rest", rest)

    def begin(self) -> None:
        """The network goes, a first attempt fails, and the network is back."""
        assert self._world.proxy is not None
        self._rests.clear()
        self._world.proxy.refuse(True)
        self._world.proxy.cut()
        assert self._rests.wait(BOUND)
        self._world.proxy.refuse(False)


def goes_on(opened: Opened, data: bytes) -> bool:
    opened.near.sendall(data)
    got = b""
    while len(got) < len(data) and (part := opened.near.recv(len(data))):
        got += part
    return got == data


# -- pauses -----------------------------------------------------------------------------------------------------------

ENDS: dict[str, Callable[[WatchedPool, Opened, int], object]] = {
    "a keystroke": lambda pool, opened, port: opened.near.sendall(b"typed"),
    "a new connection": lambda pool, opened, port: Opened(pool, port),
    "SIGHUP": lambda pool, opened, port: pool.hurry(),
    "a change of network": lambda pool, opened, port: pool.doubt("the addresses changed"),
    "an end": lambda pool, opened, port: opened.near.shutdown(1),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_people_do_ends_a_pause_at_once(end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port, resting = WatchedPool(world), world.target(echo), Resting(world, monkeypatch)
        opened = begun(pool, port)
        resting.begin()
        before = world.proxy.connections
        end(pool, opened, port)
        world.proxy.wait_connections(before + 1, BOUND)
        assert pool.made == 1


def test_what_was_typed_before_ends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what came before the outage began, nor SIGHUP while all was well."""
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, resting = WatchedPool(world), Resting(world, monkeypatch)
        opened = begun(pool, world.target(echo))
        pool.hurry()
        assert goes_on(opened, b"x")
        resting.begin()
        assert not pool.session._hurried
        before = world.proxy.connections
        pool.hurry()
        world.proxy.wait_connections(before + 1, BOUND)
        assert goes_on(opened, b"y") and world.proxy.connections == before + 1


def test_a_box_that_ends_each_connection_is_not_asked_at_once_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIVED", LONG)
    monkeypatch.setattr(limits, "BACKOFF_FIRST", 0.01)
    taken, take = list[float](), Pauses.take
    monkeypatch.setattr(Pauses, "take", lambda pauses: taken.append(take(pauses)) or taken[-1])
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))

        def ends() -> None:
            before = pool.session._attempts
            world.proxy.cut()
            world.proxy.wait(lambda: pool.session._attempts > before and pool.session.tunnel.connected, BOUND)

        for _ in range(5):
            ends()
        assert [pause > 0 for pause in taken[-3:]] == [True] * 3 and taken[-1] > taken[-2]
        assert goes_on(opened, b"x")
        ends()
        assert taken[-1] == 0.0 and pool.made == 1


def test_where_each_connection_is_strangled_it_is_another_carriers_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STRANGLED_BYTES", 0)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, told = WatchedPool(world), list[tuple[Any, ...]]()
        monkeypatch.setattr(pool._dialler, "strangled", lambda *what: told.append(what))
        opened = begun(pool, world.target(echo))
        for n in range(limits.STRANGLED + 1):
            world.proxy.cut()
            world.proxy.wait(lambda n=n: pool.session._attempts > n and pool.session.tunnel.connected, BOUND)
        assert told == [(("127.0.0.1", world.proxy.port), Carrier.RAW)] and goes_on(opened, b"x")


def test_a_change_of_network_begins_an_attempt_anew_that_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so from an address that is gone, and would get no answer for long."""
    monkeypatch.setattr(limits, "DIAL", LONG)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))
        before = world.proxy.connections
        world.proxy.blackhole()
        world.proxy.cut()
        world.proxy.wait_connections(before + 1, BOUND)
        world.proxy.restore()
        pool.doubt("the addresses changed")
        assert goes_on(opened, b"x") and pool.made == 1


# -- the end of an outage ---------------------------------------------------------------------------------------------

OUTAGES: dict[str, Callable[[World], object]] = {
    "an attempt hangs": lambda world: world.proxy and (world.proxy.blackhole(), world.proxy.cut()),
    "between attempts": lambda world: world.proxy and (world.proxy.refuse(True), world.proxy.cut()),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_it_gives_up_when_the_server_has_forgotten_it(outage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then, and neither at the end of an attempt nor at that of a pause."""
    monkeypatch.setattr(limits, "DIAL", LONG)
    monkeypatch.setattr(limits, "BACKOFF_FIRST", LONG)
    with World(proxy=True, resume=1) as world:
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))
        began = now()
        outage(world)
        stream = opened.end()
        assert now() - began >= 1.0
        assert stream.ending is Ending.LOST
        assert stream.reason == "the server was unreachable for longer than it keeps a session"
        pool.wait(lambda: pool.alive == 0)


def test_a_client_that_was_revoked_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        pool, resting = WatchedPool(world), Resting(world, monkeypatch)
        opened = begun(pool, world.target(echo))
        resting.begin()
        world.directory.known.clear()
        pool.hurry()
        stream = opened.end()
        assert stream.ending is Ending.LOST and "does not know this client" in stream.reason
        assert world.registry.wait_empty(lambda _: True, BOUND)


def test_a_server_that_says_what_cannot_be_is_told_so() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        opened, tunnel = begun(pool, world.target(echo)), world.entry.tunnel
        resume = pool._dialler.resume

        def wrong(*arguments: Any) -> Any:
            recovered = resume(*arguments)
            recovered.received = 1_000
            return recovered

        pool._dialler.resume = wrong  # type: ignore[method-assign]
        world.proxy.cut()
        assert opened.end().reason == "the server states an impossible count of received frames"
        assert world.registry.wait_empty(lambda _: True, BOUND)
        assert tunnel.state.reason == "the other side ended the session: protocol violation"


def test_an_error_of_the_network_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, failures = WatchedPool(world), [NetworkError("cut")] * 3
        monkeypatch.setattr(limits, "BACKOFF_FIRST", 0.01)
        opened, resume = begun(pool, world.target(echo)), pool._dialler.resume

        def failing(*arguments: Any) -> Any:
            if failures:
                raise failures.pop()
            return resume(*arguments)

        pool._dialler.resume = failing  # type: ignore[method-assign]
        world.proxy.cut()
        assert goes_on(opened, b"x") and pool.session._attempts == 4


# -- what people hear -------------------------------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage().partition(" (")[0][:19] for each in caplog.records if each.name.endswith("outage")]


def test_nobody_misses_an_idle_session(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, resting = WatchedPool(world), Resting(world, monkeypatch)
        pool.start()
        resting.begin()
        pool.hurry()
        world.proxy.wait(lambda: world.proxy.live == 1, BOUND)
        assert begun(pool, world.target(echo)).ask(b"x") == b"x"
        assert pool.made == 1 and told(caplog) == []


def test_who_opens_a_connection_meanwhile_is_told_why_it_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port, resting = WatchedPool(world), world.target(echo), Resting(world, monkeypatch)
        pool.start()
        resting.begin()
        assert Opened(pool, port).ask(b"x") == b"x"
        assert pool.made == 1 and told(caplog) == ["connection lost", "connection restored"]


def test_where_it_fell_silent_the_time_without_a_connection_began_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has forgotten the session sooner; it is tried for a while all the same."""
    monkeypatch.setattr(limits, "TRIED", 0.5)
    with World(proxy=True, resume=int(LONG)) as world:
        assert world.proxy is not None
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))
        before = world.proxy.connections
        (session,) = pool.sessions
        state = session.tunnel.state
        state.terms.heartbeat, state.last_heard = 0, state.last_heard - 2 * LONG
        world.proxy.refuse(True)
        world.proxy.cut()
        assert opened.end().reason == "the server was unreachable for longer than it keeps a session"
        assert world.proxy.connections > before


def test_each_connection_tells_its_own_round_trip() -> None:
    """The next network may be nearer, or further away, and windows grow with what a round trip carries."""
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = WatchedPool(world), world.target(echo)
        opened = begun(pool, port)
        near, far = pool.session.tunnel.state, world.entry.tunnel.state
        near.round_trip = far.round_trip = 2 * BOUND
        world.proxy.cut()
        opened.near.sendall(b"typed")
        assert opened.near.recv(5) and near.round_trip < BOUND and far.round_trip < BOUND
