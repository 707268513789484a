"""Clients of a World with -R."""

from __future__ import annotations

import dataclasses
import threading

from world import BOUND, World

from nitrosocks_lib.client.listens import Remote, Remotes
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.listening import ListenRules
from nitrosocks_lib.protocol.proxy_auth import Login


@dataclasses.dataclass(eq=False, slots=True)
class Watched(Remote):
    """A Remote that says when UNLISTEN came."""

    gone: threading.Event = dataclasses.field(default_factory=threading.Event)

    def taken_away(self, draining: bool) -> None:
        """As in Remote."""
        Remote.taken_away(self, draining)
        self.gone.set()


def permit(world: World, *rules: str) -> None:
    """Where the server may listen for the client of this world, from now on."""
    known = world.directory.known
    (client_id,) = known
    known[client_id] = dataclasses.replace(known[client_id], listen=ListenRules.parse(rules))


def tcp(port: int, host: str = "127.0.0.1") -> Target:
    return Target(Kind.TCP, host, port)


def gone(made: Remotes) -> None:
    """Waits until the server has taken the first of them away."""
    first = made.remotes[0]
    assert isinstance(first, Watched) and first.gone.wait(BOUND)


def port_of(made: Remotes) -> int:
    """Where the server listens for the first of them."""
    at = made.remotes[0].at
    assert at is not None
    return at.port


def remotes(world: World, *pairs: tuple[Target, Target | None], login: Login | None = None) -> tuple[Remotes, Pool]:
    """A client with these -R, all of which listen."""
    pool = world.pool()
    made = Remotes(pool, [Watched(*pair) for pair in pairs], login)
    world.callback(made.stop)
    pool.start()
    made.start()
    return made, pool
