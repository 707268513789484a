"""A thief with one secret. He runs our own code with it, makes up the others, and goes on where an honest side stops.

He knows S, as every client does, and all public keys.
"""

from __future__ import annotations

import os

from dialogue import CLIENT, OTHER_CLIENT, OTHER_SERVER, SERVER, Side, World, default_terms, talk

from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, KemPrivate, ServerKey
from nitrosocks_lib.crypto.schedule import SymmetricState
from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import ProtocolError
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.protocol.handshake import Dialogue
from nitrosocks_lib.protocol.welcome import Authorised

DOES_NOT_OPEN = "a handshake message does not open"
C4 = wire.SALT + wire.EPHEMERAL  # what a client has read of CHALLENGE, or RECOVERED, when its second part fails
P4 = wire.U16.size + wire.TAG  # the first part of RESPONSE
GREETING = wire.KNOCK + wire.HELLO + wire.GREETING_BODY + wire.TAG  # without padding


class Guess(KemPrivate):
    """A KEM key that is another one: what it cannot open it makes up."""

    def __init__(self, raw: bytes, public: bytes) -> None:
        super().__init__(raw)
        self.public = public

    def open(self, label: bytes, h: bytes, sealed: bytes) -> Secret:
        if label == b"challenge":
            return Secret(bytes(64) + wire.CHALLENGE_CHOICE.pack(EncryptType.AES_256_GCM, wire.VERSION))
        return Secret(len(sealed) - wire.SEAL_OVERHEAD)


class Careless(SymmetricState):
    """Of a thief's client: what does not open counts as zeros."""

    def dec(self, c: bytes) -> bytes:
        try:
            return super().dec(c)
        except ProtocolError:
            self.mix_hash(c)
            return bytes(len(c) - wire.TAG)


class Posing(ServerKey):
    """A server's key of which only S is right."""

    def __init__(self) -> None:
        super().__init__(OTHER_SERVER.seed)
        self.public = SERVER.public
        self.kem = Guess(bytes(96), SERVER.public)


def posing() -> ClientKey:
    """A client's key of which only the public half is right."""
    key = ClientKey(OTHER_CLIENT.seed)
    key.public, key.client_id, key.kem = CLIENT.public, CLIENT.client_id, Guess(bytes(96), CLIENT.kem.public)
    return key


def greeted(key: ClientKey, token: bytes) -> Side:
    """The thief greets the honest server, which ends so."""
    return World(who=Credentials(SERVER.public, key, token), pad=0).new_session()[1]


def answered(key: ServerKey, token: bytes) -> Side:
    """The thief answers an honest client, which ends so."""
    known = Authorised("ann", ClientPublic(CLIENT.public), token)
    return World(server=key, known=known, pad=0).new_session()[0]


def pretended(secret: bytes, number: int) -> None:
    """The thief who does not own S answers a GREETING (0) or a RESUME (1); `secret` is his Token, or RS.

    He does not open what follows cS, so that he does not know E; an answer that he makes up does not open.
    """
    known, terms = Authorised("ann", ClientPublic(CLIENT.public), secret), default_terms()
    terms.resume_secret = secret
    thief = World(server=Posing(), known=known, terms=terms, pad=0)
    server = (thief.new_session, thief.recovery)[number]()[1]
    second = (GREETING, wire.KNOCK + wire.HELLO + wire.RESUME_HEAD + wire.TAG)[number]
    at(server, ProtocolError, DOES_NOT_OPEN, second)

    def made_up() -> Dialogue[None]:
        yield second
        yield os.urandom(4096)

    honest = World(pad=0)
    at(talk((honest.greet, honest.resume)[number](), made_up())[0], ProtocolError, DOES_NOT_OPEN, C4)


def at(side: Side, kind: type, text: str, taken: int) -> None:
    """It failed with this error, behind so many bytes, and said nothing more."""
    assert type(side.error) is kind and text in str(side.error), repr(side.error)
    assert side.taken == taken
