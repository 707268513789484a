"""A thief with one secret, and what he tries: the check where he fails, and what he can do (docs/protocol.md, 8).

He runs our own code with the secret that he has, makes up the others, and goes on where an honest side would stop. He
knows S, as every client does, and all public keys.
"""

from __future__ import annotations

import os

import pytest
from dialogue import (
    CERTIFICATE,
    CLIENT,
    HOUR,
    OTHER_CLIENT,
    OTHER_SERVER,
    OTHER_TOKEN,
    RESUME_SECRET,
    SERVER,
    TOKEN,
    Side,
    World,
    default_terms,
    seeded,
    talk,
)

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, KemPrivate, KemPublic, ServerKey
from nitrosocks_lib.crypto.schedule import SymmetricState
from nitrosocks_lib.crypto.seal import Opener, Sealer
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import BadFrame, NotAuthorised, NotOurs, ProtocolError, Refused
from nitrosocks_lib.facts.wire import EncryptType, Refusal
from nitrosocks_lib.protocol import greet, refresh
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.protocol.handshake import Dialogue, Keys, read
from nitrosocks_lib.protocol.welcome import Authorised, Hello

DOES_NOT_OPEN = "a handshake message does not open"
C4 = wire.SALT + wire.EPHEMERAL  # what a client has read of CHALLENGE, or RECOVERED, when its second part fails
P4 = wire.U16.size + wire.TAG  # the first part of RESPONSE
GREETING = wire.KNOCK + wire.HELLO + wire.GREETING_BODY + wire.TAG  # without padding


class Guess(KemPrivate):
    """A KEM key that is another one: what it cannot open it makes up."""

    def __init__(self, raw: bytes, public: bytes) -> None:
        super().__init__(raw)
        self.public = public

    def open(self, label: bytes, h: bytes, sealed: bytes) -> bytes:
        if label == b"challenge":
            return bytes(64) + wire.CHALLENGE_CHOICE.pack(EncryptType.AES_256_GCM, wire.VERSION)
        return bytes(len(sealed) - wire.SEAL_OVERHEAD)


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


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greet, "SymmetricState", Careless)


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


# What lets nobody in


def test_the_knock_key() -> None:
    """Q6, G3: his knocks match, and the first Enc does not open, since S is in the transcript: one more scanner."""
    nonce, knock = bytes([0x80]) * wire.NONCE, schedule.knock_key(SERVER.public)
    state = SymmetricState(OTHER_SERVER.public)
    first = nonce + schedule.knock_tag(knock, HOUR, nonce)
    state.mix_hash(first)
    state.mix_key_and_hash(schedule.knock_psk(knock, HOUR, nonce))

    def thief() -> Dialogue[None]:
        yield first + state.enc(wire.HELLO_HEAD.pack(wire.KIND_GREETING, 0) + bytes(wire.SEALED_SECRET))

    world = World()
    at(talk(thief(), world.serve(world.welcome))[1], NotOurs, DOES_NOT_OPEN, wire.KNOCK + wire.HELLO)


def test_s_alone() -> None:
    """G7: who is not authorised is refused, and so told that the server speaks NitroSocks (8.12)."""
    at(greeted(ClientKey(OTHER_CLIENT.seed), OTHER_TOKEN), Refused, "unknown or revoked", GREETING)


def test_s_under_the_name_of_a_client(careless: None) -> None:
    """C6, P4: R1 and TokenTemp are sealed to C, so that the RESPONSE of who has not opened them does not open."""
    at(greeted(posing(), OTHER_TOKEN), ProtocolError, DOES_NOT_OPEN, GREETING + P4)


def test_the_token_as_a_client(careless: None) -> None:
    """C6, P4: the same. The Token is the secret of the TOTP, too; the proof stands in a part that does not open."""
    at(greeted(posing(), TOKEN), ProtocolError, DOES_NOT_OPEN, GREETING + P4)


def test_the_token_as_a_server() -> None:
    """G3, G6, C4: sS is sealed to S, so he does not learn who greets, nor E, and what he answers does not open."""
    pretended(TOKEN, 0)


