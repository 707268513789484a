"""Certificates that no library makes: DER put together by hand, with the EC key that they are for. None is signed."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nitrosocks_lib.crypto.certificate import make

COMMON_NAME, COUNTRY = bytes.fromhex("0603550403"), bytes.fromhex("0603550406")
UTF8, PRINTABLE, T61, BMP = 0x0C, 0x13, 0x14, 0x1E
_VERSION_3, _ECDSA = bytes.fromhex("a003020102"), bytes.fromhex("300a06082a8648ce3d040302")


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + value


def name(*attributes: tuple[bytes, int, bytes]) -> bytes:
    """A name of attributes: OID, type of text, text."""
    return _tlv(0x30, b"".join(_tlv(0x31, _tlv(0x30, oid + _tlv(kind, text))) for oid, kind, text in attributes))


NAMED = name((COMMON_NAME, UTF8, b"A box"))


def certificate(serial: bytes = b"\x05", issuer: bytes = NAMED) -> tuple[bytes, bytes]:
    """DER, and the key as PEM."""
    pem, key = make(datetime.now(UTC))
    public = x509.load_pem_x509_certificate(pem).public_key()
    times = _tlv(0x30, _tlv(0x17, b"200101000000Z") + _tlv(0x17, b"491231235959Z"))
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    body = _tlv(0x30, _VERSION_3 + _tlv(2, serial) + _ECDSA + issuer + times + issuer + spki)
    signature = _tlv(0x30, _tlv(2, b"\x01") + _tlv(2, b"\x01"))
    return _tlv(0x30, body + _ECDSA + _tlv(3, b"\0" + signature)), key


# What is said of each, where Python's warnings are not errors.
STRANGE: dict[str, tuple[bytes, bytes, str]] = {
    "negative serial": (b"\xff\x01", NAMED, "A box"),
    "zero serial": (b"\x00", NAMED, "A box"),
    "no name": (b"\x05", name(), "unknown issuer"),
    "empty RDN": (b"\x05", _tlv(0x30, _tlv(0x31, b"")), "unknown issuer"),
    "empty text": (b"\x05", name((COMMON_NAME, UTF8, b"")), "CN="),
    "long text": (b"\x05", name((COMMON_NAME, UTF8, b"x" * 300)), "x" * 79 + "…"),
    "long country": (b"\x05", name((COUNTRY, PRINTABLE, b"Germany"), (COMMON_NAME, UTF8, b"A box")), "A box"),
    "no UTF-8": (b"\x05", name((COMMON_NAME, UTF8, b"\xff\xfe")), "unknown issuer"),
    "half a surrogate": (b"\x05", name((COMMON_NAME, BMP, b"\0x\xd8\0")), "unknown issuer"),
    "bad IDNA": (b"\x05", name((COMMON_NAME, UTF8, b"xn--\xc3\xa9..")), "xn--é.."),
    "T61": (b"\x05", name((COMMON_NAME, T61, b"t\xe9l")), "unknown issuer"),
}
