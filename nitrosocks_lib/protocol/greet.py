"""The client's side of the handshake: GREETING to SESSION, and RESUME to RECOVERED (protocol 3.3, 3.5)."""

from __future__ import annotations

from dataclasses import dataclass

from ..crypto import schedule
from ..crypto.identity import ClientKey, KemPrivate, KemPublic, proof
from ..crypto.schedule import SymmetricState
from ..crypto.secret import Secret, wipe
from ..facts import limits, wire
from ..facts.errors import DecoyAnswer, NotAuthorised, ProtocolError, Refused
from ..facts.wire import U16, U32, U64, EncryptType, Refusal
from .handshake import (
    OFFER,
    OFFERED,
    Dialogue,
    Keys,
    Random,
    Terms,
    checked_pad,
    checked_zeros,
    derive,
    draw_ephemeral,
    draw_pad,
    draw_secret,
    read,
    signed_response,
    signed_resume,
    within,
)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a profile holds: S, the client's keys and its Token."""

    server_public: bytes
    key: ClientKey
    token: bytes


@dataclass(slots=True, repr=False)
class Greeted:
    """A new session as the client has it; `ephemeral` is the private half of E', `server_ms` the time of CHALLENGE."""

    keys: Keys
    terms: Terms
    ephemeral: KemPrivate
    certificate_hash: bytes
    server_ms: int


@dataclass(slots=True, repr=False)
class Recovered:
    """A reconnected session: `received` is how many of our numbered frames the server has."""

    keys: Keys
    ephemeral: KemPrivate
    received: int
    certificate_hash: bytes


def _knock(state: SymmetricState, who: Credentials, hour: int, random: Random) -> bytes:
    """nonce ‖ tag, mixed in; the nonce never begins as HTTP or TLS does (protocol 3.2)."""
    knock = schedule.knock_key(who.server_public)
    nonce = random(wire.NONCE)
    while nonce[:1].isalpha() or nonce[0] == 0x16:
        nonce = random(wire.NONCE)
    tag = schedule.knock_tag(knock, hour, nonce)
    state.mix_hash(nonce + tag)
    state.mix_key_and_hash(schedule.knock_psk(knock, hour, nonce))
    return nonce + tag


def _hello(state: SymmetricState, who: Credentials, kind: int, pad: int, random: Random) -> bytes:
    """The first Enc of both kinds: it gives the server its secret sS."""
    secret = draw_secret(random)
    sealed = KemPublic(who.server_public).seal(b"server", state.h, secret)
    part = state.enc(wire.HELLO_HEAD.pack(kind, pad) + sealed)
    state.mix_key(secret)
    return part


def _refusals(state: SymmetricState) -> dict[bytes, Refusal]:
    """What would refuse this message; to be asked for behind MixKey(sS)."""
    return {schedule.refusal(state.ck, reason): reason for reason in Refusal}


def _salt(state: SymmetricState, refusals: dict[bytes, Refusal]) -> Dialogue[None]:
    """The first 32 bytes of the answer: the salt, or one of the five refusals."""
    salt = yield wire.SALT
    if salt.startswith(b"HTTP/1."):  # by chance once in 2^56
        raise DecoyAnswer(salt)
    for refusal, reason in refusals.items():
        if schedule.equal(salt, refusal):
            raise _refused(reason)
    state.mix_key_and_hash(salt)


def _refused(reason: Refusal) -> Refused | NotAuthorised:
    if reason is Refusal.UNKNOWN_CLIENT:
        return NotAuthorised(
            "the server does not know this client, or has a fault in its file for it",
            "ask the operator: the server's log says which, and 'nitrosocks check' there what mends the file",
        )
    return Refused(reason)


def _ephemeral(state: SymmetricState, ephemeral: KemPrivate) -> Dialogue[int]:
    """The part `u16 pad ‖ cE`; returns pad."""
    before = state.h
    part = yield from read(state, wire.EPHEMERAL - wire.TAG)
    state.mix_key(ephemeral.open(b"ephemeral", before, part[U16.size :]))
    return checked_pad(part[: U16.size])


