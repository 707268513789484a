"""What strangers send to find out what a server is: 1,500 probes, each the same each time that they are made."""

from __future__ import annotations

import random
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Iterator

import probelist_tls as below
from probelist_tls import FIN, GET, NOTIFY, TLS
from prober import HOST, Options, Probe, Step, hello

METHODS = "GET HEAD POST PUT DELETE OPTIONS TRACE CONNECT PATCH PROPFIND MKCOL COPY MOVE LOCK UNLOCK SEARCH PRI".split()
PLAIN_HEAD = f"Host: {HOST}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n".encode()
LAST = b"GET / HTTP/1.1\r\n" + PLAIN_HEAD + b"Connection: close\r\n\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
OCTETS = b"Content-Type: application/octet-stream\r\nCache-Control: no-store\r\n"


def said(kind: str, name: str, *pieces: bytes, then: tuple[Step, ...] = ()) -> Probe:
    """After a common handshake these pieces, each in TLS of its own."""
    return Probe(kind, name, (TLS, *(("say", piece) for piece in pieces), *then))


def every(seed: int, greetings: tuple[list[bytes], list[bytes]], tokens: dict[str, str]) -> list[Probe]:
    """All of them. `greetings` are first messages that the server has seen, and ones that it has not and which are
    spoilt here; `tokens` are of carriers that it has seen, by what they are for."""
    draw = random.Random(seed)
    probes = [
        *_random(draw), *_first_bytes(draw), *_requests(draw), *_spoilt_heads(draw), *_framing(), *_pipelines(),
        *_foreign(draw), *_replays(draw, greetings[0]), *_mutations(draw, greetings[1]), *_tokens(draw, tokens),
        *_dripped(draw), *_half_closed(draw), *below.silent(), *below.without_tls(draw),
        *below.handshakes(), *below.spoilt(draw),
    ]  # fmt: skip
    assert len({(each.kind, each.name) for each in probes}) == len(probes), "each is there once"
    return probes


