"""A stranger floods a server with KeyUpdate: a client beside it gets its session, and a stream."""

from __future__ import annotations

import threading

import pytest
from keyupdate import Flood, library
from pools import begun
from world import World, echo


@pytest.mark.skipif(library() is None, reason="this Python's OpenSSL cannot be called")
def test_who_floods_keeps_nobody_waiting() -> None:
    stop = threading.Event()
    with World() as world, Flood(world.port) as flood:

        def run() -> None:
            while not stop.is_set() and flood.send():
                pass

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert begun(world.pool(), world.target(echo)).ask(b"more") == b"more"
        finally:
            stop.set()
            thread.join()
