"""Probes below HTTP: what comes in place of TLS, handshakes of all sorts, records that are spoilt, and silence."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterator

from prober import HOST, Options, Probe, Step, hello

TLS: Step = ("tls", None)
FIN: Step = ("fin", 0)
NOTIFY: Step = ("notify", 0)
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n".encode()
TLS12 = ssl.TLSVersion.TLSv1_2
OLD = "ALL:@SECLEVEL=0"
PIECES = (1, 4, 5, 6, 43, 100)  # where a ClientHello is cut: behind a byte, within the head, behind it …


def silent() -> Iterator[Probe]:
    """Those that wait, at each place where one can."""
    yield Probe("silence", "TCP", ())
    yield Probe("silence", "TLS", (TLS,))
    yield Probe("silence", "TLS, then GET", (TLS, ("pause", 1.0), ("say", GET)))
    for size in PIECES:
        yield Probe("silence", f"behind {size} of a hello", (("raw", hello()[:size]),))
        yield Probe("silence", f"behind {size} of a hello, FIN", (("raw", hello()[:size]), FIN))
    yield Probe("silence", "FIN at once", (FIN,))
    yield Probe("silence", "behind an empty record", (("raw", b"\x16\x03\x01\x00\x00"),))
    for size in (1, 4, 15, 30, len(GET) - 1):
        yield Probe("silence", f"behind {size} of a GET", (TLS, ("say", GET[:size])))
    post = GET.replace(b"GET", b"POST")[:-2]
    yield Probe("silence", "behind a head of POST", (TLS, ("say", post + b"Content-Length: 9\r\n\r\n")))
    yield Probe("silence", "behind a chunk", (TLS, ("say", post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel")))


def without_tls(draw: random.Random) -> Iterator[Probe]:
    """In place of a ClientHello."""
    things = {
        "GET": GET, "GET of 1.0": b"GET / HTTP/1.0\r\n\r\n",
        "POST": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "CONNECT": b"CONNECT a:1 HTTP/1.1\r\n\r\n", "no HTTP": b"hello\r\n\r\n", "letter": b"G",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "SSH": b"SSH-2.0-x\r\n", "long": b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
        "SSLv2": b"\x80\x2e\x01\x00\x02" + draw.randbytes(43),
        "alert": bytes.fromhex("15030100020100"), "fatal alert": bytes.fromhex("15030100020228"),
        "data": b"\x17\x03\x03\x00\x20" + bytes(32),
        "ChangeCipherSpec": bytes.fromhex("140303000101"), "heartbeat": bytes.fromhex("1803030003010010"),
        "handshake of rubbish": b"\x16\x03\x01\x00\x40" + draw.randbytes(64),
        "version 9": b"\x16\x09\x09\x00\x05" + bytes(5), "too long": b"\x16\x03\x01\xff\xff" + draw.randbytes(2000),
        "zeros": bytes(100), "SMB": b"\x00\x00\x00\x2f\xffSMBr" + bytes(40),
        "RDP": bytes.fromhex("030000130ee000000000000100080003000000"),
    }  # fmt: skip
    for name, data in things.items():
        yield Probe("without TLS", name, (("raw", data),))
        yield Probe("without TLS", f"{name}, FIN", (("raw", data), FIN))
    for number in range(30):
        plain = bytes([draw.choice([*range(0x16), *range(0x17, 0x80)])]) + draw.randbytes(draw.randrange(400))
        yield Probe("without TLS", f"random {number}", (("raw", plain),))
        begun = b"\x16\x03\x01" + draw.randbytes(draw.randrange(40, 400))
        yield Probe("without TLS", f"begun and random {number}", (("raw", begun), FIN))


def handshakes() -> Iterator[Probe]:
    """What clients may offer; each asks for a page then."""
    offers = {
        "common": Options(), "no SNI": Options(sni=None), "other SNI": Options(sni="localhost"),
        "TLS 1.2": Options(most=TLS12),
        "TLS 1.3 alone": Options(least=ssl.TLSVersion.TLSv1_3), "no ticket": Options(no_ticket=True),
        "TLS 1.2, no ticket": Options(most=TLS12, no_ticket=True), "TLS 1.2, no SNI": Options(most=TLS12, sni=None),
    }  # fmt: skip
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        offers[version.name] = Options(least=version, most=version, ciphers=OLD)
    for alpn in (
        "h2",
        "http/1.1",
        "h2,http/1.1",
        "http/1.0",
        "http/0.9",
        "http/1.0,http/1.1",
        "acme-tls/1",
        "spdy/3",
        "x",
    ):
        offers[f"ALPN {alpn}"] = Options(alpn=tuple(alpn.split(",")))
        offers[f"ALPN {alpn}, TLS 1.2"] = Options(alpn=tuple(alpn.split(",")), most=TLS12)
    for group in ("X25519", "prime256v1", "secp384r1", "secp521r1", "X448"):
        offers[f"group {group}"] = Options(group=group)
        offers[f"group {group}, TLS 1.2"] = Options(group=group, most=TLS12)
    for cipher in ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers():
        if cipher["protocol"] != "TLSv1.3":
            offers[f"cipher {cipher['name']}"] = Options(most=TLS12, ciphers=str(cipher["name"]))
    for name in "AES128-SHA AES256-SHA CAMELLIA256-SHA384 AES128-CCM8".split():
        offers[f"cipher {name}"] = Options(most=TLS12, ciphers=f"ECDHE-ECDSA-{name}:@SECLEVEL=0")
    preferred = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    for name in ("", "AES128", "AES256"):
        order = ":".join(sorted(preferred.split(":"), key=lambda each: name not in each))
        offers[f"prefers {order[:26]}"] = Options(most=TLS12, ciphers=order)
    for name, options in offers.items():
        yield Probe("handshakes", name, (("tls", options), ("say", GET), ("answer", 1), NOTIFY))
        yield Probe("handshakes", f"{name}, and FIN", (("tls", options), FIN))


def spoilt(draw: random.Random) -> Iterator[Probe]:
    """Records that are wrong, at once and behind a handshake."""
    whole = hello()
    for number in range(40):
        wrong = bytearray(whole)
        wrong[number if number < 12 else draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        yield Probe("spoilt TLS", f"hello {number}", (("raw", bytes(wrong)), ("pause", 0.3), FIN))
    for name, sni in {
        "8 bit": b"\xff\xfe\x80",
        "NUL": b"a\x00b",
        "space": b"a b",
        "dots": b"...",
        "colon": b"a:1",
        "slash": b"a/b",
    }.items():
        wrong = whole.replace(HOST.encode(), sni + HOST.encode()[len(sni) :])
        yield Probe("spoilt TLS", f"SNI {name}", (("raw", wrong), ("pause", 0.3), FIN))
    yield Probe("spoilt TLS", "hello twice", (("raw", whole + whole),))
    for size in PIECES:
        yield Probe(
            "spoilt TLS", f"hello in two at {size}", (("raw", whole[:size]), ("pause", 0.1), ("raw", whole[size:]), FIN)
        )
    yield Probe("spoilt TLS", "hello byte by byte", (*(("raw", whole[n : n + 1]) for n in range(len(whole))), FIN))
    for name, record in {
        "bad MAC": b"\x17\x03\x03\x00\x40" + draw.randbytes(64), "GET in the clear": GET, "another hello": whole,
        "short": b"\x17\x03\x03\x00\x01a", "too long": b"\x17\x03\x03\xff\xff" + bytes(20),
        "half": b"\x17\x03\x03\x01\x00" + bytes(20),
        "alert in the clear": bytes.fromhex("15030300020100"),
        "type 99": b"\x63\x03\x03\x00\x20" + draw.randbytes(32), "empty": b"\x17\x03\x03\x00\x00",
    }.items():  # fmt: skip
        for version, options in (("1.3", None), ("1.2", Options(most=TLS12))):
            yield Probe("spoilt TLS", f"{name} behind {version}", (("tls", options), ("raw", record)))
            asked: tuple[Step, ...] = (("tls", options), ("say", GET), ("answer", 1), ("raw", record))
            yield Probe("spoilt TLS", f"{name} behind an answer, {version}", asked)
