"""The functions of the second endpoint and its keys that last: docs/protocol.md, 1 and 2."""

import hashlib

from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def H(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def expand(prk: bytes, info: bytes, n: int = 32) -> bytes:
    return HKDFExpand(hashes.SHA256(), n, info).derive(prk)


def hkdf(salt: bytes, ikm: bytes, info: bytes, n: int = 32) -> bytes:
    return HKDF(hashes.SHA256(), n, salt, info).derive(ikm)


def kem_keys(raw: bytes) -> tuple:
    """The private and the public KEM key that 96 bytes make."""
    ml, x = mlkem.MLKEM768PrivateKey.from_seed_bytes(raw[:64]), x25519.X25519PrivateKey.from_private_bytes(raw[64:])
    return hpke.MLKEM768X25519PrivateKey(ml, x), ml.public_key().public_bytes_raw() + x.public_key().public_bytes_raw()


def client_keys(seed: bytes) -> tuple:
    """The private KEM key, the client public key, and the two signing keys."""
    kem, c = kem_keys(hashlib.shake_256(expand(seed, b"ns1 client kem")).digest(96))
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(expand(seed, b"ns1 client ed25519"))
    ml = mldsa.MLDSA65PrivateKey.from_seed_bytes(expand(seed, b"ns1 client mldsa65"))
    return kem, c + ed.public_key().public_bytes_raw() + ml.public_key().public_bytes_raw(), ed, ml


def seal(pk: bytes, label: bytes, h: bytes, plain: bytes) -> bytes:
    key = mlkem.MLKEM768PublicKey.from_public_bytes(pk[:1184]), x25519.X25519PublicKey.from_public_bytes(pk[1184:])
    return SUITE.encrypt(plain, hpke.MLKEM768X25519PublicKey(*key), info=b"ns1 " + label + h)
