"""The target's side of connections, for a test to use."""

from __future__ import annotations

import socket

from world import BOUND, Opened, World


class Far:
    """The target's side of the connections that a world's streams make, for the test to use."""

    def __init__(self, world: World) -> None:
        self.listener = world.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.listener.settimeout(BOUND)
        self.port = self.listener.getsockname()[1]
        self._world = world

    def accept(self) -> socket.socket:
        sock = self._world.enter_context(self.listener.accept()[0])
        sock.settimeout(BOUND)
        return sock

    def open(self, pool) -> tuple[Opened, socket.socket]:
        opened = Opened(pool, self.port)
        return opened, self.accept()
