"""Which clients have sessions, and how often that is told."""

import logging

import pytest
from pools import WatchedPool, begun
from world import World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.server import seen
from nitrosocks_lib.server.seen import Seen


def test_who_is_there_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bytes] = []
    clock = [0.0]
    monkeypatch.setattr(seen, "now", lambda: clock[0])
    with World() as world:
        looking = Seen(world.registry, told.append)
        looking.look()
        assert told == []
        opened = begun(WatchedPool(world), world.target(echo))
        looking.look()
        (entry,) = world.registry.all()
        assert told == [entry.client_id]
        clock[0] = limits.SEEN_AGAIN - 1
        looking.look()
        assert len(told) == 1
        clock[0] += 1
        looking.look()
        assert told == [entry.client_id] * 2
        opened.near.close()


def test_a_session_that_is_over_is_told_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """And what cannot be written is one line."""

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.INFO), World() as world:
        opened = begun(WatchedPool(world), world.target(echo))
        entry = world.registry.all()[0]
        with opened.near:
            world.registry.forget(entry, "for a test")
        assert world.registry.present() == {entry.client_id} and world.registry.present() == set()
        looking = Seen(world.registry, full)
        for number in range(2):
            world.registry._came = {bytes([number])}
            looking.look()
    assert [line for line in caplog.messages if "is not kept" in line] == [
        "when clients are here is not kept: No space left on device"
    ]
