"""A thief with one secret greets, or is greeted: the check where he fails, and what he can do (docs/protocol.md, 8)."""

from __future__ import annotations

import pytest
from dialogue import (
    CERTIFICATE,
    CLIENT,
    HOUR,
    OTHER_CLIENT,
    OTHER_SERVER,
    OTHER_TOKEN,
    SERVER,
    TOKEN,
    Side,
    World,
    talk,
)
from thief import C4, DOES_NOT_OPEN, GREETING, P4, Careless, answered, at, greeted, posing, pretended

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.identity import ClientKey
from nitrosocks_lib.crypto.schedule import SymmetricState
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import NotAuthorised, NotOurs, ProtocolError, Refused
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.protocol import greet
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.protocol.handshake import Dialogue, read
from nitrosocks_lib.protocol.welcome import Hello


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greet, "SymmetricState", Careless)


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


# What is not one secret


def test_a_profile_is_the_client() -> None:
    """S, seed and Token together: that is what makes a client. The operator revokes it."""
    client, server = World(who=Credentials(SERVER.public, CLIENT, TOKEN)).new_session()
    assert client.outcome().keys.root == server.outcome().keys.root


def test_the_servers_seed_and_a_token_are_the_server() -> None:
    """To this client, and to no other: 8.1."""
    assert answered(SERVER, TOKEN).outcome().keys.root
