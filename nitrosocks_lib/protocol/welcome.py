"""The server's side of the handshake: the knock, CHALLENGE and SESSION, RECOVERED (protocol 3.2 to 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ..crypto import schedule
from ..crypto.identity import ClientPublic, KemPublic, ServerKey, proof_holds
from ..crypto.schedule import SymmetricState
from ..crypto.secret import Secret, joined
from ..facts import limits, wire
from ..facts.errors import NotAuthorised, NotOurs, Overtaken, ProtocolError, Refused
from ..facts.wire import U16, U32, U64, EncryptType, Refusal
from .handshake import (
    OFFER,
    Dialogue,
    Keys,
    Random,
    Terms,
    checked_pad,
    checked_zeros,
    derive,
    draw_pad,
    draw_secret,
    read,
    signed_response,
    signed_resume,
    within,
)
from .nonces import Carried, Nonces


@dataclass(frozen=True, slots=True, repr=False)
class Authorised:
    """One authorised client as the handshake needs it."""

    name: str
    public: ClientPublic
    token: bytes


@dataclass(slots=True, repr=False)
class Hello:
    """A valid first Enc: its kind, the padding that the message ends with, and the state after MixKey(sS)."""

    kind: int
    pad: int
    state: SymmetricState
    refusals: dict[Refusal, bytes]  # made at once, so that ck need not be kept for them
    fresh: bool  # False when the hour's set of nonces is full, and this one not stored

    @property
    def rest(self) -> int:
        """How many bytes of the client's first message are behind it."""
        if self.kind == wire.KIND_GREETING:
            return wire.GREETING_BODY + self.pad + wire.TAG
        return wire.RESUME_HEAD + wire.TAG + wire.RESUME_BODY + self.pad + wire.TAG

    def refusal(self, reason: Refusal) -> bytes:
        """The 32 bytes that refuse, sent alone in place of the salt."""
        return self.refusals[reason]


@dataclass(slots=True, repr=False)
class Challenge:
    """What the server puts into CHALLENGE and SESSION beside random bytes; the time is asked again for RESPONSE."""

    certificate_hash: bytes
    now_ms: Callable[[], int]


@dataclass(slots=True, repr=False)
class Welcomed:
    """A new session as the server has it; `ephemeral` is the client's E', `peer_window` the client's own.

    `session` is SESSION, to be written when a RESUME would find the session: the client may send one at once.
    """

    client: Authorised
    keys: Keys
    terms: Terms
    ephemeral: KemPublic
    peer_window: int
    session: bytes = b""


@dataclass(slots=True, repr=False)
class Resume:
    """A RESUME that verified; `received` is how many of our numbered frames the client has."""

    received: int
    ephemeral: KemPublic
    reply_to: KemPublic
    state: SymmetricState


def read_hello(
    key: ServerKey, first: bytes, hour: int, nonces: Nonces, carried: Carried | None = None
) -> Dialogue[Hello]:
    """The knock and the first Enc; `first` is what the first read gave, of which 40 bytes are the knock.

    `carried` is the carrier that brought them, unless that is `raw`: its id is put in with the nonce (TK4).

    Raises NotOurs for everything that belongs to the decoy (protocol 3.6). Bytes of `first` beyond the knock are to be
    given to this generator again: it asks for them as for others.
    """
    matching, nonce = _match_knock(key, first, hour)
    if nonces.seen(matching, nonce):
        raise NotOurs("a greeting was replayed")
    state = SymmetricState(key.public)
    state.mix_hash(first[: wire.KNOCK])
    state.mix_key_and_hash(schedule.knock_psk(schedule.knock_key(key.public), matching, nonce))
    before = state.h
    try:
        part = yield from read(state, wire.HELLO - wire.TAG)
    except ProtocolError as error:
        raise NotOurs(str(error)) from None
    fresh = nonces.put(matching, nonce, hour, carried)
    kind, pad = wire.HELLO_HEAD.unpack(part[: wire.HELLO_HEAD.size])
    checked_pad(U16.pack(pad))
    if kind not in (wire.KIND_GREETING, wire.KIND_RESUME):
        raise ProtocolError(f"a first message of unknown kind {kind}")
    state.mix_key(key.kem.open(b"server", before, part[wire.HELLO_HEAD.size :]))
    return Hello(kind, pad, state, {reason: schedule.refusal(state.ck, reason) for reason in Refusal}, fresh)


