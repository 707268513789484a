"""A client and a server of peer_judge.py that talk to each other over TCP, whose buffers are large."""

import socket
from contextlib import ExitStack
from itertools import repeat

import peer
from peer import client_keys
from peer_judge import Client, Server, together

SEED, CLIENT_SEED, TOKEN, NOW = b"s" * 32, b"c" * 32, b"t" * 32, 1_800_000_000.5
CLOCK = repeat(NOW).__next__
PUBLIC, SERVER_PUBLIC = client_keys(CLIENT_SEED)[1], Server(None, SEED, {}).S
ID = peer.H(b"ns1 client", PUBLIC)[:16]
CLIENTS = {ID: (PUBLIC, TOKEN)}
BOUND = 20.0  # seconds until a read is given up; no test comes near


class Pairs(ExitStack):
    """Closes all sockets at its end."""

    def socks(self) -> list[socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pair = [socket.create_connection(listener.getsockname(), BOUND), listener.accept()[0]]
        for sock in pair:
            self.enter_context(sock).settimeout(BOUND)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return pair

    def two(self, options=(), clients=CLIENTS, now=CLOCK, greet=True, **server_options) -> tuple[Client, Server]:
        """With a session, if they `greet`; `options` are those of the client."""
        near, far = self.socks()
        client = Client(near, SERVER_PUBLIC, CLIENT_SEED, TOKEN, **{"now": CLOCK, **dict(options)})
        server = Server(far, SEED, clients, now=now, **server_options)
        assert not greet or together(client.greet, server.accept) == ["", ""]
        return client, server

    def reconnected(self, client, old, clients=CLIENTS, refuse=0) -> tuple[Server, list[str]]:
        """The client resumes over new sockets; the Server that has the session then, and what either side raised."""
        near, far = self.socks()
        server = Server(far, SEED, clients, sessions=old.sessions, now=CLOCK)
        server.refuse = refuse
        return server, together(lambda: client.resume(near), server.accept)


def passed(sender, receiver, kind: int, payload: bytes = b"") -> None:
    """A frame that comes as it was sent."""
    sender.send(kind, payload)
    assert receiver.recv() == (kind, payload)


def refreshed(client, server) -> None:
    """A whole refresh."""
    server.refresh()
    client.answer(*client.recv())
    client.send(peer.PAD, b"new keys")
    assert server.recv()[0] == peer.REFRESHED and server.recv() == (peer.PAD, b"new keys")
    passed(server, client, peer.PAD, b"old keys")
    server.answer(peer.REFRESHED, b"")
    assert client.recv()[0] == peer.SWITCH and (client.rk, client.epoch) == (server.rk, server.epoch)
    passed(server, client, peer.PAD, b"new keys")
