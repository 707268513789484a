"""Carriers: a request of an id whose up 0 is being judged waits for the verdict."""

from __future__ import annotations

import os
import threading

import pytest
from carried import Connection, hour
from world import BOUND, World

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import What
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import greet


def test_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entrance has put the id in by then, and the web thread not heard of it."""
    heard: list[tuple] = []
    answers: list[tuple[int, bytes]] = []
    used = os.urandom(wire.CARRIER_ID)
    with World() as world:
        said = next(greet.greet(world.credentials(), hour(), limits.WINDOW, os.urandom))
        carriers, via, down = world.server._carriers, Connection(world.port), Connection(world.port)
        monkeypatch.setattr(carriers, "_known", lambda *verdict: heard.append(verdict))
        up = threading.Thread(target=via.post, args=(used, What.UP, 0, said))
        up.start()
        while not heard:
            pass
        monkeypatch.undo()
        waits = threading.Thread(target=lambda: answers.append(down.post(used, What.DOWN, 0)))
        waits.start()
        until = now() + BOUND
        while not carriers._waiting[used].parked:
            assert now() < until, "it was not taken"
        carriers.turns.call(lambda: carriers._known(*heard[0]))
        for each in (up, waits):
            each.join(BOUND)
        via.close()
        down.close()
    assert answers[0][0] == 200 and len(answers[0][1]) >= 2498