def test_the_clients_seed(careless: None) -> None:
    """C8, P4: he opens the challenge and could sign, and has no key for RESPONSE without the Token."""
    at(greeted(CLIENT, OTHER_TOKEN), ProtocolError, DOES_NOT_OPEN, GREETING + P4)


def test_the_clients_seed_of_one_who_cares() -> None:
    """C10: an honest client with a wrong Token is told what it is."""
    client = World(who=Credentials(SERVER.public, CLIENT, OTHER_TOKEN)).new_session()[0]
    assert type(client.error) is NotAuthorised and "Token" in str(client.error)


def test_the_clients_seed_as_a_server() -> None:
    """G3, C4: the same; what is sealed to C he could open, and nothing of it comes to him."""
    pretended(OTHER_TOKEN, 0)


def test_the_servers_seed() -> None:
    """C10: the client finds that he lacks the Token. He can read who greets, and refuse (8.12, 8.13)."""
    last = wire.CHALLENGE_SEALED + wire.TAG + wire.CHALLENGE_LAST + wire.TAG
    at(answered(SERVER, OTHER_TOKEN), NotAuthorised, "Token", C4 + last)
    seen = []
    world = World()
    world.lookup = seen.append  # type: ignore[method-assign,func-returns-value]
    client, server = world.new_session()
    assert seen == [CLIENT.client_id] and isinstance(client.error, NotAuthorised)
    assert isinstance(server.error, Refused) and server.error.reason is Refusal.UNKNOWN_CLIENT


def test_the_key_of_the_certificate() -> None:
    """G3, C4: nobody notices that he ends the TLS (C11), and inside he can do what any middlebox can."""
    world = World(pad=0)
    assert world.new_session()[0].outcome().certificate_hash == CERTIFICATE  # he need not change it
    pretended(OTHER_TOKEN, 0)


def reading(hello: Hello) -> Dialogue[SymmetricState]:
    """Who owns the server's seed reads the rest of a GREETING."""
    body = yield from read(hello.state, wire.GREETING_BODY)
    assert body.startswith(CLIENT.client_id)
    return hello.state


def test_all_long_term_secrets_and_a_recording() -> None:
    """C3, C4 (8.3): sE is sealed to E, which no file holds. He reads the GREETING, and nothing behind it."""
    world = World(pad=0)
    client, server = world.new_session()
    challenge, thief = server.sent[0], World(pad=0)
    reader = Side(thief.serve(reading))
    reader.inbox += client.sent[0]
    reader.run()
    state: SymmetricState = reader.outcome()
    state.mix_key_and_hash(challenge[: wire.SALT])
    before = state.h
    part = state.dec(challenge[wire.SALT : C4])  # under keys from sS: of use to know that it is there
    for key in (SERVER.kem, CLIENT.kem):
        with pytest.raises(ProtocolError, match="the seal 'ephemeral' does not open"):
            key.open(b"ephemeral", before, part[wire.U16.size :])
    with pytest.raises(ProtocolError, match=DOES_NOT_OPEN):
        state.dec(challenge[C4 : C4 + wire.CHALLENGE_SEALED + wire.TAG])


# A session


@pytest.fixture
def keys() -> tuple[Keys, Keys, KemPrivate]:
    """Of a session, before and behind a refresh, and the private half of the client's E' before it."""
    random, first = seeded(5), Keys(bytes([1]) * 32, bytes([2]) * 32)
    ephemeral = KemPrivate(random(96))
    started = refresh.start(first, KemPublic(ephemeral.public), KemPublic(CLIENT.kem.public), random)
    answer, new, _ = refresh.answer(first, started.payload, ephemeral, CLIENT, SERVER.public, random)
    assert refresh.finish(first, started, answer, SERVER)[0] == new
    return first, new, ephemeral


def reads(root: bytes, other: bytes) -> bool:
    """Whether a frame that is sealed under one root opens under another."""
    kind, frame = EncryptType.AES_256_GCM, bytearray(1 + wire.FRAME_OVERHEAD)
    Sealer(schedule.frame_keys(root, b"c2s", kind)).seal(b"x", memoryview(frame))
    try:
        Opener(schedule.frame_keys(other, b"c2s", kind)).open(memoryview(frame), memoryview(bytearray(1)))
    except BadFrame:
        return False
    return True


