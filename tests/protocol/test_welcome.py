"""protocol/welcome from the second part on: CHALLENGE, SESSION, RECOVERED (protocol 3.3, 3.5); see test_hello too."""

from collections.abc import Callable

import pytest
import recorded
from dialogue import (
    CLIENT,
    NOW_MS,
    OTHER_CLIENT,
    RESUME_ENCS,
    SESSION_ENCS,
    SESSION_ID,
    Side,
    World,
    alter_enc,
    default_terms,
    put,
    talk,
)
from recorded import each_run, raw

from nitrosocks_lib.crypto.identity import ClientKey, KemPrivate
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import NotAuthorised, Overtaken, ProtocolError, Refused
from nitrosocks_lib.facts.wire import EncryptType, Refusal
from nitrosocks_lib.protocol import greet as client_side

U16, U32 = wire.U16.pack, wire.U32.pack

# The recorded runs


@each_run
def test_welcome_says_what_was_recorded(run: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    player, server = talk(recorded.player(recorded.messages(run), 0), recorded.welcome(run, monkeypatch))
    welcomed = server.outcome()
    player.outcome()
    assert server.sent == [raw(run["messages"]["CHALLENGE"]), raw(run["messages"]["SESSION"])]
    assert (welcomed.keys.hs.hex(), welcomed.keys.root.hex(), welcomed.keys.epoch) == (run["hs"], run["RK"], 0)
    assert welcomed.terms == recorded.terms(run, raw(run["RS"]))
    assert welcomed.ephemeral.raw == KemPrivate(raw(run["next_ephemeral_raw"])).public
    assert welcomed.client.public.client_id.hex() == run["client_id"]
    assert U32(welcomed.peer_window) == recorded.session_steps(run).input("body")[wire.GREETING_BODY - 4 :][:4]


@each_run
def test_recover_says_what_was_recorded(run: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    recovery = run["recovery"]
    player, server = talk(recorded.player(recorded.messages(recovery), 0), recorded.recover(run, monkeypatch))
    attempt, request, keys = server.outcome()
    player.outcome()
    assert server.sent == [raw(recovery["messages"]["RECOVERED"])]
    assert (keys.hs.hex(), keys.root.hex(), keys.epoch) == (recovery["hs"], recovery["RK"], 0)
    assert (attempt, request.received) == (recovery["j"], recovery["client_received"])
    assert request.reply_to.raw == KemPrivate(raw(recovery["ephemeral_raw"])).public
    body = recorded.resume_steps(run).input("body")
    assert request.ephemeral.raw == recorded.next_ephemeral(body, wire.U64.size)


# GREETING

BODY = [  # what is put where into the second part, and what comes of it
    (-4, U32(65_535), ProtocolError),
    (-4, U32(65_536), None),
    (-4, U32(67_108_864), None),
    (-4, U32(67_108_865), ProtocolError),
    (-8, U32(0b100), None),
    (-8, U32(0xFFFFFFFF), None),
    (-8, U32(0b010), None),
    (-8, U32(0b001), Refusal.NO_COMMON),
    (-8, U32(0), Refusal.NO_COMMON),
    (-12, U32(0), Refusal.NO_COMMON),
    (-12, U32(2), Refusal.NO_COMMON),
    (0, bytes(wire.CLIENT_ID), Refusal.UNKNOWN_CLIENT),
    (wire.CLIENT_ID, b"\xff" * 3, ProtocolError),
    (wire.CLIENT_ID + wire.MLKEM_PUBLIC, bytes(32), ProtocolError),  # a point of small order
]


def check(sides: tuple[Side, Side], outcome: type | Refusal | None) -> None:
    """Both agree, or the server refuses with a reason, or it fails and says nothing more."""
    client, server = sides
    if isinstance(outcome, Refusal):
        assert server.error.reason is outcome
        assert type(client.error) is (NotAuthorised if outcome is Refusal.UNKNOWN_CLIENT else Refused)
    elif outcome:
        assert type(server.error) is outcome
        assert not client.over
    else:
        assert client.outcome().keys.hs
        server.outcome()


@pytest.mark.parametrize(("at", "value", "outcome"), BODY)
def test_the_second_part_of_a_greeting(
    at: int, value: bytes, outcome: type | Refusal | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_enc(monkeypatch, SESSION_ENCS, "body", put(at, value))
    check(World(pad=0).new_session(), outcome)


@pytest.mark.parametrize(
    ("preferred", "offer", "chosen"),
    [(1, 2, 1), (1, 4, 2), (1, 6, 1), (2, 4, 2), (2, 2, 1), (2, 6, 2), (1, 2**32 - 1, 1), (2, 2**31 + 3, 1)],
)
def test_what_is_chosen_was_offered(preferred: int, offer: int, chosen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alter_enc(monkeypatch, SESSION_ENCS, "body", put(-8, U32(offer)))
    sides = World(terms=default_terms(EncryptType(preferred)), pad=0).new_session()
    check(sides, None)
    assert [side.outcome().terms.encrypt_type for side in sides] == [chosen, chosen]


@pytest.mark.parametrize(
    ("encs", "part", "dialogue"),
    [
        (SESSION_ENCS, "body", "new_session"),
        (SESSION_ENCS, "response", "new_session"),
        (RESUME_ENCS, "body", "recovery"),
    ],
)
@pytest.mark.parametrize(("at", "value", "good"), [(-1, b"\0", True), (-1, b"\1", False), (-1024, b"\1", False)])
def test_padding_is_zeros(
    encs: list[str], part: str, dialogue: str, at: int, value: bytes, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_enc(monkeypatch, encs, part, put(at, value))
    check(getattr(World(pad=1024), dialogue)(), None if good else ProtocolError)


# RESPONSE


@pytest.mark.parametrize(("pad", "good"), [(1023, None), (1024, None), (1025, False), (65_535, False)])
def test_pad_of_a_response(pad: int, good: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pad within its bounds that the client did not send: the server waits, or finds a part that does not open."""
    alter_enc(monkeypatch, SESSION_ENCS, "head", put(0, U16(pad)))
    server = World(pad=1024 if pad == 1024 else 0).new_session()[1]
    assert server.over is (pad >= 1024)
    assert type(server.error) is (ProtocolError if pad > 1024 else type(None))


@pytest.mark.parametrize("at", [0, 31, 32, 95, 96, 96 + 3308])
def test_proof_and_signatures_must_hold(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alter_enc(monkeypatch, SESSION_ENCS, "response", lambda p: p[:at] + bytes([p[at] ^ 1]) + p[at + 1 :])
    check(World().new_session(), NotAuthorised)


def test_a_signed_proof_of_another_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_side, "proof", lambda *_: bytes(32))
    check(World().new_session(), NotAuthorised)


def test_signatures_of_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ClientKey.sign
    monkeypatch.setattr(ClientKey, "sign", lambda self, *asked: real(OTHER_CLIENT, *asked))
    check(World().new_session(), NotAuthorised)
    check(World().recovery(), ProtocolError)


@pytest.mark.parametrize(("seconds", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_the_time_between_challenge_and_response(seconds: int, good: bool) -> None:
    times = iter((NOW_MS, NOW_MS + 1000 * seconds))
    check(World(now_ms=lambda: next(times)).new_session(), None if good else NotAuthorised)


# RESUME


@pytest.mark.parametrize(
    ("attempt", "last", "good"),
    [(1, 0, True), (5, 4, True), (2**32 - 1, 4, True), (4, 4, False), (3, 4, False), (0, 0, False)],
)
def test_j_is_above_the_last_one(attempt: int, last: int, good: bool) -> None:
    check(World(last_attempt=last).recovery(attempt=attempt), None if good else Overtaken)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"known": None}, Refusal.UNKNOWN_CLIENT), ({"terms": default_terms()}, Refusal.UNKNOWN_SESSION)],
    ids=["revoked", "unknown session"],
)
@pytest.mark.parametrize("attempt", [1, 5])
def test_a_session_that_is_over(changes: dict, reason: Refusal, attempt: int) -> None:
    world = World(**changes)
    if reason is Refusal.UNKNOWN_SESSION:
        world.terms.session_id = SESSION_ID[:-1] + b"?"
    check(world.recovery(attempt=attempt), reason)


@pytest.mark.parametrize("at", [0, 7, 8, 71, 72, 72 + 3308])
def test_what_a_resume_states_is_signed(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alter_enc(monkeypatch, RESUME_ENCS, "body", lambda p: p[:at] + bytes([p[at] ^ 1]) + p[at + 1 :])
    check(World().recovery(), ProtocolError)


def test_another_resume_secret_ends_it_at_the_server() -> None:
    world = World()
    world.terms.resume_secret = bytes(32)
    client, server = world.recovery()
    assert type(server.error) is ProtocolError
    assert not client.over


# Ephemeral keys that are none; those of small order show when they are used.

BAD_KEM = b"\xff" * wire.MLKEM_PUBLIC


class Pair:
    """An ephemeral pair whose public half is made up; the client signs it all the same."""

    def __init__(self, public: bytes) -> None:
        self.public = public


@pytest.mark.parametrize("dialogue", ["new_session", "recovery"])
@pytest.mark.parametrize("number", [0, 1], ids=["E", "next E"])
def test_an_ephemeral_key_that_is_none(dialogue: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[KemPrivate | Pair] = [KemPrivate(bytes([n]) * wire.KEM_PRIVATE) for n in range(2)]
    pairs[number] = Pair(BAD_KEM + pairs[number].public[wire.MLKEM_PUBLIC :])
    monkeypatch.setattr(client_side, "draw_ephemeral", lambda _: pairs.pop(0))
    check(getattr(World(), dialogue)(), ProtocolError)


def test_a_small_order_key_in_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable = client_side.draw_ephemeral
    pairs = [Pair(CLIENT.kem.public[: wire.MLKEM_PUBLIC] + bytes(32))]
    monkeypatch.setattr(client_side, "draw_ephemeral", lambda random: pairs.pop(0) if pairs else real(random))
    check(World().recovery(), ProtocolError)
