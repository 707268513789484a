"""A client's and a server's half of one session, made without a handshake."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from nitrosocks_lib.client.tunnel import ClientTunnel
from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, KemPublic, ServerKey
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import EncryptType, Frame
from nitrosocks_lib.net.buffers import SLOTS
from nitrosocks_lib.net.wake import Waiter
from nitrosocks_lib.protocol.greet import Credentials, Greeted
from nitrosocks_lib.protocol.handshake import Keys, Terms, draw_ephemeral
from nitrosocks_lib.protocol.permit import Client, Rules
from nitrosocks_lib.protocol.welcome import Authorised, Welcomed
from nitrosocks_lib.server.targets import ruled
from nitrosocks_lib.server.tunnel import RefreshPolicy, ServerTunnel
from nitrosocks_lib.session.dials import Dials, Reach
from nitrosocks_lib.session.tunnel import Tunnel

SERVER, CLIENT = ServerKey(bytes([1]) * 32), ClientKey(bytes([2]) * 32)


class Roles:
    """`client` and `server`, with the same keys; `known` is what the server finds when it looks the client up."""

    def __init__(
        self,
        policy: RefreshPolicy | None = None,
        changed: Callable[[], None] = lambda: None,
        window: int = limits.WINDOW,
    ) -> None:
        """`window` is what streams of both sides begin with."""
        keys, ephemeral = Keys(os.urandom(32), os.urandom(32), 0), draw_ephemeral(os.urandom)
        terms = Terms(EncryptType.AES_256_GCM, os.urandom(16), os.urandom(32), window, 60, 60)
        token = os.urandom(32)
        authorised = Authorised("alice", ClientPublic(CLIENT.public), token)
        self.known: Client | None = Client("alice", authorised, Rules.parse(["127.0.0.1:*", "/no/such/socket"]))
        welcomed = Welcomed(authorised, keys, terms, KemPublic(ephemeral.public), window)

        def dials(waiter: Waiter) -> Dials:
            return Dials(CLIENT.client_id, lambda target: ruled(target, lambda: self.known), Reach(), waiter)

        self.server = ServerTunnel(SERVER, welcomed, dials, policy or RefreshPolicy())
        greeted: dict[str, Any] = {"keys": keys, "terms": terms, "ephemeral": ephemeral}
        rest = {name: None for name in Greeted.__dataclass_fields__ if name not in greeted}
        who = Credentials(SERVER.public, CLIENT, token)
        self.client = ClientTunnel(who, Greeted(**greeted, **rest), window, changed)
        for tunnel in self.both():
            tunnel.inbound.opener = tunnel.opener(tunnel.state.keys)

    def both(self) -> tuple[ClientTunnel, ServerTunnel]:
        return self.client, self.server

    def close(self) -> None:
        for tunnel in self.both():
            tunnel.dispose("over")


def receive(tunnel: Tunnel, frame: Frame, payload: bytes = b"") -> None:
    """As if this frame had come, DATA excepted; raises what its handler raises."""
    plain = bytes([frame]) + payload
    tunnel.inbound._on_frame(memoryview(plain), len(plain))


def receive_data(tunnel: Tunnel, number: int, payload: bytes, at: float = 0.0) -> None:
    """As if DATA had come at that time."""
    plain = wire.DATA_HEADER.pack(Frame.DATA, number) + payload
    tunnel.inbound._slot = slot = SLOTS.take()  # what is held gives it back there
    slot[: len(plain)] = plain
    tunnel.inbound._on_data(memoryview(slot), len(plain), at)
