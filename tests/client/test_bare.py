"""bare: questions, padding and the release of a session without streams."""

from __future__ import annotations

import pytest
from world import BOUND, World

from nitrosocks_lib.client.bare import Bare
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import Abort
from nitrosocks_lib.net.timers import now


def test_questions_are_answered_and_padding_arrives() -> None:
    with World() as world:
        bare = Bare(world.dialler().greet())
        assert 0 < bare.ask(now() + BOUND) < BOUND
        before = world.entry.tunnel.moved
        assert bare.pour(0.1, now() + BOUND) > 0
        assert world.entry.tunnel.moved > before + limits.DATA_SIZE
        assert bare.ask(now() + BOUND) > 0
        bare.close()


def test_the_server_ends_the_session() -> None:
    with World() as world:
        bare = Bare(world.dialler().greet())
        bare.ask(now() + BOUND)
        world.entry.tunnel.post_abort(Abort.REVOKED, "")
        with pytest.raises(NetworkError, match="the server ended the session: the client was revoked|connection"):
            while True:
                bare.ask(now() + BOUND)
        bare.close()


def test_the_connection_is_cut() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        bare = Bare(world.dialler().greet())
        bare.ask(now() + BOUND)
        world.proxy.cut()
        with pytest.raises(NetworkError):
            bare.pour(BOUND, now() + BOUND)
        bare.close()


def test_no_answer_in_time() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        bare = Bare(world.dialler().greet())
        world.proxy.blackhole()
        with pytest.raises(NetworkError, match="no answer in time"):
            bare.ask(now() + 0.1)
        world.proxy.restore()
        bare.close()
