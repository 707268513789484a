"""Long-term and ephemeral keys, Seal, the TOTP proof and the signatures (protocol 1, 2, 3.3, 3.5)."""

from __future__ import annotations

from base64 import b32encode, b64encode
from hashlib import shake_256
from typing import Final

import pyotp
from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from ..facts import wire
from ..facts.errors import ProtocolError
from ..facts.limits import TOTP_STEP
from .schedule import Buffer, equal, expand, hash256
from .secret import Secret, overwrite_freed

_ANY_X25519: Final = X25519PrivateKey.from_private_bytes(bytes(32))  # no secret; every one finds bad points out
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def missing_algorithm() -> str:
    """The name of a needed algorithm that this build of `cryptography` lacks, or an empty string."""
    try:
        MLKEM768PrivateKey.from_seed_bytes(bytes(64))
    except UnsupportedAlgorithm:
        return "ML-KEM-768"
    try:
        MLDSA65PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:
        return "ML-DSA-65"
    return ""


class KemPublic:
    """A KEM public key: 1216 bytes; raises ProtocolError for bytes that are none."""

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != wire.KEM_PUBLIC:
            raise ProtocolError(f"a KEM public key has {wire.KEM_PUBLIC} bytes, not {len(raw)}")
        self.raw = raw
        try:
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(raw[: wire.MLKEM_PUBLIC]),
                X25519PublicKey.from_public_bytes(raw[wire.MLKEM_PUBLIC :]),
            )
        except ValueError:
            raise ProtocolError("not a KEM public key") from None

    def check_usable(self) -> None:
        """Raises ProtocolError where nothing can be sealed to this key: its X25519 point is of small order."""
        try:
            _ANY_X25519.exchange(X25519PublicKey.from_public_bytes(self.raw[wire.MLKEM_PUBLIC :]))
        except ValueError:
            raise ProtocolError("not a usable KEM public key") from None

    def seal(self, label: bytes, h: bytes, p: bytes | bytearray) -> bytes:
        """Seal(pk, label, p) under transcript hash h: len(p) + 1136 bytes."""
        try:
            return _SUITE.encrypt(p, self._key, b"ns1 " + label + h)
        except ValueError:  # an X25519 point of small order: only a peer that cheats sends one
            raise ProtocolError("not a usable KEM public key") from None
        finally:
            overwrite_freed()


class KemPrivate:
    """A KEM key pair from 96 bytes: ML-KEM seed 64 ‖ X25519 private key 32."""

    __slots__ = ("_key", "public")

    def __init__(self, raw: bytes | bytearray) -> None:
        assert len(raw) == wire.KEM_PRIVATE
        view = memoryview(raw)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(view[: wire.MLKEM_SEED])
        x25519 = X25519PrivateKey.from_private_bytes(view[wire.MLKEM_SEED :])
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    def open(self, label: bytes, h: bytes, sealed: Buffer) -> Secret:
        """The plaintext of a Seal; raises ProtocolError when it does not open."""
        try:
            return Secret.taken(_SUITE.decrypt(sealed, self._key, b"ns1 " + label + h))
        except (InvalidTag, ValueError):
            raise ProtocolError(f"the seal {label.decode()!r} does not open") from None
        finally:
            overwrite_freed()


def _from_seed(seed: bytes | bytearray) -> KemPrivate:
    return KemPrivate(Secret.taken(shake_256(seed).digest(wire.KEM_PRIVATE)))


