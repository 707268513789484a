"""Sessions in a registry of a server, without a network."""

from __future__ import annotations

import os

from world import BOUND

from nitrosocks_lib.crypto.identity import KemPublic, ServerKey
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.protocol.handshake import Keys, Terms
from nitrosocks_lib.protocol.welcome import Authorised, Welcomed
from nitrosocks_lib.server.entry import Entry
from nitrosocks_lib.server.registry import Registry
from nitrosocks_lib.server.tunnel import RefreshPolicy, ServerTunnel
from nitrosocks_lib.session.dialling import NoDialling
from nitrosocks_lib.session.liveness import Liveness

KEY = ServerKey(bytes(32))


class Public:
    """Of a client's public key only what a registry asks for."""

    def __init__(self, client_id: bytes) -> None:
        self.client_id = client_id


def entry(registry: Registry, client_id: bytes = b"A", resume: int = 60) -> Entry:
    """A session as a connection makes it, with its place among its client's; not added yet."""
    registry.reserve(client_id)
    terms = Terms(EncryptType.AES_256_GCM, os.urandom(16), os.urandom(32), limits.WINDOW, resume, 60)
    client = Authorised("alice", Public(client_id), bytes(32))  # type: ignore[arg-type]
    keys = Keys(os.urandom(32), os.urandom(32), 0)
    welcomed = Welcomed(client, keys, terms, KemPublic(KEY.public), limits.WINDOW)
    tunnel = ServerTunnel(KEY, welcomed, lambda _: NoDialling(), RefreshPolicy())
    return Entry(tunnel, Liveness(tunnel.state))


def empty(registry: Registry, count: int = 0) -> bool:
    """Waits until no more sessions than that are left."""
    return registry.wait_empty(lambda _: len(registry) > count, BOUND)