def greet(who: Credentials, hour: int, window: int, random: Random) -> Dialogue[Greeted]:
    """Makes a new session. `hour` = unix time // 3600, `window` in bytes is what this client receives with.

    Raises Refused or NotAuthorised with the server's reason, ProtocolError for all else (protocol 3.3).
    """
    state = SymmetricState(who.server_public)
    ephemeral, pad = draw_ephemeral(random), draw_pad(random)
    message = _knock(state, who, hour, random) + _hello(state, who, wire.KIND_GREETING, pad, random)
    offer = wire.GREETING_OFFER.pack(wire.VERSION, OFFER, window)
    yield message + state.enc(who.key.client_id + ephemeral.public + offer + bytes(pad))

    r1, encrypt_type, server_ms, certificate_hash = yield from _challenge(state, who, ephemeral)

    pad, following = draw_pad(random), draw_ephemeral(random)
    head = state.enc(U16.pack(pad))
    answer = proof(who.token, r1, server_ms // 1000)
    signatures = who.key.sign(b"ns1 response", signed_response(state.h, answer, following.public))
    yield head + state.enc(answer + signatures + following.public + bytes(pad))

    terms = yield from _session(state, encrypt_type)
    terms.resume_secret = schedule.resume_secret(state.ck)
    return Greeted(derive(state), terms, following, certificate_hash, server_ms)


def _challenge(
    state: SymmetricState, who: Credentials, ephemeral: KemPrivate
) -> Dialogue[tuple[Secret, EncryptType, int, bytes]]:
    """CHALLENGE; returns R1, encryptType, the server's time in ms and the certificate hash."""
    yield from _salt(state, _refusals(state))
    pad = yield from _ephemeral(state, ephemeral)
    before = state.h
    part = yield from read(state, wire.CHALLENGE_SEALED)
    opened = memoryview(who.key.kem.open(b"challenge", before, part))
    secrets, choice = opened[: 2 * wire.SECRET], opened[2 * wire.SECRET :]
    encrypt_type, version = wire.CHALLENGE_CHOICE.unpack(choice)
    if version != wire.VERSION or encrypt_type not in OFFERED:  # a number that is none here is never shifted by
        raise ProtocolError("the server chose a version or an encryptType that was not offered")
    state.mix_key(secrets)
    state.mix_key_and_hash(schedule.token_key(who.token))
    sealed = yield wire.CHALLENGE_LAST + pad + wire.TAG
    try:
        last = state.dec(sealed)
    except ProtocolError:
        raise NotAuthorised(
            "the server's Token for this client is not the one in the profile",
            "ask the operator for a new profile; if it is the right server, one of the two files was changed",
        ) from None
    checked_zeros(last[wire.CHALLENGE_LAST :])
    (server_ms,) = U64.unpack(last[: U64.size])
    return Secret(secrets[: wire.SECRET]), EncryptType(encrypt_type), server_ms, last[U64.size : wire.CHALLENGE_LAST]


def _session(state: SymmetricState, encrypt_type: EncryptType) -> Dialogue[Terms]:
    head = yield from read(state, wire.SESSION_HEAD)
    (rest,) = U16.unpack(head[:2])
    session_key, session_id = Secret(memoryview(head)[2:34]), head[34:50]
    window, resume, heartbeat = wire.SESSION_TERMS.unpack(head[50:])
    wipe(head)  # SessionKey is in it
    within(window, limits.WINDOW_MIN, limits.WINDOW_MAX, "window")
    within(resume, 0, limits.RESUME_MAX, "resume time")
    within(heartbeat, limits.HEARTBEAT_MIN, limits.HEARTBEAT_MAX, "heartbeat")
    within(rest, U16.size, U16.size + limits.ADDRESS_MAX + limits.PAD_MAX, "size")
    tail = yield from read(state, rest)
    (n,) = U16.unpack(tail[:2])
    within(n, 0, limits.ADDRESS_MAX, "address length")
    within(rest, n + U16.size, n + U16.size + limits.PAD_MAX, "padding")
    checked_zeros(tail[2 + n :])
    try:
        address = tail[2 : 2 + n].decode()
    except UnicodeDecodeError:
        raise ProtocolError("the address in SESSION is not UTF-8") from None
    state.mix_key_and_hash(session_key)
    return Terms(encrypt_type, session_id, Secret(), window, resume, heartbeat, address)


def resume(
    who: Credentials, terms: Terms, attempt: int, received: int, hour: int, random: Random
) -> Dialogue[Recovered]:
    """Resumes a session on a new connection (protocol 3.5). `attempt` is j, `received` our count of numbered frames.

    Refused with UNKNOWN_SESSION and NotAuthorised end the session; any other error is a failed attempt.
    """
    state = SymmetricState(who.server_public)
    ephemeral, following, pad = draw_ephemeral(random), draw_ephemeral(random), draw_pad(random)
    message = _knock(state, who, hour, random) + _hello(state, who, wire.KIND_RESUME, pad, random)
    message += state.enc(terms.session_id + U32.pack(attempt) + ephemeral.public)
    refusals = _refusals(state)
    state.mix_key_and_hash(terms.resume_secret)
    signatures = who.key.sign(b"ns1 resume", signed_resume(state.h, received, following.public))
    yield message + state.enc(U64.pack(received) + signatures + following.public + bytes(pad))

    yield from _salt(state, refusals)
    pad = yield from _ephemeral(state, ephemeral)
    before = state.h
    part = yield from read(state, wire.SEALED_SECRET)
    state.mix_key_and_hash(who.key.kem.open(b"recovery", before, part))
    last = yield from read(state, wire.RECOVERED_LAST + pad)
    checked_zeros(last[wire.RECOVERED_LAST :])
    (theirs,) = U64.unpack(last[: U64.size])
    return Recovered(derive(state), following, theirs, last[U64.size : wire.RECOVERED_LAST])