def request(method: str, target: str, head: bytes = PLAIN_HEAD, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    """As it is on the line."""
    return f"{method} {target} {version}\r\n".encode() + head + b"\r\n" + body


def _random(draw: random.Random) -> Iterator[Probe]:
    for size in range(601):
        yield said("random bytes", str(size), *([draw.randbytes(size)] if size else []))


def _first_bytes(draw: random.Random) -> Iterator[Probe]:
    """A parser's first byte decides much."""
    for first in range(0, 256, 4):
        yield said("first byte", str(first), bytes([first]) + draw.randbytes(draw.randrange(39, 80)))


def _requests(draw: random.Random) -> Iterator[Probe]:
    targets = ["/", "/about", "/about/", "/style.css", "/empty.txt", "/nothing", "*", f"http://{HOST}/", "/?a=%00b"]
    for method in METHODS:
        for target in targets if method in ("GET", "HEAD", "POST") else ["/", draw.choice(targets[1:])]:
            yield said("requests", f"{method} {target}", request(method, target))
        body = draw.randbytes(draw.randrange(1, 3000))
        head = PLAIN_HEAD + f"Content-Length: {len(body)}\r\n".encode()
        yield said("requests", f"{method} with a body", request(method, "/", head, body))
        yield said("requests", f"{method} and close", request(method, "/", PLAIN_HEAD + b"Connection: close\r\n"))
        yield said("requests", f"{method} 1.0", request(method, "/", version="HTTP/1.0"))
    for name, more in (
        ("range", b"Range: bytes=5-20\r\n"), ("ranges", b"Range: bytes=0-1,5-9\r\n"),
        ("bad range", b"Range: bytes=9-1\r\n"),
        ("gzip", b"Accept-Encoding: gzip\r\n"), ("etag", b'If-None-Match: "655435c0-3c"\r\n'),
        ("date", b"If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n"), ("cookie", b"Cookie: a=b\r\n"),
        ("h2c", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ("expect", b"Expect: 100-continue\r\nContent-Length: 5\r\n"), ("odd expect", b"Expect: more\r\n"),
        ("websocket", UPGRADE[:-2]), ("forwarded", b"X-Forwarded-For: 10.0.0.1\r\n"), ("trailers", b"TE: trailers\r\n"),
    ):  # fmt: skip
        yield said("requests", f"GET / {name}", request("GET", "/", PLAIN_HEAD + more))
        yield said("requests", f"GET /notes.txt {name}", request("GET", "/notes.txt", PLAIN_HEAD + more))


def _spoilt_heads(draw: random.Random) -> Iterator[Probe]:
    for version in "HTTP/0.9 HTTP/1.2 HTTP/1.10 HTTP/2.0 HTTP/9.9 http/1.1 HTTP/1. HTTP/11 HTTP HTTQ/1.1".split():
        yield said("spoilt heads", version, request("GET", "/", version=version))
    heads = {
        "no Host": b"", "two Hosts": PLAIN_HEAD * 2, "empty Host": b"Host:\r\n", "bad Host": b"Host: a b\r\n",
        "no colon": b"Host a\r\n", "space before colon": b"Host : a\r\n", "folded": b"Host: a\r\n b: c\r\n",
        "NUL": b"Host: a\x00b\r\n", "bare LF": b"Host: a\nB: c\n", "bare CR": b"Host: a\rB: c\r\n",
        "8 bit": b"Host: \xff\r\n",
        "empty name": b": a\r\n", "underscore": b"Host: a\r\nA_b: c\r\n", "no end": b"Host: a\r\nX",
        "long": b"Host: a\r\nX: " + b"a" * 9000 + b"\r\n", "many": b"Host: a\r\n" + b"X: y\r\n" * 300,
        "huge": b"Host: a\r\n" + (b"X: " + b"a" * 7000 + b"\r\n") * 6,
    }  # fmt: skip
    for name, head in heads.items():
        yield said("spoilt heads", name, request("GET", "/", head))
    lines = [
        b"GET /\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1 \r\n\r\n", b"GET\t/ HTTP/1.1\r\n\r\n",
        b"\r\n\r\n" + GET,
        b"get / HTTP/1.1\r\n\r\n", b"GET /%zz HTTP/1.1\r\n" + PLAIN_HEAD + b"\r\n", b"GET /../.. HTTP/1.1\r\n\r\n",
        b"GET", b"G", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 40000, b"GET / HTTP/1.1\n\n",
        b"-_ / HTTP/1.1\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", b"GET /\xc3\xa4 HTTP/1.1\r\n" + PLAIN_HEAD + b"\r\n",
        b"GET a HTTP/1.1\r\n\r\n", b"\n" * 50 + GET,
    ]  # fmt: skip
    for number, line in enumerate(lines):
        yield said("spoilt heads", f"line {number} {line[:20]!r}", line)
    for number in range(40):
        spoilt = bytearray(GET)
        spoilt[draw.randrange(len(GET))] = draw.randrange(256)
        yield said("spoilt heads", f"one byte {number}", bytes(spoilt))


def _framing() -> Iterator[Probe]:
    heads: dict[str, tuple[bytes, bytes]] = {
        "chunked": (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        "chunked, bad size": (b"Transfer-Encoding: chunked\r\n", b"zz\r\nhello\r\n0\r\n\r\n"),
        "chunked, half": (b"Transfer-Encoding: chunked\r\n", b"5\r\nhel"),
        "chunked and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        "gzip, chunked": (b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        "identity": (b"Transfer-Encoding: identity\r\n", b""),
        "two lengths": (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
        "other lengths": (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello"),
        "negative": (b"Content-Length: -1\r\n", b""), "letters": (b"Content-Length: x\r\n", b""),
        "plus": (b"Content-Length: +5\r\n", b"hello"), "huge": (b"Content-Length: 99999999999999999999\r\n", b"a"),
        "too large": (b"Content-Length: 2000000\r\n", b"a"), "short body": (b"Content-Length: 50\r\n", b"hello"),
        "long body": (b"Content-Length: 5\r\n", b"hello" * 20),
    }  # fmt: skip
    for name, (more, body) in heads.items():
        for method in ("POST", "GET"):
            whole = request(method, "/", PLAIN_HEAD + more, body)
            yield said("framing", f"{method} {name}", whole)
            yield said("framing", f"{method} {name}, behind", whole + LAST)


def _pipelines() -> Iterator[Probe]:
    missing, head = request("GET", "/nothing"), request("HEAD", "/")
    for name, requests in {
        "two": [GET, LAST], "three": [GET, missing, LAST], "head": [head, LAST], "bad last": [GET, b"\x00\r\n\r\n"],
        "large": [request("GET", "/notes.txt"), LAST], "many": [GET] * 30 + [LAST],
    }.items():  # fmt: skip
        yield said("pipelines", f"{name} at once", b"".join(requests))
        if name != "large":  # the last is read, or not, when the connection ends
            yield said("pipelines", f"{name} in a row", *requests)
        turns = tuple(step for n, each in enumerate(requests) for step in (("say", each), ("answer", n + 1)))
        if name != "head":
            yield Probe("pipelines", f"{name} in turns", (TLS, *turns))
    yield Probe("pipelines", "kept", (TLS, ("say", GET), ("answer", 1)))
    yield Probe("pipelines", "kept, half a head", (TLS, ("say", GET), ("answer", 1), ("say", b"GET / HT")))
    yield Probe("pipelines", "kept, junk", (TLS, ("say", GET), ("answer", 1), ("say", b"\x01\x02\x03")))
    yield Probe("pipelines", "kept, notify", (TLS, ("say", GET), ("answer", 1), NOTIFY))
    yield Probe("pipelines", "kept, FIN", (TLS, ("say", GET), ("answer", 1), FIN))


def _foreign(draw: random.Random) -> Iterator[Probe]:
    """Other protocols inside the TLS."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    things = {
        "HTTP/2 preface": preface, "preface and SETTINGS": preface + bytes.fromhex("000000040000000000"),
        "preface, cut": preface[:16], "TLS in TLS": hello(),
        "TLS 1.2 in TLS": hello(Options(most=ssl.TLSVersion.TLSv1_2)),
        "TLS in TLS, cut": hello()[:100], "TLS record head": b"\x16\x03\x01", "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
        "SOCKS5": b"\x05\x01\x00", "SOCKS4": b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "SMTP": b"EHLO a\r\n",
        "IMAP": b"a LOGIN a b\r\n",
        "PROXY": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GET,
        "PROXY v2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + GET,
        "DNS": b"\x00\x1d" + bytes.fromhex("12340100000100000000000003777777076578616d706c65036f72670000010001"),
        "RDP": bytes.fromhex("030000130ee000000000000100080003000000"),
        "MQTT": b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
        "OpenVPN": b"\x00\x0e\x38" + draw.randbytes(13), "WebSocket frame": b"\x82\x85" + draw.randbytes(9),
        "SIP": b"OPTIONS sip:a SIP/2.0\r\n\r\n", "RTSP": b"OPTIONS * RTSP/1.0\r\n\r\n", "zeros": bytes(600),
        "ones": b"\xff" * 600,
        "record of 16 KiB": draw.randbytes(16384), "four records": draw.randbytes(65536), "letters": b"A" * 5000,
        "CRLFs": b"\r\n" * 200, "one CR": b"\r", "one LF": b"\n", "one space": b" ",
    }  # fmt: skip
    for name, data in things.items():
        yield said("other protocols", name, data)


def _replays(draw: random.Random, seen: list[bytes]) -> Iterator[Probe]:
    """Of first messages that a server has answered."""
    for number, greeting in enumerate(seen):
        yield said("replays", f"{number} whole", greeting)
        yield said("replays", f"{number} in two", greeting[:40], greeting[40:])
        yield said("replays", f"{number} late", greeting[:39], greeting[39:])
        for cut in (39, 40, 41, draw.randrange(42, len(greeting))):
            yield said("replays", f"{number} first {cut}", greeting[:cut])
        yield said("replays", f"{number} and more", greeting + draw.randbytes(draw.randrange(1, 500)))


def _mutations(draw: random.Random, unseen: list[bytes]) -> Iterator[Probe]:
    """Of first messages that a server has not seen: one bit of nonce, tag or first Enc."""
    for number, greeting in enumerate(unseen):
        spoilt = bytearray(greeting)
        at = draw.randrange(40) if number % 2 else draw.randrange(40, len(greeting))
        spoilt[at] ^= 1 << draw.randrange(8)
        yield said("mutations", f"{number} at {at}", bytes(spoilt))


def _tokens(draw: random.Random, seen: dict[str, str]) -> Iterator[Probe]:
    """Requests of our carriers' shape: tokens of nobody, and seen ones used again and spoilt."""
    made = {f"nobody's {number}": urlsafe_b64encode(draw.randbytes(32)).decode().rstrip("=") for number in range(12)}
    made |= seen
    for name, token in list(seen.items()):
        made[f"{name}, spoilt"] = token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:]
        made[f"{name}, not canonical"] = token[:-1] + chr(ord(token[-1]) + 1)
        made[f"{name}, longer"] = token + "A"
    for name, token in made.items():
        body = draw.randbytes(draw.randrange(40, 3000))
        long = PLAIN_HEAD + OCTETS + f"Content-Length: {len(body)}\r\n".encode()
        upgrade = request("GET", f"/{token}", PLAIN_HEAD + UPGRADE[:-2])
        yield said("tokens", f"{name} up", request("POST", f"/{token}", long, body))
        yield said("tokens", f"{name} up, the body behind", request("POST", f"/{token}", long), body)
        yield said(
            "tokens", f"{name} down", request("POST", f"/{token}", PLAIN_HEAD + OCTETS + b"Content-Length: 0\r\n")
        )
        yield said("tokens", f"{name} websocket", upgrade)
        yield said("tokens", f"{name} websocket and more", upgrade + draw.randbytes(90))
        yield said("tokens", f"{name} GET", request("GET", f"/{token}"))


def _dripped(draw: random.Random) -> Iterator[Probe]:
    """One byte at a time, each in a record of its own."""
    whole = {
        "GET": GET,
        "last GET": LAST,
        "spoilt": GET.replace(b"Host:", b"Ho\x00st:"),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }
    whole |= {"POST": request("POST", "/", PLAIN_HEAD + b"Content-Length: 5\r\n", b"hello"), "two": GET + LAST}
    whole |= {f"random {n}": draw.randbytes(draw.randrange(2, 100)) for n in range(20)}
    letters = (b"GET /"[: 1 + n % 5] + draw.randbytes(draw.randrange(2, 60)) for n in range(10))
    whole |= {f"letter and random {n}": each for n, each in enumerate(letters)}
    for name, data in whole.items():
        yield said("one byte at a time", name, *(data[n : n + 1] for n in range(len(data))))
        steps = tuple(step for n in range(4) for step in (("say", data[n : n + 1]), ("pause", 0.05)) if data[n : n + 1])
        yield Probe("one byte at a time", f"{name}, slowly", (TLS, *steps, ("say", data[4:])))


def _half_closed(draw: random.Random) -> Iterator[Probe]:
    for name, data in {
        "nothing": b"", "GET": GET, "last GET": LAST, "half a GET": GET[:20], "1.0": request("GET",
        "/", version="HTTP/1.0"),
        "large": request("GET", "/notes.txt"), "junk": draw.randbytes(90), "junk of 10": b"\x90" + draw.randbytes(9),
        "letter": b"G",
        "body missing": request("POST", "/", PLAIN_HEAD + b"Content-Length: 5\r\n"), "0.9": b"GET /\r\n",
    }.items():  # fmt: skip
        say: tuple[Step, ...] = (("say", data),) if data else ()
        for how, ends in {"FIN": (FIN,), "notify": (NOTIFY,), "both": (NOTIFY, FIN)}.items():
            if name not in ("last GET", "1.0", "0.9", "junk", "junk of 10"):  # both would end at the same time
                yield Probe("half-close", f"{name}, {how}", (TLS, *say, *ends))
            yield Probe("half-close", f"{name}, {how} later", (TLS, *say, ("pause", 0.2), *ends))
