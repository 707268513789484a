"""Dialler where TLS must be direct: a greeting and a reconnection through an interceptor are refused, and aborted."""

from __future__ import annotations

import pytest
from loopback import pem
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.demo.interceptor import Interceptor
from nitrosocks_lib.facts.errors import Intercepted
from nitrosocks_lib.net.connect import Route
from nitrosocks_lib.session.streams import Ending


def directly(world: World, port: int) -> tuple[Dialler, list[Intercepted]]:
    """A dialler, and what it told of interception."""
    made = Dialler(world.credentials(), (("127.0.0.1", port),), Route(direct=True))
    told: list[Intercepted] = []
    made.notices.on_intercepted = told.append
    return made, told


@pytest.fixture
def world():
    with World(proxy=True) as made:
        yield made


@pytest.fixture
def box(world: World):
    made = Interceptor(("127.0.0.1", world.port), *pem("box"))
    made.start()
    yield made
    made.stop()


def test_what_is_direct_is_taken(world: World) -> None:
    made, told = directly(world, world.port)
    greeting = made.greet()
    greeting.link.close()
    link = made.connect(greeting.server)
    assert made.resume(link, greeting.server, greeting.greeted.terms, 1, 0).received == 0
    link.close()
    assert told == []


def test_a_greeting_is_refused(world: World, box: Interceptor) -> None:
    made, told = directly(world, box.port)
    with pytest.raises(Intercepted, match='TLS is intercepted by "box"') as failure:
        made.greet()
    assert told == [failure.value] and "--require-direct" in failure.value.hint


def test_no_further_server_is_asked(world: World, box: Interceptor) -> None:
    made, _ = directly(world, box.port)
    made.servers = (("127.0.0.1", box.port), ("127.0.0.1", world.proxy.port))
    with pytest.raises(Intercepted):
        made.greet()
    assert world.proxy.connections == 0


def test_a_server_that_does_not_tell_is_refused() -> None:
    with World(certificate_hash=bytes(32)) as world:
        made, told = directly(world, world.port)
        with pytest.raises(Intercepted, match="the server does not know its TLS certificate"):
            made.greet()
        assert len(told) == 1


def test_a_reconnection_is_refused_and_ends_the_session(world: World, box: Interceptor) -> None:
    """What runs is reset; the server does not keep the session."""
    made, told = directly(world, world.proxy.port)
    pool = Pool(made, 1)
    world.callback(pool.close, 5.0)
    stream = Opened(pool, world.target(echo))
    stream.near.sendall(b"x")
    assert stream.near.recv(1) == b"x"
    entry = world.entry
    world.proxy.upstream = ("127.0.0.1", box.port)
    world.proxy.cut()
    ended = stream.end()
    assert (ended.ending, ended.reason) == (Ending.LOST, 'TLS is intercepted by "box"')
    assert len(told) == 1 and pool.sessions == []
    pool.close(BOUND)
    assert entry.tunnel.state.reason != ""
