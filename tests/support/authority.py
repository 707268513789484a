"""A certificate authority of a box's own, and a certificate that it signed: files in a folder, made anew each time."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NAME = "Box Test CA"  # which the client tells of, where the box makes certificates by itself
DAY = timedelta(days=1)


def write_authority(place: Path) -> None:
    """ca.crt and ca.key; leaf.crt, leaf.key, and leaf.pem with both: of localhost. RSA, which all boxes take."""
    authority, leaf = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = _certificate(issuer, issuer, authority, authority, x509.BasicConstraints(True, None))
    signed = _certificate(subject, issuer, leaf, authority, names)
    files = {
        "ca.crt": ca, "ca.key": _private(authority), "leaf.crt": signed + ca, "leaf.key": _private(leaf),
        "leaf.pem": signed + ca + _private(leaf),
    }  # fmt: skip
    for name, pem in files.items():
        (place / name).touch(0o600)
        (place / name).write_bytes(pem)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, by: rsa.RSAPrivateKey, extension: x509.ExtensionType
) -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - DAY).not_valid_after(now + DAY)
    built = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return built.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)


def _private(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