def knocks(key: ServerKey, first: bytes, hour: int) -> bool:
    """Whether the first read begins with a valid tag; whether its nonce was seen is not looked at."""
    try:
        _match_knock(key, first, hour)
    except NotOurs:
        return False
    return True


def _match_knock(key: ServerKey, first: bytes, hour: int) -> tuple[int, bytes]:
    """The hour whose tag fits and the nonce; all three hours are tried, in constant time."""
    nonce, tag = first[: wire.NONCE], first[wire.NONCE : wire.KNOCK]
    if len(first) < wire.KNOCK:
        raise NotOurs("fewer bytes than a knock")
    hours = (max(hour - 1, 0), hour, hour + 1)  # a board without a clock starts in 1970
    fits = [schedule.equal(schedule.tag_of(_tag_key(key.public, h), nonce), tag) for h in hours]
    if not any(fits):
        raise NotOurs("no valid tag")
    return hours[fits.index(True)], nonce


@lru_cache(maxsize=8)
def _tag_key(server_public: bytes, hour: int) -> Secret:
    """Kept, since each first read is tried with three; whoever knows S can make it."""
    return schedule.tag_key(schedule.knock_key(server_public), hour)


def welcome(
    hello: Hello,
    lookup: Callable[[bytes], Authorised | None],
    challenge: Challenge,
    terms: Terms,
    random: Random,
) -> Dialogue[Welcomed]:
    """The rest of GREETING, CHALLENGE and RESPONSE (protocol 3.3); SESSION is made, and left to the caller to write.

    Fills in `terms.resume_secret`, and lets `terms.encrypt_type` give way to one that the client offers.

    Raises Refused with the reason to answer, ProtocolError to close without an answer.
    """
    state = hello.state
    body = yield from read(state, wire.GREETING_BODY + hello.pad)
    checked_zeros(body[wire.GREETING_BODY :])
    client = lookup(body[: wire.CLIENT_ID])
    if client is None:
        raise Refused(Refusal.UNKNOWN_CLIENT)
    version, offer, peer_window = wire.GREETING_OFFER.unpack(body[wire.GREETING_BODY - 12 : wire.GREETING_BODY])
    if version != wire.VERSION or not offer & OFFER:
        raise Refused(Refusal.NO_COMMON)
    terms.encrypt_type = _choose(offer, terms.encrypt_type)
    within(peer_window, limits.WINDOW_MIN, limits.WINDOW_MAX, "window")
    reply_to = KemPublic(body[wire.CLIENT_ID : wire.CLIENT_ID + wire.KEM_PUBLIC])

    r1 = draw_secret(random)
    yield _challenge(state, client, reply_to, r1, terms.encrypt_type, challenge, random)

    pad = checked_pad((yield from read(state, U16.size)))
    before = state.h
    response = yield from read(state, wire.RESPONSE_BODY + pad)
    ephemeral = _verified(client, r1, before, response, challenge.now_ms() // 1000)

    session_key = draw_secret(random)
    session = _session(state, terms, session_key, random)
    state.mix_key_and_hash(session_key)
    terms.resume_secret = schedule.resume_secret(state.ck)
    return Welcomed(client, derive(state), terms, ephemeral, peer_window, session)


def _choose(offer: int, preferred: EncryptType) -> EncryptType:
    """The preferred one where the client offers it, else one that it does offer."""
    common: list[EncryptType] = [each for each in (preferred, *EncryptType) if offer & (1 << each)]
    return common[0]


def _challenge(
    state: SymmetricState,
    client: Authorised,
    reply_to: KemPublic,
    r1: Secret,
    encrypt_type: EncryptType,
    challenge: Challenge,
    random: Random,
) -> bytes:
    pad, token_temp = draw_pad(random), draw_secret(random)
    message = _answer_head(state, reply_to, pad, random)
    choice = wire.CHALLENGE_CHOICE.pack(encrypt_type, wire.VERSION)
    message += state.enc(client.public.kem.seal(b"challenge", state.h, joined(r1, token_temp, choice)))
    state.mix_key(joined(r1, token_temp))
    state.mix_key_and_hash(schedule.token_key(client.token))
    return message + state.enc(U64.pack(challenge.now_ms()) + challenge.certificate_hash + bytes(pad))


def _answer_head(state: SymmetricState, reply_to: KemPublic, pad: int, random: Random) -> bytes:
    """The salt and `u16 pad ‖ cE`, with which CHALLENGE and RECOVERED begin."""
    salt, secret = random(wire.SALT), draw_secret(random)
    state.mix_key_and_hash(salt)
    part = state.enc(U16.pack(pad) + reply_to.seal(b"ephemeral", state.h, secret))
    state.mix_key(secret)
    return salt + part


def _verified(client: Authorised, r1: Secret, before: bytes, response: bytes, seconds: int) -> KemPublic:
    """E' of a RESPONSE whose proof and both signatures hold, else NotAuthorised; which check failed is for the log."""
    claimed, signatures = response[: wire.HASH], response[wire.HASH : wire.HASH + wire.SIGNATURES]
    ephemeral = response[wire.HASH + wire.SIGNATURES : wire.RESPONSE_BODY]
    checked_zeros(response[wire.RESPONSE_BODY :])
    if not proof_holds(claimed, client.token, r1, seconds):
        raise NotAuthorised("its key and Token are known, but the proof does not hold: its time differs")
    try:
        client.public.verify(signatures, b"ns1 response", signed_response(before, claimed, ephemeral))
    except ProtocolError as error:
        raise NotAuthorised(str(error)) from None
    return KemPublic(ephemeral)


def _session(state: SymmetricState, terms: Terms, session_key: Secret, random: Random) -> bytes:
    address = terms.address.encode()
    assert len(address) <= limits.ADDRESS_MAX, "checked where it is configured"
    tail = U16.pack(len(address)) + address + bytes(draw_pad(random))
    stated = wire.SESSION_TERMS.pack(terms.window, terms.resume, terms.heartbeat)
    head = joined(U16.pack(len(tail)), session_key, terms.session_id, stated)
    return state.enc(head) + state.enc(tail)


def read_resume(
    hello: Hello, lookup: Callable[[bytes], tuple[Authorised | None, Secret, int] | None]
) -> Dialogue[tuple[bytes, int, Resume]]:
    """The rest of RESUME: session id, j, and what it states (protocol 3.5).

    `lookup` gives the session's client (None: revoked since), RS and the last j accepted. Raises Refused with the
    reason to answer, ProtocolError to close without one.
    """
    state = hello.state
    head = yield from read(state, wire.RESUME_HEAD)
    session_id = head[: wire.SESSION_ID]
    (attempt,) = U32.unpack(head[wire.SESSION_ID : wire.SESSION_ID + U32.size])
    found = lookup(session_id)
    if found is None:
        raise Refused(Refusal.UNKNOWN_SESSION)
    client, secret, last_attempt = found
    if client is None:
        raise Refused(Refusal.UNKNOWN_CLIENT)
    if attempt <= last_attempt:
        raise Overtaken
    state.mix_key_and_hash(secret)
    before = state.h
    body = yield from read(state, wire.RESUME_BODY + hello.pad)
    checked_zeros(body[wire.RESUME_BODY :])
    (received,) = U64.unpack(body[: U64.size])
    signatures, ephemeral = body[U64.size : U64.size + wire.SIGNATURES], body[U64.size + wire.SIGNATURES :]
    ephemeral = ephemeral[: wire.KEM_PUBLIC]
    client.public.verify(signatures, b"ns1 resume", signed_resume(before, received, ephemeral))
    reply_to = KemPublic(head[wire.SESSION_ID + U32.size :])
    return session_id, attempt, Resume(received, KemPublic(ephemeral), reply_to, state)


def recover(
    request: Resume, client: Authorised, received: int, certificate_hash: bytes, random: Random
) -> Dialogue[Keys]:
    """Answers RECOVERED; `received` is our count, final since the old connection was left (protocol 3.5)."""
    state, pad, new_key = request.state, draw_pad(random), draw_secret(random)
    message = _answer_head(state, request.reply_to, pad, random)
    message += state.enc(client.public.kem.seal(b"recovery", state.h, new_key))
    state.mix_key_and_hash(new_key)
    yield message + state.enc(U64.pack(received) + certificate_hash + bytes(pad))
    return derive(state)
