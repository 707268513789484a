"""The symmetric state of the handshake, every label and every derived key (protocol 1, 3.1 to 3.4, 4, 5)."""

from __future__ import annotations

import hmac as _hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ..facts import wire
from ..facts.errors import ProtocolError
from ..facts.limits import LATE
from ..facts.wire import U64, EncryptType, Refusal
from .secret import Secret

NAME: Final = b"NitroSocks/1 XWing Ed25519+MLDSA65 AESGCM SHA256"
CLIENT_TO_SERVER: Final = b"c2s"
SERVER_TO_CLIENT: Final = b"s2c"
_ZEROS: Final = bytes(32)
Buffer: TypeAlias = bytes | bytearray | memoryview


def hash256(*parts: Buffer) -> bytes:
    """H of protocol 1 over the joined parts."""
    digest = sha256()
    for part in parts:  # joined they would be one more copy of what may be secret
        digest.update(part)
    return digest.digest()


def hmac256(key: bytes | bytearray, message: bytes) -> bytes:
    """HMAC-SHA-256 of what is no secret."""
    return _hmac.digest(key, message, "sha256")


def expand(prk: bytes | bytearray, info: bytes, size: int) -> Secret:
    """Expand of RFC 5869; size in bytes, at most 255 × 32."""
    out = Secret(size)
    HKDFExpand(SHA256(), size, info).derive_into(prk, out)
    return out


def hkdf(salt: bytes | bytearray, ikm: Buffer, info: bytes, size: int) -> Secret:
    """HKDF of RFC 5869: extract, then expand. An empty salt means 32 zero bytes there."""
    extract = HMAC(salt or _ZEROS, SHA256())
    extract.update(ikm)
    return expand(Secret.taken(extract.finalize()), info, size)


def equal(a: Buffer, b: Buffer) -> bool:
    """Whether two byte strings are equal, in constant time."""
    return _hmac.compare_digest(a, b)


class SymmetricState:
    """h, ck, k and n of protocol 3.1. One handshake owns one, and ends it."""

    __slots__ = ("_aead", "_n", "ck", "h")

    def __init__(self, server_public: bytes) -> None:
        self.h = hash256(NAME)
        self.ck = Secret(self.h)
        self._n = 0
        self._aead: AESGCM | None = None
        self.mix_hash(server_public)

    def mix_hash(self, d: Buffer) -> None:
        """MixHash(d)."""
        self.h = hash256(self.h, d)

    def mix_key(self, x: Buffer) -> None:
        """MixKey(x)."""
        okm = memoryview(hkdf(self.ck, x, b"ns1 mix", 64))
        self.ck, self._aead, self._n = Secret(okm[:32]), AESGCM(okm[32:]), 0

    def mix_key_and_hash(self, x: Buffer) -> None:
        """MixKeyAndHash(x)."""
        okm = memoryview(hkdf(self.ck, x, b"ns1 mixhash", 96))
        self.ck, self._aead, self._n = Secret(okm[:32]), AESGCM(okm[64:]), 0
        self.mix_hash(okm[32:64])

    def end(self) -> None:
        """The handshake is over: nothing of ck and k is left, whoever still refers to this state (protocol 8.3)."""
        self.ck, self._aead = Secret(), None

    def _nonce(self) -> bytes:
        nonce = bytes(4) + U64.pack(self._n)
        self._n += 1
        return nonce

    def enc(self, p: Buffer) -> bytes:
        """Enc(p): len(p) + 16 bytes to send."""
        assert self._aead is not None, "protocol 3.2 mixes a key before the first Enc"
        c = self._aead.encrypt(self._nonce(), p, self.h)
        self.mix_hash(c)
        return c

    def dec(self, c: bytes) -> bytes:
        """Dec(c); raises ProtocolError when the tag is wrong, and the state is then of no more use."""
        assert self._aead is not None, "protocol 3.2 mixes a key before the first Dec"
        try:
            p = self._aead.decrypt(self._nonce(), c, self.h)
        except InvalidTag:
            raise ProtocolError("a handshake message does not open") from None
        self.mix_hash(c)
        return p


# -- the knock (protocol 2, 3.2, 3.6, 6) ----------------------------------------------------------------------------


def knock_key(server_public: bytes) -> Secret:
    """`knock`: what everybody who has the server's public key knows."""
    return hkdf(b"", server_public, b"ns1 knock", 32)


def knock_tag(knock: Secret, hour: int, nonce: bytes) -> bytes:
    """The 16 bytes that follow the nonce; hour = unix time // 3600."""
    return tag_of(tag_key(knock, hour), nonce)


def tag_key(knock: Secret, hour: int) -> Secret:
    """What makes the tags of one hour."""
    return expand(knock, b"ns1 tag" + U64.pack(hour), 32)


def tag_of(key: Secret, nonce: bytes) -> bytes:
    """As `knock_tag`, with the key of the hour."""
    return hmac256(key, nonce)[: wire.TAG]


def knock_psk(knock: Secret, hour: int, nonce: bytes) -> Secret:
    """The key mixed after the knock; unique through the nonce."""
    return expand(knock, b"ns1 psk" + U64.pack(hour) + nonce, 32)


def late_seconds(knock: Secret) -> int:
    """Seconds after accept at which a connection that is not ours is closed: 30 to 90, fixed per server."""
    return LATE + int.from_bytes(expand(knock, b"ns1 late", 2), "big") % 61


def refusal(ck: bytes | bytearray, reason: Refusal) -> bytes:
    """The 32 bytes sent in place of the salt; ck as of after MixKey(sS)."""
    return bytes(expand(ck, b"ns1 refused" + bytes([reason]), 32))


def token_key(token: bytes) -> Secret:
    """What of the Token is mixed into CHALLENGE."""
    return expand(token, b"ns1 token", 32)


# -- after the handshake (protocol 3.4, 4, 5) -----------------------------------------------------------------------


def root_key(ck: Secret) -> Secret:
    """RK."""
    return expand(ck, b"ns1 root", 32)


def resume_secret(ck: Secret) -> Secret:
    """RS; stays for the life of the session."""
    return expand(ck, b"ns1 resume", 32)


@dataclass(frozen=True, slots=True, repr=False)
class FrameKeys:
    """Key, IV and mask of one direction and epoch."""

    key: Secret
    iv: Secret
    mask: Secret


def frame_keys(root: Secret, direction: bytes, encrypt_type: EncryptType) -> FrameKeys:
    """K, IV and M of protocol 4; direction = CLIENT_TO_SERVER or SERVER_TO_CLIENT."""
    return FrameKeys(
        key=expand(root, b"ns1 key " + direction + bytes([encrypt_type]), encrypt_type.key_size),
        iv=expand(root, b"ns1 iv " + direction, 12),
        mask=expand(root, b"ns1 mask " + direction, 32),
    )


def refresh_transcript(hs: bytes, epoch: int) -> bytes:
    """The h of the three seals of a refresh; epoch is the one before it."""
    return hash256(hs, wire.U32.pack(epoch))


def refreshed_root(root: Secret, secrets: Secret, refresh: bytes, refreshed: bytes) -> Secret:
    """RK' from RK, NewSessionKey ‖ N2 ‖ N3, and the payloads of REFRESH and REFRESHED."""
    return hkdf(root, secrets, b"ns1 refresh" + hash256(refresh, refreshed), 32)


def switch_value(root: Secret) -> bytes:
    """The payload of SWITCH under the new root."""
    return bytes(expand(root, b"ns1 switch", 32))
