"""Pool: its end, whatever is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loopback import reset, unused_port
from pools import WatchedPool, begun, burst, made_ahead
from registries import empty
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.client.session import OWN_END, ClientSession
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.session.streams import Ending, Stream


@pytest.fixture
def world() -> Iterator[World]:
    with World(proxy=True) as made:
        yield made


def test_close_releases_all(world: World) -> None:
    pool = made_ahead(world)
    burst(pool, world.target(echo), 5)
    ends = [entry.tunnel for entry in world.registry.all()]
    pool.close(BOUND)
    assert pool.alive == 0 and empty(world.registry, 0)
    assert [tunnel.state.reason for tunnel in ends] == ["released"] * 2


def test_what_is_opened_behind_it_is_lost(world: World) -> None:
    pool = WatchedPool(world)
    pool.close(0.0)
    stream = Opened(pool, 1).end()
    assert (stream.ending, stream.reason) == (Ending.LOST, OWN_END)


def test_close_before_the_session_is_served(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    go, serve = threading.Event(), ClientSession.serve

    def late(session: ClientSession) -> None:
        assert go.wait(BOUND)
        serve(session)

    monkeypatch.setattr(ClientSession, "serve", late)
    pool = WatchedPool(world)
    pool.start()
    pool.close(0.0)
    go.set()
    pool.wait(lambda: pool.alive == 0)
    assert empty(world.registry, 0)


def test_close_amid_a_reconnection(world: World) -> None:
    assert world.proxy is not None
    asked, go = threading.Event(), threading.Event()
    pool = WatchedPool(world)
    resume = pool._dialler.resume

    def late(*arguments: Any) -> Any:
        recovered = resume(*arguments)
        asked.set()
        assert go.wait(BOUND)
        return recovered

    pool._dialler.resume = late  # type: ignore[method-assign]
    opened = begun(pool, world.target(echo))
    world.proxy.cut()
    assert asked.wait(BOUND)
    pool.close(0.0)
    go.set()
    assert opened.end().ending is Ending.LOST
    pool.wait(lambda: pool.alive == 0)
    assert empty(world.registry, 0)


def closed(pool: Pool, opened: Opened) -> object:
    pool.close(0.0)
    return opened.end().ending is Ending.LOST


LEAVES: dict[str, Callable[[Pool, Opened], object]] = {
    "the program ends": closed,
    "the local side goes": lambda pool, opened: reset(opened.near),
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
def test_while_a_session_is_on_its_way(leave: Callable[[Pool, Opened], object], world: World) -> None:
    assert world.proxy is not None
    pool = WatchedPool(world)
    world.proxy.stall()
    opened = Opened(pool, world.target(echo))
    leave(pool, opened)
    world.proxy.unstall()
    opened.end()
    pool.close(BOUND)
    assert pool.alive == 0 and empty(world.registry, 0)


def test_without_a_server_the_local_side_is_reset(world: World) -> None:
    pool = world.pool(port=unused_port())
    with pytest.raises(NetworkError, match="cannot reach"):
        pool.start()
    opened = Opened(pool, 1)
    assert "cannot reach" in opened.end().reason
    assert opened.near.recv(1) == b""  # a socketpair knows no RST


def test_close_waits_until_what_never_was_carried_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.proxy is not None
    pool, port = WatchedPool(world), world.target(echo)
    begun(pool, port)
    session, carry, left = pool.session, pool._carry, list[list[ClientSession]]()

    def carried(streams: list[Stream], moved: bool = False) -> None:
        left.append(pool._wait_empty(0.0))
        carry(streams, moved)

    world.proxy.refuse(True)
    world.proxy.cut()
    world.proxy.wait_connections(2, BOUND)  # it reconnects, in vain
    waiting = Opened(pool, port)
    monkeypatch.setattr(pool, "_carry", carried)
    pool.close(BOUND)
    assert left == [[session]] and waiting.end().ending is Ending.LOST
