"""The certificate of the TLS that cannot be trusted: one to begin with, and what to say about one that was met."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ..facts.errors import KeyFileError
from ..facts.limits import QUOTED
from ..facts.words import foreign

UNKNOWN_ISSUER: Final = "unknown issuer"
_NAME: Final = "localhost"
_LIFETIME: Final = timedelta(days=3652)  # ten years
_SKEW: Final = timedelta(days=1)  # for clients whose clock is slow
_QUOTES: Final = "\"'`\\“”‘’„‚«»‹›"
_PEM: Final = re.compile(rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----(.*?)-----END \1CERTIFICATE-----", re.DOTALL)


def make(now: datetime, common_name: str = _NAME) -> tuple[bytes, bytes]:
    """A new self-signed certificate for localhost and its EC P-256 key, both PEM; the key is PKCS8, not encrypted.

    Valid for ten years from `now`, which is UTC where it has no zone. Nobody has to trust it: client and server
    authenticate each other inside (protocol 3). `common_name`, 1 to 64 characters, is its subject and its issuer.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - _SKEW).not_valid_after(now + _LIFETIME)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    certificate = builder.sign(key, SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def issuer(der: bytes) -> str:
    """Who issued a certificate, for people: its CN, else O, else the whole name (RFC 4514); one short harmless line.

    Whoever is in between chose these bytes: never raises, and says "unknown issuer" for what is no certificate.
    """
    try:
        name = x509.load_der_x509_certificate(der).issuer
        attributes = [*name.get_attributes_for_oid(NameOID.COMMON_NAME)]
        attributes += name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        texts = [str(attribute.value) for attribute in attributes] + [name.rfc4514_string()]
    except Exception:  # whatever the parser thinks of foreign bytes is no reason to fail
        return UNKNOWN_ISSUER
    return next((harmless for harmless in map(_harmless, texts) if harmless), UNKNOWN_ISSUER)


def _harmless(text: str) -> str:
    """It will stand between quotes, and a line is not to seem to end there."""
    return foreign("".join("?" if c in _QUOTES else c for c in text.strip()), QUOTED)


def leaf_der(pem: bytes) -> bytes:
    """DER of the first certificate in a PEM chain: the bytes that TLS shows, and whose SHA-256 is the certificate hash.

    They are not judged here: OpenSSL does that when it loads them. Raises KeyFileError where there is no certificate.
    """
    found = _PEM.search(pem)
    try:
        der = b64decode(b"".join(found[2].split()), validate=True) if found else b""
    except ValueError:
        der = b""
    if not der.startswith(b"\x30"):
        raise KeyFileError("there is no PEM certificate", "the file begins with -----BEGIN CERTIFICATE-----")
    return der
