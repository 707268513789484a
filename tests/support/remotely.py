"""Clients of a World with -R."""

from __future__ import annotations

import dataclasses

from world import World

from nitrosocks_lib.client.listens import Remote, Remotes
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.listening import ListenRules


def permit(world: World, *rules: str) -> None:
    """Where the server may listen for the client of this world, from now on."""
    known = world.directory.known
    (client_id,) = known
    known[client_id] = dataclasses.replace(known[client_id], listen=ListenRules.parse(rules))


def tcp(port: int, host: str = "127.0.0.1") -> Target:
    return Target(Kind.TCP, host, port)


def remotes(world: World, *pairs: tuple[Target, Target]) -> tuple[Remotes, Pool]:
    """A client with these -R, all of which listen."""
    pool = world.pool()
    made = Remotes(pool, [Remote(*pair) for pair in pairs])
    world.callback(made.stop)
    pool.start()
    made.start()
    return made, pool
