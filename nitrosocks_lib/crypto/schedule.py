"""The symmetric state of the handshake, every label and every derived key (protocol 1, 3.1 to 3.4, 4, 5)."""

from __future__ import annotations

import hmac as _hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..facts import wire
from ..facts.errors import ProtocolError
from ..facts.limits import LATE
from ..facts.wire import U64, EncryptType, Refusal

NAME: Final = b"NitroSocks/1 XWing Ed25519+MLDSA65 AESGCM SHA256"
CLIENT_TO_SERVER: Final = b"c2s"
SERVER_TO_CLIENT: Final = b"s2c"


def hash256(*parts: bytes) -> bytes:
    """H of protocol 1 over the joined parts."""
    return sha256(b"".join(parts)).digest()


def hmac256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return _hmac.digest(key, message, "sha256")


def expand(prk: bytes, info: bytes, size: int) -> bytes:
    """Expand of RFC 5869; size in bytes, at most 255 × 32."""
    out, block, counter = b"", b"", 1
    while len(out) < size:
        block = hmac256(prk, block + info + bytes([counter]))
        out, counter = out + block, counter + 1
    return out[:size]


def hkdf(salt: bytes, ikm: bytes, info: bytes, size: int) -> bytes:
    """HKDF of RFC 5869: extract, then expand. An empty salt means 32 zero bytes there, which HMAC gives by itself."""
    return expand(hmac256(salt, ikm), info, size)


def equal(a: bytes, b: bytes) -> bool:
    """Whether two byte strings are equal, in constant time."""
    return _hmac.compare_digest(a, b)


class SymmetricState:
    """h, ck, k and n of protocol 3.1. One handshake owns one; it is dropped when the handshake ends."""

    __slots__ = ("_aead", "_n", "ck", "h")

    def __init__(self, server_public: bytes) -> None:
        self.h = self.ck = hash256(NAME)
        self._n = 0
        self._aead: AESGCM | None = None
        self.mix_hash(server_public)

    def mix_hash(self, d: bytes) -> None:
        """MixHash(d)."""
        self.h = hash256(self.h, d)

    def mix_key(self, x: bytes) -> None:
        """MixKey(x)."""
        okm = hkdf(self.ck, x, b"ns1 mix", 64)
        self.ck, self._aead, self._n = okm[:32], AESGCM(okm[32:]), 0

    def mix_key_and_hash(self, x: bytes) -> None:
        """MixKeyAndHash(x)."""
        okm = hkdf(self.ck, x, b"ns1 mixhash", 96)
        self.ck, self._aead, self._n = okm[:32], AESGCM(okm[64:]), 0
        self.mix_hash(okm[32:64])

    def _nonce(self) -> bytes:
        nonce = bytes(4) + U64.pack(self._n)
        self._n += 1
        return nonce

    def enc(self, p: bytes) -> bytes:
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


def knock_key(server_public: bytes) -> bytes:
    """`knock`: what everybody who has the server's public key knows."""
    return hkdf(b"", server_public, b"ns1 knock", 32)


def knock_tag(knock: bytes, hour: int, nonce: bytes) -> bytes:
    """The 16 bytes that follow the nonce; hour = unix time // 3600."""
    return hmac256(expand(knock, b"ns1 tag" + U64.pack(hour), 32), nonce)[: wire.TAG]


def knock_psk(knock: bytes, hour: int, nonce: bytes) -> bytes:
    """The key mixed after the knock; unique through the nonce."""
    return expand(knock, b"ns1 psk" + U64.pack(hour) + nonce, 32)


def late_seconds(knock: bytes) -> int:
    """Seconds after accept at which a connection that is not ours is closed: 30 to 90, fixed per server."""
    return LATE + int.from_bytes(expand(knock, b"ns1 late", 2), "big") % 61


def refusal(ck: bytes, reason: Refusal) -> bytes:
    """The 32 bytes sent in place of the salt; ck as of after MixKey(sS)."""
    return expand(ck, b"ns1 refused" + bytes([reason]), 32)


def token_key(token: bytes) -> bytes:
    """What of the Token is mixed into CHALLENGE."""
    return expand(token, b"ns1 token", 32)


# -- after the handshake (protocol 3.4, 4, 5) -----------------------------------------------------------------------


def root_key(ck: bytes) -> bytes:
    """RK."""
    return expand(ck, b"ns1 root", 32)


def resume_secret(ck: bytes) -> bytes:
    """RS; stays for the life of the session."""
    return expand(ck, b"ns1 resume", 32)


@dataclass(frozen=True, slots=True, repr=False)
class FrameKeys:
    """Key, IV and mask of one direction and epoch."""

    key: bytes
    iv: bytes
    mask: bytes


def frame_keys(root: bytes, direction: bytes, encrypt_type: EncryptType) -> FrameKeys:
    """K, IV and M of protocol 4; direction = CLIENT_TO_SERVER or SERVER_TO_CLIENT."""
    return FrameKeys(
        key=expand(root, b"ns1 key " + direction + bytes([encrypt_type]), encrypt_type.key_size),
        iv=expand(root, b"ns1 iv " + direction, 12),
        mask=expand(root, b"ns1 mask " + direction, 32),
    )


def refresh_transcript(hs: bytes, epoch: int) -> bytes:
    """The h of the three seals of a refresh; epoch is the one before it."""
    return hash256(hs, wire.U32.pack(epoch))


def refreshed_root(root: bytes, secrets: bytes, refresh: bytes, refreshed: bytes) -> bytes:
    """RK' from RK, NewSessionKey ‖ N2 ‖ N3, and the payloads of REFRESH and REFRESHED."""
    return hkdf(root, secrets, b"ns1 refresh" + hash256(refresh, refreshed), 32)


def switch_value(root: bytes) -> bytes:
    """The payload of SWITCH under the new root."""
    return expand(root, b"ns1 switch", 32)
