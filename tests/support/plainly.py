"""Handshakes in the clear: what would be sealed or signed is not, so that changed messages get behind the first Enc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from dialogue import HOUR, SERVER, Side, World

from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, KemPrivate, KemPublic
from nitrosocks_lib.crypto.schedule import SymmetricState
from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import ProtocolError
from nitrosocks_lib.protocol import greet, handshake, welcome


class Plain(SymmetricState):
    """Enc adds a tag that nobody looks at, and what is mixed is forgotten."""

    def mix_hash(self, d: bytes) -> None:
        pass

    def mix_key(self, x: bytes) -> None:
        pass

    mix_key_and_hash = mix_key

    def enc(self, p: bytes) -> bytes:
        return p + bytes(wire.TAG)

    def dec(self, c: bytes) -> bytes:
        return c[: -wire.TAG]


def _seal(self: KemPublic, label: bytes, h: bytes, p: bytes) -> bytes:
    return bytes(wire.KEM_ENC) + p + bytes(wire.TAG)


def _open(self: KemPrivate, label: bytes, h: bytes, sealed: bytes) -> Secret:
    return Secret(sealed[wire.KEM_ENC : -wire.TAG])


def _verify(self: ClientPublic, signatures: bytes, context: bytes, message: bytes) -> None:
    if signatures[:1] == b"\xff":
        raise ProtocolError("a signature does not verify")


@contextmanager
def plainly() -> Iterator[None]:
    """Seals are open, signatures are true but for one that begins with ff, and proofs hold."""
    ephemeral = KemPrivate(bytes(range(96)))
    with ExitStack() as patches:
        for module in (greet, welcome):
            patches.enter_context(patch.object(module, "SymmetricState", Plain))
        for owner, name, value in (
            (KemPublic, "seal", _seal), (KemPrivate, "open", _open), (ClientPublic, "verify", _verify),
            (ClientKey, "sign", lambda self, context, message: bytes(wire.SIGNATURES)),
            (welcome, "proof_holds", lambda *_: True), (greet, "draw_ephemeral", lambda _: ephemeral),
            (handshake, "draw_pad", lambda _: 0), (welcome, "draw_pad", lambda _: 0), (greet, "draw_pad", lambda _: 0),
        ):  # fmt: skip
            patches.enter_context(patch.object(owner, name, value))
        yield


def _said(names: str) -> tuple[list[bytes], list[bytes]]:
    """What both sides say in the clear."""
    with plainly():
        client, server = getattr(World(pad=0), names)()
        return client.sent, server.sent


GREETING, RESUME = _said("new_session"), _said("recovery")
KNOCK = GREETING[0][0][: wire.KNOCK]


def hears(side: str, data: bytes) -> None:
    """One side gets these bytes, and no others. To a server they follow a knock that is good."""
    world = World(pad=0)
    if side in ("greet", "resume"):
        listener = Side(getattr(world, side)())
    else:
        listener = Side(world.serve(world.welcome if side == "welcome" else world.recover))
        data = KNOCK + data
    listener.run()
    listener.inbox += data
    listener.run()
    listener.generator.close()
    if listener.error:
        raise listener.error


def knock(data: bytes) -> None:
    """The real one: a first read of a server that nothing is known of."""
    side = Side(welcome.read_hello(SERVER, data, HOUR, World().nonces))
    side.inbox += data[wire.KNOCK :]
    side.run()
    if side.error:
        raise side.error