class ServerKey:
    """The server's key from its 32-byte seed; `public` is S."""

    __slots__ = ("kem", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.kem = _from_seed(seed)
        self.public = self.kem.public


class ClientPublic:
    """C ‖ Ed25519 ‖ ML-DSA-65, 3200 bytes; raises ProtocolError for bytes that are none, or not usable.

    The keys are made of their bytes at each use: kept, those of 10,000 clients take 170 MB, and 0.1 ms is a small part
    of a handshake.
    """

    __slots__ = ("client_id", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != wire.CLIENT_PUBLIC:
            raise ProtocolError(f"a client public key has {wire.CLIENT_PUBLIC} bytes, not {len(raw)}")
        self.raw = raw
        self.client_id = hash256(b"ns1 client", raw)[: wire.CLIENT_ID]
        self.kem.check_usable()
        try:
            self._verifiers()
        except ValueError:
            raise ProtocolError("not a client public key") from None

    @property
    def kem(self) -> KemPublic:
        """C."""
        return KemPublic(self.raw[: wire.KEM_PUBLIC])

    def _verifiers(self) -> tuple[Ed25519PublicKey, MLDSA65PublicKey]:
        ed25519, mldsa = self.raw[wire.KEM_PUBLIC :][: wire.ED25519_PUBLIC], self.raw[-wire.MLDSA_PUBLIC :]
        return Ed25519PublicKey.from_public_bytes(ed25519), MLDSA65PublicKey.from_public_bytes(mldsa)

    def verify(self, signatures: bytes, context: bytes, message: bytes) -> None:
        """Both signatures over context ‖ message must verify, else ProtocolError."""
        signed = context + message
        ed25519, mldsa = self._verifiers()
        try:
            ed25519.verify(signatures[: wire.ED25519_SIGNATURE], signed)
            mldsa.verify(signatures[wire.ED25519_SIGNATURE :], signed, context)
        except InvalidSignature:
            raise ProtocolError("a signature does not verify") from None


class ClientKey:
    """The client's three private keys from its 32-byte seed."""

    __slots__ = ("_ed25519", "_mldsa", "client_id", "kem", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.kem = _from_seed(expand(seed, b"ns1 client kem", 32))
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(expand(seed, b"ns1 client ed25519", 32))
        self._mldsa = MLDSA65PrivateKey.from_seed_bytes(expand(seed, b"ns1 client mldsa65", 32))
        self.public = (
            self.kem.public
            + self._ed25519.public_key().public_bytes_raw()
            + self._mldsa.public_key().public_bytes_raw()
        )
        self.client_id = hash256(b"ns1 client", self.public)[: wire.CLIENT_ID]

    def sign(self, context: bytes, message: bytes) -> bytes:
        """Ed25519 ‖ ML-DSA-65 signatures over context ‖ message; ML-DSA also takes the context as such."""
        signed = context + message
        return self._ed25519.sign(signed) + self._mldsa.sign(signed, context)


def totp(token: bytes, seconds: int) -> bytes:
    """The 6 ASCII digits of RFC 6238 with secret Token at a unix time in seconds."""
    # HOTP over the step: pyotp.TOTP goes through local time, which is ambiguous when summer time ends
    return pyotp.HOTP(b32encode(token).decode()).at(max(seconds, 0) // TOTP_STEP).encode()


def proof(token: bytes, r1: bytes | bytearray, seconds: int) -> bytes:
    """H( H(Token ‖ R1) ‖ TOTP ) of protocol 3.3."""
    return hash256(hash256(token, r1), totp(token, seconds))


def proof_holds(claimed: bytes, token: bytes, r1: bytes | bytearray, seconds: int) -> bool:
    """Whether a proof fits the step of `seconds` or one to either side; all three are compared, in constant time."""
    steps = (seconds - TOTP_STEP, seconds, seconds + TOTP_STEP)
    fits = [equal(claimed, proof(token, r1, at)) for at in steps]  # a list: no step is left out, whichever fits
    return any(fits)


def fingerprint(public: bytes) -> str:
    """`SHA256:…` as ssh prints it: base64 without padding of H over the public key."""
    return f"SHA256:{_printed(hash256(public))}"


def client_fingerprint(client_id: bytes) -> str:
    """A client's key, as `SHA256:…` too, of its client_id: of a client that it does not know a server has no more."""
    return f"SHA256:{_printed(client_id)}"


def _printed(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")
