"""crypto/identity: keys from seeds, Seal, signatures, TOTP and proof, fingerprints (protocol 1, 2, 3.3)."""

import re

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from recorded import each_run, raw, refresh_seals, resume_steps, session_steps

from nitrosocks_lib.crypto import identity, schedule
from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, KemPrivate, KemPublic, ServerKey
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import ProtocolError

H = bytes(range(32))
KEM = KemPrivate(bytes(range(96)))
CLIENT = ClientKey(bytes([1]) * 32)
ED25519_AT, MLDSA_AT = wire.KEM_PUBLIC, wire.KEM_PUBLIC + wire.ED25519_PUBLIC

# X25519 points of small order (RFC 7748, section 6.1): 0, 1, two of order 8, and p - 1 to p + 1.
P = 2**255 - 19
SMALL_ORDER = [
    number.to_bytes(32, "little")
    for number in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        P - 1,
        P,
        P + 1,
    )
]


class Lacking:
    """An algorithm that this build does not have."""

    @staticmethod
    def from_seed_bytes(seed: bytes) -> None:
        raise UnsupportedAlgorithm("not built in")


def test_nothing_is_missing_here() -> None:
    assert identity.missing_algorithm() == ""


@pytest.mark.parametrize(
    ("key", "name"), [("MLKEM768PrivateKey", "ML-KEM-768"), ("MLDSA65PrivateKey", "ML-DSA-65")]
)  # fmt: skip
def test_a_missing_algorithm_is_named(monkeypatch: pytest.MonkeyPatch, key: str, name: str) -> None:
    monkeypatch.setattr(identity, key, Lacking)
    assert identity.missing_algorithm() == name


# Keys from seeds


@each_run
def test_recorded_keys(run: dict) -> None:
    server, client = ServerKey(raw(run["server_seed"])), ClientKey(raw(run["client_seed"]))
    public = ClientPublic(raw(run["client_public"]))
    assert server.public.hex() == run["server_public"]
    assert client.public == public.raw
    assert client.client_id.hex() == public.client_id.hex() == run["client_id"]
    assert client.kem.public == public.kem.raw == public.raw[: wire.KEM_PUBLIC]


@each_run
def test_recorded_ephemeral_keys(run: dict) -> None:
    body, response = session_steps(run).input("body"), session_steps(run).input("response")
    at = wire.HASH + wire.SIGNATURES
    assert KemPrivate(raw(run["ephemeral_raw"])).public == body[wire.CLIENT_ID :][: wire.KEM_PUBLIC]
    assert KemPrivate(raw(run["next_ephemeral_raw"])).public == response[at:][: wire.KEM_PUBLIC]


# Seal


@pytest.mark.parametrize("size", [0, 1, 32, 72, 5000])
def test_seal_and_open(size: int) -> None:
    p = bytes([9]) * size
    sealed = KemPublic(KEM.public).seal(b"label", H, p)
    assert len(sealed) == size + wire.SEAL_OVERHEAD
    assert KEM.open(b"label", H, sealed) == p


def test_two_seals_of_the_same_text_differ() -> None:
    public = KemPublic(KEM.public)
    assert public.seal(b"label", H, b"text") != public.seal(b"label", H, b"text")


@pytest.mark.parametrize(
    ("key", "label", "h"),
    [(KEM, b"other", H), (KEM, b"label", H[::-1]), (CLIENT.kem, b"label", H)],
    ids=["label", "h", "key"],
)
def test_a_seal_opens_for_its_key_label_and_transcript_only(key: KemPrivate, label: bytes, h: bytes) -> None:
    sealed = KemPublic(KEM.public).seal(b"label", H, b"text")
    with pytest.raises(ProtocolError):
        key.open(label, h, sealed)


@pytest.mark.parametrize("at", [0, 1087, 1088, 1119, 1120, 1123, 1124, 1139])
def test_a_seal_with_a_changed_byte_does_not_open(at: int) -> None:
    """ML-KEM ciphertext, X25519 key, ciphertext and tag, at both ends; X25519 itself ignores the top bit of its key."""
    sealed = bytearray(KemPublic(KEM.public).seal(b"label", H, b"text"))
    sealed[at] ^= 0x80
    with pytest.raises(ProtocolError):
        KEM.open(b"label", H, bytes(sealed))


@pytest.mark.parametrize("size", [0, 1, wire.KEM_ENC - 1, wire.KEM_ENC, wire.SEAL_OVERHEAD - 1])
def test_a_seal_that_is_too_short_does_not_open(size: int) -> None:
    with pytest.raises(ProtocolError):
        KEM.open(b"label", H, bytes(size))


