"""Sessions in a registry of a server, without a network."""

from __future__ import annotations

import os

from world import BOUND

from nitrosocks_lib.crypto.identity import KemPublic, ServerKey
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.protocol.handshake import Keys, Terms
from nitrosocks_lib.protocol.welcome import Authorised, Welcomed
from nitrosocks_lib.server.registry import Hosted, Registry
from nitrosocks_lib.server.tunnel import RefreshPolicy, ServerTunnel
from nitrosocks_lib.session.liveness import Liveness

KEY = ServerKey(bytes(32))
MIB = 1 << 20


class Public:
    """Of a client's public key only what a registry asks for."""

    def __init__(self, client_id: bytes) -> None:
        self.client_id = client_id


def hosted(registry: Registry, client_id: bytes = b"A", resume: int = 60, window: int = MIB) -> Hosted:
    """A session as reception makes it, with its share of the budget."""
    share = registry.reserve(client_id, window)
    terms = Terms(EncryptType.AES_256_GCM, os.urandom(16), os.urandom(32), share, resume, 60)
    client = Authorised("alice", Public(client_id), bytes(32))  # type: ignore[arg-type]
    keys = Keys(os.urandom(32), os.urandom(32), 0)
    welcomed = Welcomed(client, keys, terms, KemPublic(KEY.public), MIB)
    tunnel = ServerTunnel(KEY, welcomed, lambda: None, RefreshPolicy())
    return Hosted(tunnel, Liveness(tunnel), share)


def empty(registry: Registry, count: int = 0) -> bool:
    """Waits until no more sessions than that are left."""
    return registry.wait_empty(lambda _: len(registry) > count, BOUND)
