"""A server that listens for its client, with the real program: -R."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultproxy import FaultProxy
from loopback import read_exactly
from program import BOUND, Process, Site, port_of
from targets import Target, echo


class Remote(Site):
    """A server behind a proxy that fails as it is told, alice who may have it listen on loopback, and an echo.

    Alice may go anywhere on loopback, and to unix sockets of this place, and have them made there.
    """

    def __init__(self, place: Path, sockets: str = "*.sock") -> None:
        super().__init__(place)
        self.echo = self.enter_context(Target(echo))  # it outlives the server, which keeps streams of the killed
        self.faults = self.enter_context(FaultProxy(("127.0.0.1", 0)))
        self.alice = self.profile("alice", self.faults.port, "127.0.0.1:*", "[::1]:*", f"{place}/{sockets}")
        self.permit("127.0.0.1:*", "[::1]:*", f"{place}/{sockets}")
        self.begin()

    def begin(self) -> None:
        """A server, in the place of the one before."""
        self.server = self.serve("--heartbeat", "5", "--drain", "2", "-v")
        self.faults.upstream = ("127.0.0.1", self.server.port)

    def permit(self, *rules: str) -> None:
        words = [word for rule in rules for word in ("--listen", rule)]
        assert self.run("permit", "alice", *words, "--home", self.home).returncode == 0

    def remote(self, *specs: str, words: tuple[object, ...] = ()) -> Process:
        """A client with these -R, for which the server listens; `ports` is where, 0 for a path. `words` are others."""
        given = [word for spec in specs for word in ("-R", spec)]
        client = self.nitrosocks("forward", "-i", self.alice, *given, *words)
        client.err.wait("nitrosocks: ready")
        assert client.out is not None
        others = sum(word in ("-L", "-D") for word in words)  # whose lines come first
        for number, _ in enumerate(specs):
            line = client.out.wait(" at the server to ", after=others + number)
            place = line.removeprefix("forwarding ").partition(" at the server to ")[0]
            client.ports.append(0 if place.startswith("/") else port_of(place))
        client.port = client.ports[0]
        return client


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Remote]:
    with Remote(tmp_path) as made:
        yield made


def echoes(port: int, host: str = "127.0.0.1") -> None:
    with socket.create_connection((host, port), BOUND) as sock:
        sock.sendall(b"hello")
        assert read_exactly(sock, 5) == b"hello"