@each_run
def test_recorded_seals_open(run: dict) -> None:
    """sS for the server; sE, R1 with what follows it, and the key of a recovery for the client."""
    server, client = ServerKey(raw(run["server_seed"])).kem, ClientKey(raw(run["client_seed"])).kem
    for steps, ephemeral in (
        (session_steps(run), KemPrivate(raw(run["ephemeral_raw"]))),
        (resume_steps(run), KemPrivate(raw(run["recovery"]["ephemeral_raw"]))),
    ):
        assert server.open(b"server", steps.h("psk"), steps.input("hello")[3:]) == steps.input("sS")
        assert ephemeral.open(b"ephemeral", steps.h("salt"), steps.input("ephemeral")[2:]) == steps.input("sE")
    session, recovery = session_steps(run), resume_steps(run)
    choice = wire.CHALLENGE_CHOICE.pack(run["encryptType"], 1)
    opened = client.open(b"challenge", session.h("ephemeral"), session.input("challenge"))
    assert opened == session.input("R1-TokenTemp") + choice
    assert opened[: wire.SECRET].hex() == run["R1"]
    opened = client.open(b"recovery", recovery.h("ephemeral"), recovery.input("recovery"))
    assert opened == recovery.input("NewSessionKey")


@each_run
def test_recorded_seals_of_a_refresh_open(run: dict) -> None:
    h = schedule.refresh_transcript(raw(run["hs"]), run["refresh"]["epoch_before"])
    other = schedule.refresh_transcript(raw(run["hs"]), run["refresh"]["epoch_before"] + 1)
    for key, label, sealed in refresh_seals(run):
        assert len(key.open(label, h, sealed)) == wire.SECRET
        with pytest.raises(ProtocolError):
            key.open(label, other, sealed)
    KemPublic(raw(run["refresh"]["REFRESHED"])[wire.SEALED_SECRET :])


# Public keys that are none


