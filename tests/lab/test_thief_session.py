"""A thief with one secret of a session: the check where he fails, and what he can do (docs/protocol.md, 8)."""

from __future__ import annotations

import os

import pytest
from dialogue import (
    CLIENT,
    HOUR,
    OTHER_CLIENT,
    OTHER_SERVER,
    RESUME_SECRET,
    SERVER,
    TOKEN,
    World,
    default_terms,
    seeded,
    talk,
)
from thief import DOES_NOT_OPEN, posing, pretended

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.identity import ClientKey, KemPrivate, KemPublic
from nitrosocks_lib.crypto.schedule import SymmetricState
from nitrosocks_lib.crypto.seal import Opener, Sealer
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import BadFrame, ProtocolError
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.protocol import greet, refresh
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.protocol.handshake import Keys


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
