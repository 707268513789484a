"""Certificates of a test's own, with a name and a life of its choice, and who looks which one a server presents."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

BOUND = 20.0  # seconds


def issue(name: str, left: timedelta = timedelta(days=90)) -> tuple[bytes, bytes]:
    """A certificate for this name that expires when that time is over, and its key; both PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(called, called, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(now - timedelta(days=400)).not_valid_after(now + left).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def replace(path: Path, content: bytes) -> None:
    """As tools do that renew: a new file, with mode 0600, takes the place of the old one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(path)


def write(place: Path, name: str, left: timedelta = timedelta(days=90)) -> tuple[Path, Path]:
    """Certificate and key in files of this place, which are replaced."""
    place.mkdir(parents=True, exist_ok=True)
    paths = place / "site.crt", place / "site.key"
    for path, content in zip(paths, issue(name, left), strict=True):
        replace(path, content)
    return paths


def sha(path: Path) -> bytes:
    """The certificate hash of the file's certificate."""
    return sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).digest()


def presented(port: int) -> bytes:
    """The certificate hash of what a TLS server presents to a new connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), BOUND) as sock, context.wrap_socket(sock) as tls:
        return sha256(tls.getpeercert(binary_form=True) or b"").digest()
