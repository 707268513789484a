"""The certificate of the outer TLS: one to begin with, and what to say about one that was met."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from secrets import choice, randbelow
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..facts.errors import KeyFileError
from ..facts.limits import QUOTED
from ..facts.words import foreign

UNKNOWN_ISSUER: Final = "unknown issuer"
UNKNOWN_SUBJECT: Final = "unknown subject"
Extensions = Iterator[tuple[x509.ExtensionType, bool]]  # each with whether it is critical
_HOSTS: Final = "mail www web gw nas files git cloud srv1 srv2 host1 office backup intranet debian ubuntu".split()
_DOMAINS: Final = "local lan home internal localdomain intra corp private home.arpa".split()
_PLACES: Final = (
    (),
    (),
    (
        x509.NameAttribute(NameOID.COUNTRY_NAME, "AU"),
        x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Some-State"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Internet Widgits Pty Ltd"),
    ),
    (
        x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
        x509.NameAttribute(NameOID.LOCALITY_NAME, "Default City"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Default Company Ltd"),
    ),
)  # what openssl proposes, and what it proposes on some distributions
_DAY: Final = 86_400  # s; also how long ago it begins at least, for clients whose clock is slow
_AGE_MAX: Final = 365  # days
_DAYS: Final = (1825, 2190, 3650, 3652, 5475, 7300)  # of validity
_QUOTES: Final = "\"'`\\“”‘’„‚«»‹›"
_PEM: Final = re.compile(rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----([^-]*)-----END \1CERTIFICATE-----")


def make(now: datetime, common_name: str = "") -> tuple[bytes, bytes]:
    """A new self-signed certificate and its key, both PEM; the key is PKCS8, not encrypted.

    Name, serial number, begin, end and extensions are drawn, like those of certificates that common tools make. It
    began up to a year before `now`, which is UTC where it has no zone, and is valid for four years more at least. The
    key is P-256: a signature of RSA costs ten times as much, for each stranger who connects.
    Nobody has to trust it: client and server authenticate each other inside (protocol 3). `common_name`, 1 to 64
    characters, is its subject and its issuer where one is given.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    host = f"{choice(_HOSTS)}.{choice(_DOMAINS)}"
    name = x509.Name([*choice(_PLACES), x509.NameAttribute(NameOID.COMMON_NAME, common_name or host)])
    began = now - timedelta(seconds=_DAY + randbelow(_AGE_MAX * _DAY))
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(began).not_valid_after(began + timedelta(days=choice(_DAYS)))
    for extension, critical in choice(_FORMS)(key, host):
        builder = builder.add_extension(extension, critical)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM), private


def _of_openssl(key: ec.EllipticCurvePrivateKey, host: str) -> Extensions:
    """As `openssl req -x509 -addext subjectAltName=…` makes it."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    yield identifier, False
    yield x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False
    yield x509.BasicConstraints(ca=True, path_length=None), True
    yield x509.SubjectAlternativeName([x509.DNSName(host)]), False


def _of_a_distribution(key: ec.EllipticCurvePrivateKey, host: str) -> Extensions:
    """As the packages of distributions make one when they are installed."""
    yield x509.BasicConstraints(ca=False, path_length=None), False
    yield x509.SubjectAlternativeName([x509.DNSName(host)]), False
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False


def _of_an_appliance(key: ec.EllipticCurvePrivateKey, host: str) -> Extensions:
    """As routers and storage boxes make theirs: good for what a server does."""
    yield x509.KeyUsage(True, False, False, False, False, True, False, False, False), True
    yield x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
    yield x509.BasicConstraints(ca=True, path_length=None), True
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    yield x509.SubjectAlternativeName([x509.DNSName(host), x509.DNSName(host.partition(".")[0])]), False


_FORMS: Final = (_of_openssl, _of_a_distribution, _of_an_appliance)


def issuer(der: bytes) -> str:
    """Who issued a certificate, for people: its CN, else O, else the whole name (RFC 4514); one short harmless line.

    Whoever is in between chose these bytes: never raises, and says "unknown issuer" for what is no certificate.
    """
    return _shown(der, lambda read: read.issuer) or UNKNOWN_ISSUER


def subject(der: bytes) -> str:
    """Whose certificate it is, as `issuer` says who issued it; "unknown subject" for what cannot be read."""
    return _shown(der, lambda read: read.subject) or UNKNOWN_SUBJECT


def expiry(der: bytes) -> datetime | None:
    """When a certificate expires, in UTC; None for what cannot be read: OpenSSL takes more than our parser."""
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc
    except Exception:
        return None


def _shown(der: bytes, which: Callable[[x509.Certificate], x509.Name]) -> str:
    """A name in it, or nothing."""
    try:
        name = which(x509.load_der_x509_certificate(der))
        attributes = [*name.get_attributes_for_oid(NameOID.COMMON_NAME)]
        attributes += name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        texts = [str(attribute.value) for attribute in attributes] + [name.rfc4514_string()]
    except Exception:  # whatever the parser thinks of foreign bytes is no reason to fail
        return ""
    return next((harmless for harmless in map(_harmless, texts) if harmless), "")


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