@pytest.mark.parametrize(
    "bad",
    [b"", KEM.public[:-1], KEM.public + b"\0", b"\xff" * wire.MLKEM_PUBLIC + KEM.public[wire.MLKEM_PUBLIC :]],
    ids=["empty", "short", "long", "ML-KEM number out of range"],
)
def test_a_bad_kem_key_is_a_protocol_error(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        KemPublic(bad)
    with pytest.raises(ProtocolError):
        ClientPublic(bad + CLIENT.public[wire.KEM_PUBLIC :])


@pytest.mark.parametrize("point", SMALL_ORDER, ids=bytes.hex)
def test_a_point_of_small_order_neither_seals_nor_opens(point: bytes) -> None:
    with pytest.raises(ProtocolError):
        KemPublic(KEM.public[: wire.MLKEM_PUBLIC] + point).seal(b"label", H, b"text")
    sealed = KemPublic(KEM.public).seal(b"label", H, b"text")
    with pytest.raises(ProtocolError):
        KEM.open(b"label", H, sealed[: wire.KEM_ENC - 32] + point + sealed[wire.KEM_ENC :])


@pytest.mark.parametrize("size", [0, wire.CLIENT_PUBLIC - 1, wire.CLIENT_PUBLIC + 1])
def test_a_client_public_key_has_one_size(size: int) -> None:
    with pytest.raises(ProtocolError, match=f"3200 bytes, not {size}"):
        ClientPublic((CLIENT.public + b"\0")[:size])


# Signatures


def test_signatures_verify() -> None:
    signatures = CLIENT.sign(b"ns1 response", b"message")
    assert len(signatures) == wire.SIGNATURES
    ClientPublic(CLIENT.public).verify(signatures, b"ns1 response", b"message")


@pytest.mark.parametrize("at", [0, wire.ED25519_SIGNATURE - 1, wire.ED25519_SIGNATURE, wire.SIGNATURES - 1])
def test_both_signatures_must_verify(at: int) -> None:
    signatures = bytearray(CLIENT.sign(b"ns1 response", b"message"))
    signatures[at] ^= 1
    with pytest.raises(ProtocolError):
        ClientPublic(CLIENT.public).verify(bytes(signatures), b"ns1 response", b"message")


@pytest.mark.parametrize(
    ("context", "message"), [(b"ns1 response", b"massage"), (b"ns1 resume", b"message"), (b"ns1 response ", b"message")]
)
def test_signatures_hold_for_their_context_and_message_only(context: bytes, message: bytes) -> None:
    with pytest.raises(ProtocolError):
        ClientPublic(CLIENT.public).verify(CLIENT.sign(b"ns1 response", b"message"), context, message)


def test_the_context_is_one_of_mldsa_too() -> None:
    """Moving a byte between context and message leaves what Ed25519 signs as it was."""
    signatures = CLIENT.sign(b"ns1 response", b"message")
    with pytest.raises(ProtocolError):
        ClientPublic(CLIENT.public).verify(signatures, b"ns1 respons", b"emessage")


@pytest.mark.parametrize("at", [ED25519_AT, MLDSA_AT], ids=["Ed25519", "ML-DSA"])
def test_signatures_hold_for_their_keys_only(at: int) -> None:
    other = ClientKey(bytes([2]) * 32)
    end = MLDSA_AT if at == ED25519_AT else wire.CLIENT_PUBLIC
    mixed = ClientPublic(CLIENT.public[:at] + other.public[at:end] + CLIENT.public[end:])
    with pytest.raises(ProtocolError):
        mixed.verify(CLIENT.sign(b"ns1 response", b"message"), b"ns1 response", b"message")


@each_run
def test_recorded_signatures_verify(run: dict) -> None:
    public = ClientPublic(raw(run["client_public"]))
    steps, at = session_steps(run), wire.HASH
    body = steps.input("response")[: wire.RESPONSE_BODY]
    signatures, following = body[at : at + wire.SIGNATURES], body[at + wire.SIGNATURES :]
    public.verify(signatures, b"ns1 response", steps.h("head") + body[:at] + following)
    steps, at = resume_steps(run), wire.U64.size
    body = steps.input("body")[: wire.RESUME_BODY]
    signatures, following = body[at : at + wire.SIGNATURES], body[at + wire.SIGNATURES :]
    public.verify(signatures, b"ns1 resume", steps.h("RS") + body[:at] + following)


# TOTP and the proof


@pytest.mark.parametrize(
    ("seconds", "digits"),  # RFC 6238, appendix B, SHA-1: the last six of the eight digits
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_totp_is_that_of_rfc_6238(seconds: int, digits: str) -> None:
    assert identity.totp(b"12345678901234567890", seconds) == digits[2:].encode()


@each_run
def test_recorded_totp_and_proof(run: dict) -> None:
    seconds = run["server_ms"] // 1000
    assert identity.totp(raw(run["token"]), seconds).decode() == run["totp"]
    assert identity.proof(raw(run["token"]), raw(run["R1"]), seconds).hex() == run["proof"]


@pytest.mark.parametrize(("steps", "holds"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
@pytest.mark.parametrize("second", [0, 29])
def test_a_proof_holds_for_its_step_and_one_to_either_side(steps: int, holds: bool, second: int) -> None:
    at = 1_000_000_020 + second
    claimed = identity.proof(bytes(32), H, 1_000_000_020)
    assert identity.proof_holds(claimed, bytes(32), H, at + 30 * steps) is holds


@pytest.mark.parametrize(("token", "r1"), [(bytes(31) + b"\1", H), (bytes(32), H[::-1])])
def test_a_proof_holds_for_its_token_and_challenge_only(token: bytes, r1: bytes) -> None:
    assert not identity.proof_holds(identity.proof(bytes(32), H, 90), token, r1, 90)


# Fingerprints


def test_a_fingerprint_is_as_ssh_prints_it() -> None:
    assert identity.fingerprint(b"abc") == "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
    assert re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", identity.fingerprint(CLIENT.public))


def test_a_clients_fingerprint_is_its_client_id() -> None:
    assert identity.client_fingerprint(bytes(range(16))) == "SHA256:AAECAwQFBgcICQoLDA0ODw"


@pytest.mark.parametrize("point", [bytes(32), bytes([1]) + bytes(31), bytes([0xEC]) + b"\xff" * 30 + b"\x7f"])
def test_a_point_of_small_order_is_found_out_before_anything_is_sealed(point: bytes) -> None:
    raw = KemPublic(ServerKey(bytes(32)).public).raw
    KemPublic(raw).check_usable()
    weak = KemPublic(raw[: wire.MLKEM_PUBLIC] + point)
    for use in (weak.check_usable, lambda: weak.seal(b"", b"", b"")):
        with pytest.raises(ProtocolError, match="not a usable KEM public key"):
            use()
    with pytest.raises(ProtocolError, match="not a usable KEM public key"):
        ClientPublic(weak.raw + ClientKey(bytes(32)).public[wire.KEM_PUBLIC :])
