"""A pool without -R keeps no session, and reaches nothing near the client."""

from __future__ import annotations

from world import World

from nitrosocks_lib.client.keeper import Keeper


def test_this_one_keeps_none() -> None:
    with World() as world:
        pool = world.pool()
        pool.start()
        (session,) = pool.sessions
        assert type(pool.keeper) is Keeper
        assert not pool.keeper.holds(session) and pool.keeper.dialling is None
