"""The certificate to begin with, and the words about those that were met."""

import ssl
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import loopback
import pytest
import strange
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from program import tool

from nitrosocks_lib.crypto.certificate import UNKNOWN_ISSUER, issuer, leaf_der, make
from nitrosocks_lib.facts.errors import KeyFileError

NOW = datetime.now(UTC)


def issued_by(*attributes: tuple[x509.ObjectIdentifier, str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    builder = x509.CertificateBuilder(name, x509.Name([]), key.public_key(), 1, NOW, NOW + timedelta(1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def handshake(server: ssl.SSLObject, client: ssl.SSLObject) -> None:
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()


Made = tuple[x509.Certificate, PrivateKeyTypes, bytes, bytes]


@pytest.fixture(scope="module")
def fifty() -> list[Made]:
    """Certificates, their keys, and the PEM of both."""
    made = [make(NOW) for _ in range(50)]
    return [(x509.load_pem_x509_certificate(c), load_pem_private_key(k, None), c, k) for c, k in made]


def hosts(cert: x509.Certificate) -> list[str]:
    return cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def test_what_is_made(fifty: list[Made]) -> None:
    for cert, key, _, key_pem in fifty:
        assert key_pem.startswith(b"-----BEGIN PRIVATE KEY-----") and cert.public_key() == key.public_key()
        (name,) = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert cert.subject == cert.issuer and hosts(cert)[0] == name.value
        assert timedelta(days=1) <= NOW - cert.not_valid_before_utc <= timedelta(days=367)
        assert timedelta(days=4 * 365 - 2) <= cert.not_valid_after_utc - NOW <= timedelta(days=7300)
        cert.verify_directly_issued_by(cert)


def test_they_vary_as_real_ones_do(fifty: list[Made]) -> None:
    """What is drawn from few is there in each form: fifty of a kind that has one in three, once in 10^8 runs."""
    certs = [cert for cert, *_ in fifty]
    assert len({cert.serial_number for cert in certs}) == len({cert.not_valid_before_utc for cert in certs}) == 50
    assert len({cert.subject.rfc4514_string() for cert in certs}) > 25
    began = [cert.not_valid_before_utc for cert in certs]
    assert max(began) - min(began) > timedelta(days=180)
    assert len({cert.not_valid_after_utc - cert.not_valid_before_utc for cert in certs}) >= 3
    forms = {tuple((each.oid.dotted_string, each.critical) for each in cert.extensions) for cert in certs}
    assert len(forms) == 3 and {len(cert.subject) for cert in certs} == {1, 4}


def form(cert: x509.Certificate) -> tuple[tuple[str, bool], ...]:
    """Its extensions with what they say, but for names and identifiers of keys, and whether each is critical."""
    varies = (x509.SubjectAlternativeName, x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    return tuple(
        (type(e.value).__name__ if isinstance(e.value, varies) else repr(e.value), e.critical) for e in cert.extensions
    )


DISTRIBUTION = (
    (repr(x509.BasicConstraints(ca=False, path_length=None)), False),
    ("SubjectAlternativeName", False),
    ("SubjectKeyIdentifier", False),
)
APPLIANCE = (
    (repr(x509.KeyUsage(True, False, False, False, False, True, False, False, False)), True),
    (repr(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])), False),
    (repr(x509.BasicConstraints(ca=True, path_length=None)), True),
    ("SubjectKeyIdentifier", False),
    ("SubjectAlternativeName", False),
)


def test_each_has_the_form_and_the_lifetime_of_a_tool(fifty: list[Made], tmp_path: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]
    words += [str(tmp_path / "key"), "-subj", "/CN=a", "-addext", "subjectAltName=DNS:a"]
    pem = subprocess.run(words, check=True, capture_output=True).stdout
    forms = {form(x509.load_pem_x509_certificate(pem)), DISTRIBUTION, APPLIANCE}
    assert {form(cert) for cert, *_ in fifty} == forms
    lasts = {(cert.not_valid_after_utc - cert.not_valid_before_utc).days for cert, *_ in fifty}
    names = [hosts(cert) for cert, *_ in fifty]
    assert {tuple(each[1:]) == (each[0].partition(".")[0],) for each in names if len(each) > 1} == {True}
    assert lasts <= {5 * 365, 6 * 365, 10 * 365, 3652, 15 * 365, 20 * 365}


def test_openssl_finds_all_of_them_valid(fifty: list[Made], tmp_path: Path) -> None:
    for number, (*_, cert_pem, _) in enumerate(fifty):
        (tmp_path / f"{number}.crt").write_bytes(cert_pem)
    for path in tmp_path.iterdir():
        show: list[str | Path] = ["x509", "-noout", "-text", "-in", path]
        for words in (show, ["verify", "-x509_strict", "-CAfile", path, path]):
            subprocess.run(["openssl", *words], check=True, capture_output=True)


def test_curl_takes_them(fifty: list[Made], tmp_path: Path) -> None:
    def serve(tls: ssl.SSLSocket) -> None:
        tls.recv(4096)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with loopback.Server(serve) as server:
        for *_, cert_pem, key_pem in fifty[:10]:
            (tmp_path / "pem").write_bytes(cert_pem + key_pem)
            server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.context.load_cert_chain(tmp_path / "pem")
            words = [tool("curl"), "-sSk", f"https://127.0.0.1:{server.address[1]}/"]
            assert subprocess.run(words, check=True, capture_output=True).stdout == b"ok"


def test_another_name_is_subject_and_issuer() -> None:
    cert_pem, _ = make(NOW, "An Inspection Box")
    cert = x509.load_pem_x509_certificate(cert_pem)
    assert cert.subject == cert.issuer and issuer(leaf_der(cert_pem)) == "An Inspection Box"


def test_time_without_a_zone_is_utc() -> None:
    began = x509.load_pem_x509_certificate(make(datetime(2030, 1, 2))[0]).not_valid_before_utc
    assert timedelta(0) <= datetime(2030, 1, 1, tzinfo=UTC) - began <= timedelta(days=365)


def test_tls_takes_it_and_shows_the_bytes_of_leaf_der(fifty: list[Made], tmp_path: Path) -> None:
    for cert, _, cert_pem, key_pem in fifty:
        (tmp_path / "crt").write_bytes(cert_pem)
        (tmp_path / "key").write_bytes(key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
        trusting = ssl.create_default_context(cadata=cert_pem.decode())
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
        c2s, s2c = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(c2s, s2c, server_side=True)
        client = trusting.wrap_bio(s2c, c2s, server_hostname=hosts(cert)[0])
        handshake(server, client)
        shown = client.getpeercert(binary_form=True)
        assert shown is not None and shown == leaf_der(cert_pem)
        assert issuer(shown) == hosts(cert)[0]


CN, O, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME  # noqa: E741


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ([(CN, "Proxy CA"), (O, "Corp")], "Proxy CA"),
        ([(O, "Corp"), (CN, "Proxy CA")], "Proxy CA"),
        ([(CN, "First"), (CN, "Second")], "First"),
        ([(O, "Corp"), (OU, "Unit")], "Corp"),
        ([(OU, "Unit")], "OU=Unit"),
        ([(CN, " "), (O, "Corp")], "Corp"),
        ([], UNKNOWN_ISSUER),
        ([(CN, "Zürich 認証")], "Zürich 認証"),
        ([(CN, "a\x1b[31mb\r\nc\0d")], r"a\x1b[31mb\r\nc\x00d"),
        ([(CN, "a\u202eb\u2028c")], r"a\u202eb\u2028c"),
        ([(CN, 'x\' or "y" `z` \\')], "x? or ?y? ?z? ?"),
        ([(CN, "“a” ‘b’ «c»")], "?a? ?b? ?c?"),
        ([(CN, "n" * 64)], "n" * 64),
    ],
)
def test_issuers(attributes: list[tuple[x509.ObjectIdentifier, str]], said: str) -> None:
    assert issuer(issued_by(*attributes)) == said


def test_a_long_issuer_is_cut() -> None:
    said = issuer(issued_by((OU, "u" * 64), (NameOID.LOCALITY_NAME, "l" * 64)))
    assert len(said) == 80 and said.endswith("…")


@pytest.mark.parametrize("der", [b"", b"0", b"garbage", b"\x30\x82\xff\xff", b"\x30\x00", bytes(1000), b"\xff" * 100])
def test_garbage_has_an_unknown_issuer(der: bytes) -> None:
    assert issuer(der) == UNKNOWN_ISSUER


@pytest.mark.parametrize(("serial", "issued_by", "said"), strange.STRANGE.values(), ids=strange.STRANGE)
@pytest.mark.filterwarnings("ignore")  # as in the program
def test_strange_certificates(serial: bytes, issued_by: bytes, said: str) -> None:
    assert issuer(strange.certificate(serial, issued_by)[0]) == said


def test_a_damaged_certificate_never_raises() -> None:
    der = issued_by((CN, "Proxy CA"))
    for i in range(len(der)):
        assert issuer(der[:i]) == UNKNOWN_ISSUER
        said = issuer(der[:i] + bytes([der[i] ^ 0x41]) + der[i + 1 :])
        assert said and said.isprintable()


def test_the_first_certificate_of_a_chain_is_the_leaf() -> None:
    (leaf, key), (other, _) = make(NOW), make(NOW)
    der = x509.load_pem_x509_certificate(leaf).public_bytes(Encoding.DER)
    for chain in (leaf, leaf + other, key + leaf + other, b"text\r\n" + leaf.replace(b"\n", b"\r\n") + other):
        assert leaf_der(chain) == der
    assert leaf_der(other + leaf) != der
    assert x509.load_pem_x509_certificate(leaf).fingerprint(SHA256()) == sha256(leaf_der(leaf)).digest()
    assert leaf_der(leaf.replace(b" CERTIFICATE", b" X509 CERTIFICATE")) == der


BEGIN, END = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "pem",
    [b"", b"x", b"\xff\0", make(NOW)[1], BEGIN, END, BEGIN + END, BEGIN + b"MII\n" + END, BEGIN + b"M*==\n" + END,
     BEGIN + b"AAAA\n" + END, BEGIN + b"MIIB\n", BEGIN + b"MIIB\n-----END X509 CERTIFICATE-----",
     BEGIN + b"MIIB\n-----END CERTIFICATE----", BEGIN + b"MI!IB\n" + END],
)  # fmt: skip
def test_what_has_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(KeyFileError, match="no PEM certificate") as caught:
        leaf_der(pem)
    assert caught.value.hint


def test_a_beginning_without_an_end_is_passed_over() -> None:
    """And many of them cost no more than their size."""
    cert_pem = make(NOW)[0]
    assert leaf_der(BEGIN * 40_000 + cert_pem) == leaf_der(cert_pem)
    with pytest.raises(KeyFileError):
        leaf_der(BEGIN * 40_000)
