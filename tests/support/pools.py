"""A pool whose changes can be waited for, and streams through it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from world import BOUND, Opened, World

from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.client.session import ClientSession
from nitrosocks_lib.facts import limits
from nitrosocks_lib.session.streams import Stream


class WatchedPool(Pool):
    """`wait` for what `load`, `free`, `alive` and `made` shall become."""

    def __init__(
        self, world: World, sessions: int = 1, redial: float | None = None, window: int = limits.WINDOW
    ) -> None:
        self._told = threading.Condition()
        super().__init__(world.dialler(window=window), sessions, redial)
        world.callback(self.close, 5.0)

    @property
    def load(self) -> int:
        """Streams that are not wholly gone."""
        return sum(session.tunnel.load for session in self.sessions)

    @property
    def free(self) -> int:
        """Sessions without a stream."""
        return sum(session.tunnel.load == 0 for session in self.sessions)

    @property
    def alive(self) -> int:
        return len(self.sessions)

    @property
    def session(self) -> ClientSession:
        """The only one."""
        (session,) = self.sessions
        return session

    def wait(self, condition: Callable[[], object]) -> None:
        with self._told:
            assert self._told.wait_for(condition, BOUND), f"{self.made=}, {self.alive=}, {self.load=}"

    def idle(self) -> None:
        """Waits until no stream is left."""
        self.wait(lambda: self.load == 0 and not self._waiting)

    def _make(self) -> ClientSession:
        session = super()._make()
        self._tell()
        return session

    def _none_made(self, error: Exception) -> None:
        super()._none_made(error)
        self._tell()

    def _no_more(self, error: Exception) -> None:
        super()._no_more(error)
        self._tell()

    def changed(self, session: ClientSession) -> None:
        super().changed(session)
        self._tell()

    def gone(self, session: ClientSession, moved: list[Stream]) -> None:
        super().gone(session, moved)
        self._tell()

    def _tell(self) -> None:
        with self._told:
            self._told.notify_all()


def burst(pool: WatchedPool, port: int, count: int) -> list[bytes]:
    """`count` streams at once, each asked something else; the answers, and no stream is left."""
    opened = [Opened(pool, port) for _ in range(count)]
    answers = [each.ask(b"question %d" % n) for n, each in enumerate(opened)]
    assert all(each.clean for each in opened)
    pool.idle()
    return answers


def begun(pool: Pool, port: int) -> Opened:
    """A stream to an echo that is known to be open."""
    opened = Opened(pool, port)
    opened.near.sendall(b"a")
    assert opened.near.recv(1) == b"a"
    return opened


def made_ahead(world: World) -> WatchedPool:
    """A pool of two sessions, which carry nothing."""
    pool = WatchedPool(world, sessions=2)
    pool.start()
    pool.session.bulk = True
    pool._make_ahead()
    pool.wait(lambda: pool.alive == 2)
    for session in pool.sessions:
        session.bulk = False
    return pool
