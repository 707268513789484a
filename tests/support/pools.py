"""A pool whose changes can be waited for, and streams through it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from world import BOUND, Opened, World

from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.client.session import ClientSession
from nitrosocks_lib.session.streams import Stream


class WatchedPool(Pool):
    """`wait` for what `free`, `alive` and `made` shall become."""

    def __init__(self, world: World, sessions: int = 1, redial: float | None = None) -> None:
        self.changed = threading.Condition()
        super().__init__(world.dialler(), sessions, redial)
        world.callback(self.close, 5.0)

    @property
    def free(self) -> int:
        """Idle sessions."""
        return len(self._idle)

    @property
    def alive(self) -> int:
        return len(self._alive)

    def wait(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, BOUND), f"{self.made=}, {self.alive=}, {self.free=}"

    def _make(self, stream: Stream | None) -> ClientSession:
        session = super()._make(stream)
        self._tell()
        return session

    def idle(self, session: ClientSession) -> None:
        super().idle(session)
        self._tell()

    def gone(self, session: ClientSession, moved: Stream | None = None) -> None:
        super().gone(session, moved)
        self._tell()

    def _tell(self) -> None:
        with self.changed:
            self.changed.notify_all()


def burst(pool: WatchedPool, port: int, count: int) -> list[bytes]:
    """`count` streams at once, each asked something else; the answers, and all sessions are idle again."""
    opened = [Opened(pool, port) for _ in range(count)]
    answers = [each.ask(b"question %d" % n) for n, each in enumerate(opened)]
    assert all(each.end().ended_well for each in opened)
    pool.wait(lambda: pool.free == pool.alive)
    return answers


def begun(pool: WatchedPool, port: int) -> Opened:
    """A stream to an echo that is known to be open."""
    opened = Opened(pool, port)
    opened.near.sendall(b"a")
    assert opened.near.recv(1) == b"a"
    return opened
