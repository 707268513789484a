"""ClientSession: what becomes of the streams of a session that is over: they move, in their order, or are lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from pools import WatchedPool, begun
from world import BOUND, Opened, World, echo, read_all

from nitrosocks_lib.client.session import OWN_END, ClientSession
from nitrosocks_lib.client.tunnel import ClientTunnel
from nitrosocks_lib.session.streams import Ending


class Written:
    """Waits for what is so when frames have been written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._changed, real = threading.Condition(), ClientTunnel.wrote

        def wrote(tunnel: ClientTunnel, count: int) -> None:
            real(tunnel, count)
            with self._changed:
                self._changed.notify_all()

        monkeypatch.setattr(ClientTunnel, "wrote", wrote)

    def wait(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, BOUND)


def crash(world: World) -> None:
    """Another server on the same port; nobody heard of the end of the first."""
    assert world.proxy is not None
    world.proxy.blackhole()
    world.server.stop()
    world.start(world.port)


@pytest.mark.parametrize("rst", [True, False])
def test_a_stream_of_which_nothing_was_carried_moves(rst: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = WatchedPool(world), world.target(echo)
        pool.start()
        crash(world)
        opened = Opened(pool, port)  # before anybody can know
        written.wait(lambda: pool.session.tunnel.outbound.resend.sent == 1)
        world.proxy.restore(rst)
        pool.wait(lambda: pool.made == 2)
        assert opened.ask(b"hello") == b"hello" and opened.clean
        assert opened.end().moves == 1


def test_a_stream_of_which_something_was_carried_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been delivered, and nothing is done twice."""
    written = Written(monkeypatch)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = WatchedPool(world), world.target(echo)
        pool.start()
        crash(world)
        opened = Opened(pool, port)
        opened.near.sendall(b"x")
        written.wait(lambda: any(s.took for s in pool.session.tunnel.state.streams.all()))
        world.proxy.restore()
        assert opened.end().ending is Ending.LOST and "no longer knows the session" in opened.end().reason
        assert read_all(opened.near) == b""


class Dying:
    """The first `count` sessions take so many of the streams that wait, and are over then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, takes: int, count: int) -> None:
        self._real, self._takes, self._left = ClientSession._serve, takes, count

        def serve(session: ClientSession) -> None:
            self._die(session)

        monkeypatch.setattr(ClientSession, "_serve", serve)

    def _die(self, session: ClientSession) -> None:
        if not self._left:
            self._real(session)
            return
        self._left -= 1
        opening = session.tunnel.outbox.opening
        for _ in range(self._takes):
            session.tunnel.outbound._reading.open(opening.popleft())
        session.tunnel.state.reason = "it died"
        if session._link is not None:
            session._link.close()


def waiting(pool: WatchedPool, port: int, count: int) -> list[Opened]:
    """So many streams that are opened on the first session, which is being made."""
    greet, go = pool._dialler.greet, threading.Event()
    pool._dialler.greet = lambda: go.wait(BOUND) and greet()  # type: ignore[method-assign,assignment,return-value]
    opened = [Opened(pool, port) for _ in range(count)]
    go.set()
    return opened


@pytest.mark.parametrize(("deaths", "ending"), [(3, Ending.CLEAN), (4, Ending.LOST)])
def test_it_moves_three_times(deaths: int, ending: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    Dying(monkeypatch, 1, deaths)
    with World() as world:
        pool = WatchedPool(world)
        (opened,) = waiting(pool, world.target(echo), 1)
        if ending is Ending.CLEAN:
            assert opened.ask(b"x") == b"x"
        stream = opened.end()
        assert (stream.ending, stream.moves, pool.made) == (ending, 3, 4)
        assert ending is Ending.CLEAN or stream.reason == "it died"


@pytest.mark.parametrize("takes", [0, 1, 3, 5])
def test_streams_that_move_and_those_that_waited_keep_their_order(takes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Dying(monkeypatch, takes, 1)
    with World() as world:
        pool = WatchedPool(world)
        for opened in (streams := waiting(pool, world.target(echo), 5)):
            assert opened.ask(b"x") == b"x"
        assert [opened.end().number for opened in streams] == [1, 3, 5, 7, 9]
        assert [opened.end().moves for opened in streams] == [1] * takes + [0] * (5 - takes)


def test_what_this_side_ended_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch)
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = WatchedPool(world), world.target(echo)
        pool.start()
        world.proxy.stall()
        opened = Opened(pool, port)
        written.wait(lambda: pool.session.tunnel.outbound.resend.sent == 1)
        pool.session.give_up("enough")
        world.proxy.unstall()
        assert (opened.end().ending, opened.end().reason) == (Ending.LOST, "enough")
        assert pool.made == 1


def test_closing_ends_streams_as_our_own() -> None:
    with World() as world:
        pool = WatchedPool(world)
        streams = [begun(pool, world.target(echo)) for _ in range(3)]
        pool.close(BOUND)
        assert [(each.end().ending, each.end().reason) for each in streams] == [(Ending.LOST, OWN_END)] * 3
        assert [read_all(each.near) for each in streams] == [b""] * 3