def test_rk_until_the_next_refresh(keys: tuple[Keys, Keys, KemPrivate]) -> None:
    """F3 behind RF5: he reads and forges in this epoch, not in the next one; and does not resume (U3)."""
    first, new, _ = keys
    assert reads(first.root, first.root)
    assert not reads(first.root, new.root) and not reads(new.root, first.root)
    resumed(first.root, CLIENT, "a handshake message does not open")


def test_rk_and_the_refresh_that_he_carries(keys: tuple[Keys, Keys, KemPrivate]) -> None:
    """RF3: what makes the next root is sealed to E', C and S; who owns none of them opens nothing."""
    random, (first, _, ephemeral) = seeded(6), keys
    started = refresh.start(first, KemPublic(ephemeral.public), KemPublic(CLIENT.kem.public), random)
    with pytest.raises(ProtocolError, match="the seal 'refresh ephemeral' does not open"):
        refresh.answer(first, started.payload, KemPrivate(random(96)), OTHER_CLIENT, SERVER.public, random)
    with pytest.raises(ProtocolError, match="the seal 'refresh client' does not open"):  # with E' he opens the first
        refresh.answer(first, started.payload, ephemeral, OTHER_CLIENT, SERVER.public, random)
    answer, _, _ = refresh.answer(first, started.payload, ephemeral, CLIENT, SERVER.public, random)
    with pytest.raises(ProtocolError, match="the seal 'refresh server' does not open"):
        refresh.finish(first, started, answer, OTHER_SERVER)


def test_rk_and_the_new_session_key(keys: tuple[Keys, Keys, KemPrivate]) -> None:
    """RF5: without N2 and N3 it is another root. A SessionKey alone opens nothing."""
    first, new, _ = keys
    session_key = bytes(32)
    for root in (session_key, schedule.refreshed_root(first.root, session_key + bytes(64), b"", b"")):
        assert not reads(root, new.root)


def test_the_session_key() -> None:
    """Y3, X1: it is one of many inputs of ck, the only one that he has. He knows h, as all who hear (M1)."""
    client, server = World(seed=3).new_session()
    random = seeded(4)
    random(32)  # as the server drew them: R1, …
    state = SymmetricState(SERVER.public)
    state.h = client.outcome().keys.hs
    state.mix_key_and_hash(random(32))
    assert not reads(client.outcome().keys.root, schedule.root_key(state.ck))
    server.outcome()


def resumed(secret: bytes, key: ClientKey, text: str) -> None:
    """The thief resumes with this RS and these keys, and the server finds it here."""
    world, terms = World(pad=0), default_terms()
    terms.resume_secret = secret
    who = Credentials(SERVER.public, key, TOKEN)
    thief = greet.resume(who, terms, 5, 7, HOUR, seeded(1, 0))
    server = talk(thief, world.serve(world.recover))[1]
    assert type(server.error) is ProtocolError and text in str(server.error), repr(server.error)
    assert server.sent == []


def test_rs() -> None:
    """U6: with session id and j as well he lacks both signatures."""
    resumed(RESUME_SECRET, posing(), "a signature does not verify")


def test_rs_as_a_server() -> None:
    """U2, V2: sS is sealed to S."""
    pretended(RESUME_SECRET, 1)


def test_the_clients_seed_does_not_resume() -> None:
    """U3: RS is missing, although he signs."""
    resumed(os.urandom(32), CLIENT, DOES_NOT_OPEN)


# What is not one secret


def test_a_profile_is_the_client() -> None:
    """S, seed and Token together: that is what makes a client. The operator revokes it."""
    client, server = World(who=Credentials(SERVER.public, CLIENT, TOKEN)).new_session()
    assert client.outcome().keys.root == server.outcome().keys.root


def test_the_servers_seed_and_a_token_are_the_server() -> None:
    """To this client, and to no other: 8.1."""
    assert answered(SERVER, TOKEN).outcome().keys.root
