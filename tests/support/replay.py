"""Honest handshakes that can be said again byte for byte, and sides that hear one message of them changed.

Seal and the signatures are randomised. Within `repeatable` each is made once for its input, and said again from then
on; all other random bytes are seeded. So a fresh side can be led to any point of a handshake for what hashing costs,
and gets a changed message where its peer sent another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

from dialogue import Side, World

from nitrosocks_lib.crypto.identity import ClientKey, KemPublic
from nitrosocks_lib.facts.errors import NitroSocksError, NotOurs

SESSION, RECOVERY = ("GREETING", "CHALLENGE", "RESPONSE", "SESSION"), ("RESUME", "RECOVERED")
NAMES = SESSION + RECOVERY
HONEST_EVERY = 64  # changed messages between two whole honest handshakes


@contextmanager
def repeatable() -> Iterator[None]:
    """Equal inputs make equal Seals and signatures here."""
    seal, sign = KemPublic.seal, ClientKey.sign
    keys = {}

    @cache
    def sealed(raw: bytes, label: bytes, h: bytes, p: bytes) -> bytes:
        return seal(keys[raw], label, h, p)

    def seal_again(self: KemPublic, label: bytes, h: bytes, p: bytes | bytearray) -> bytes:
        keys[self.raw] = self
        return sealed(self.raw, label, h, bytes(p))

    with patch.object(KemPublic, "seal", seal_again), patch.object(ClientKey, "sign", cache(sign)):
        yield


class Scene:
    """One message of an honest handshake, and those before it."""

    def __init__(self, name: str, pad: int = 0, seed: int = 0) -> None:
        """Only within `repeatable`, like all that is done with it."""
        self.name, self._pad, self._seed = name, pad, seed
        self._resumes = name in RECOVERY
        self._number = (RECOVERY if self._resumes else SESSION).index(name)
        client, server = self._honest(self.world())
        both = [client.sent, server.sent]
        self._said = [both[number % 2][number // 2] for number in range(self._number + 1)]
        self.message = self._said[-1]

    def world(self, seed: int = 0) -> World:
        """A client and a server; the same for the same seed."""
        return World(pad=self._pad, seed=self._seed + seed)

    def _honest(self, world: World) -> tuple[Side, Side]:
        sides = world.recovery() if self._resumes else world.new_session()
        assert sides[0].outcome() and sides[1].outcome(), "an honest handshake works"
        return sides

    def listener(self, world: World) -> Side:
        """Who receives the message: fresh, all before it said and heard."""
        if self._number % 2:
            side = Side(world.resume() if self._resumes else world.greet())
        else:
            side = Side(world.serve(world.recover if self._resumes else world.welcome))
        mine = side.run()
        for number in range(self._number):
            if number % 2 == self._number % 2:
                side.inbox += self._said[number]
                mine = side.run()
            else:
                assert mine == [self._said[number]], "the handshake is not the same again"
        return side

    def faults(self, changed: bytes, honest: bool = False) -> list[str]:
        """What is wrong with the answer to a message that is not the honest one; `honest`: tries a whole handshake too.

        The listener ends with an error of ours or waits for more, says nothing, and has no session. What it shares with
        the next attempt, the set of nonces, is as it was, or knows one nonce more, that of this attempt.
        """
        world = self.world()
        side = self.listener(world)
        said, error = len(side.sent), None
        side.inbox += changed
        try:
            side.run()
            error = side.error
        except Exception as foreign:  # whatever it is, it is not to come
            return [f"{type(foreign).__name__}: {foreign}"]
        faults = []
        if side.over and not isinstance(error, NitroSocksError):
            faults.append("a session")
        if len(side.sent) > said:
            faults.append("an answer")
        if self._number == 0 and isinstance(error, NotOurs) and not self._hears(world):
            faults.append("the same greeting, unchanged, is not heard")
        if honest:
            self._honest(self._next(world))
        self.error = type(error).__name__
        side.generator.close()
        return faults

    def _hears(self, world: World) -> bool:
        """Whether the server answers the honest first message after all."""
        side = Side(world.serve(world.recover if self._resumes else world.welcome))
        side.inbox += self.message
        return bool(side.run())

    def _next(self, world: World) -> World:
        """The same server, and the client's next attempt."""
        later = self.world(seed=1)
        later.nonces = world.nonces
        return later


def flipped(message: bytes, bit: int) -> bytes:
    """The message with one bit changed, counted from its first byte's lowest."""
    at, mask = bit // 8, 1 << bit % 8
    return message[:at] + bytes([message[at] ^ mask]) + message[at + 1 :]
