"""A bit of a frame's length is changed on the way: the client moves to a new connection, and nothing is lost."""

from __future__ import annotations

import socket
import threading

import pytest
from flipper import flipping
from pools import begun
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits


@pytest.mark.parametrize("bit", [3, 15])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_changed_length_costs_a_reconnection(way: str, bit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOUBT_LEAST", 0.1)
    with World() as world, flipping(("127.0.0.1", world.port), *world.files) as (box, flipper):
        opened = begun(world.pool(port=box.port), world.target(echo))
        flipper.flip(way, bit)
        opened.near.sendall(b"typed")
        assert opened.near.recv(5) == b"typed" and flipper.flipped.is_set()
        assert opened.ask(b"more") == b"more" and opened.clean


def test_the_server_notices_where_the_client_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data comes down all the while, and ACKs go up into a frame that is never whole."""
    monkeypatch.setattr(limits, "FRAME_WHOLE", 0.5)
    asked = threading.Semaphore(0)

    def speak(sock: socket.socket) -> None:
        while asked.acquire(timeout=BOUND):
            sock.sendall(b"x")

    with World() as world, flipping(("127.0.0.1", world.port), *world.files) as (box, flipper):
        opened = Opened(world.pool(port=box.port), world.target(speak))

        def hear() -> None:
            asked.release()
            assert opened.near.recv(1) == b"x"

        hear()
        flipper.flip("up", 15)
        while not flipper.flipped.is_set() or box.seen["connections"] == 1:
            hear()
        hear()
