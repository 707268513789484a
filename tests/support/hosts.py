"""Peers that the product visits: a `forward` or `connect` that runs as a process."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peer
import peer_judge
import program
import pytest
from loopback import pem
from peer_judge import PeerError
from peer_streams import at
from program import Process, Site
from visits import BOUND, WINDOW, prompt, rest, until

TARGET = (7, "192.0.2.1")  # where streams of `forward` go; others have the next ports
PORTS = range(TARGET[0], TARGET[0] + 8)


class Host(contextlib.ExitStack):
    """A place where peers serve a client of the product; `options` are those of peer_judge.Server."""

    def __init__(self, site: Site, **options: Any) -> None:
        super().__init__()
        self._listener = self.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listener.settimeout(BOUND)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*pem("server"))
        self.site, self.options = site, {"server_window": WINDOW} | options
        self.profile = site.profile("host", self._listener.getsockname()[1])
        self.seed, self.clients = self._keys(site.home)
        self.sessions: dict[bytes, peer_judge.Server] = {}
        self.process: Process | None = None
        self._made = 0
        self.server: peer_judge.Server | None = None

    def __exit__(self, *details: Any) -> bool | None:
        if self.process is not None:
            self.process.popen.kill()  # it would look for us
        return super().__exit__(*details)

    @staticmethod
    def _keys(home: Path) -> tuple[bytes, dict[bytes, tuple[bytes, bytes]]]:
        seed = base64.b64decode(tomllib.loads((home / "server.key").read_text())["secret"])
        table = tomllib.loads((home / "clients.d" / "host.toml").read_text())
        public, token = base64.b64decode(table["public"]), base64.b32decode(table["token"] + "====")
        return seed, {peer.H(b"ns1 client", public)[:16]: (public, token)}

    def arrival(self) -> peer_judge.Server:
        """The next connection; nothing is said on it yet. One that is given up within TLS is none."""
        while True:
            raw = self._listener.accept()[0]
            with contextlib.suppress(OSError):
                sock = self._context.wrap_socket(prompt(raw), server_side=True, suppress_ragged_eofs=False)
                return peer_judge.Server(
                    self.enter_context(sock), self.seed, self.clients, sessions=self.sessions, **self.options
                )
            raw.close()

    def accept(self) -> peer_judge.Server:
        """The next connection on which something is said, with its handshake done."""
        while True:
            server = self.arrival()
            try:
                server.accept()
            except PeerError:
                if server.seen:
                    raise
            else:
                self.server = server
                return server

    def forward(self, *words: object) -> peer_judge.Server:
        """Starts a client with one session, whose streams go to TARGET; `app` is an application of it."""
        specs = [word for port in PORTS for word in ("-L", f"0:{TARGET[1]}:{port}")]
        fixed = "-i", self.profile, "--sessions", 1, "--window", WINDOW
        if "--carrier" not in words:
            words = ("--carrier", "raw", *words)  # the peer has no other: what fails is to come again over it
        self.process = self.site.nitrosocks("forward", *specs, *fixed, *words)
        try:
            server = self.accept()
        except (OSError, PeerError) as error:
            raise AssertionError(f"{error!r}; the client said:\n{self.process.err}") from error
        self.process.err.wait("nitrosocks: ready")
        assert self.process.out is not None
        lines = [self.process.out.wait("forwarding", after=number) for number, _ in enumerate(PORTS)]
        self.process.ports = [program.port_of(line.partition(" to ")[0]) for line in lines]
        return server

    def app(self, port: int = TARGET[0]) -> socket.socket:
        """A local application's connection, which is to lead to this port of the target."""
        assert self.process is not None
        where = "127.0.0.1", self.process.ports[PORTS.index(port)]
        return prompt(self.enter_context(socket.create_connection(where, BOUND)))

    def asked(self) -> tuple[peer_judge.Server, int, socket.socket]:
        """A stream that is not answered yet: whose session it is in, its number, and the application's socket.

        Each leads to another port than the one before: so one that a session left behind, and that comes again in the
        next session, is not taken for it.
        """
        self._made += 1
        port = PORTS[self._made % len(PORTS)]
        app = self.app(port)
        server = self.accept() if self.server is None or self.server.over else self.server
        while server.streams[number := int.from_bytes(until(server, peer.OPEN)[:4])].named != at(port, TARGET[1]):
            server.refused(number, 1)
        return server, number, app

    def opened(self) -> tuple[peer_judge.Server, int, socket.socket]:
        """A stream that carries."""
        server, number, app = self.asked()
        server.opened(number, *TARGET)
        return server, number, app


def ends(server: peer_judge.Server, number: int, app: socket.socket) -> None:
    """END both ways: the stream is over."""
    app.shutdown(socket.SHUT_WR)
    server.read(lambda: peer.C2S in server.streams[number].ended)
    server.end(number)
    assert rest(app) == b""
    app.close()


def over(app: socket.socket) -> None:
    """Nothing more comes, however it ends."""
    with contextlib.suppress(ConnectionResetError):
        assert rest(app) == b""


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A client of the test's own."""
    with Site(tmp_path_factory.mktemp("alone")) as site, Host(site) as host:
        host.forward()
        yield host


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One client for all tests of a module, and the place that it visits."""
    with Site(tmp_path_factory.mktemp("hosting")) as site, Host(site) as host:
        host.forward()
        yield host
