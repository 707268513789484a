"""What reads the answers of proxies, and datagrams of applications, as functions of bytes, for parsers.py."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress

from spoken import answer

from nitrosocks_lib.facts.wire import Frame
from nitrosocks_lib.protocol import frames, http_proxy, socks_client, socks_server
from nitrosocks_lib.protocol.proxy_auth import Login
from nitrosocks_lib.protocol.proxy_login import Answers, Unable

_LOGIN = Login("user", "password")
_BASIC = 'Proxy-Authenticate: Basic realm="x"'
_DIGEST = 'Proxy-Authenticate: Digest realm="a \\"b", nonce="n", qop="auth", algorithm=SHA-256, stale=true'
_ASKED = answer("407 Proxy Authentication Required", _BASIC, _DIGEST, body="<p>Who are you?</p>")
PROXIES = (
    b"HTTP/1.1 200 Connection established\r\n\r\n", _ASKED, _ASKED + _ASKED,
    answer("407 x", "Proxy-Authenticate: NTLM TlRMTVNTUAAC", "Connection: close", "Proxy-Authenticate: Negotiate"),
    answer("403 Forbidden", "Content-Type: text/html", body="<h1>no</h1>"),
)  # fmt: skip
PROXY_WORDS = (
    b"\r\n", b"Proxy-Authenticate: ", b"Basic ", b"Digest ", b'nonce="', b'qop="auth-int"', b"algorithm=MD5-sess", b"=",
    b'realm="', b", ", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 9\r\n", b"HTTP/1.1 407 x\r\n", b"\xff",
)  # fmt: skip
SOCKS = (
    bytes.fromhex("0500 05000001 7f000001 1f90"), bytes.fromhex("0502 0100 05000003 05") + b"proxy\0\0",
    bytes.fromhex("0502 0101"), bytes.fromhex("05ff"), bytes.fromhex("0500 05020001 00000000 0000"),
)  # fmt: skip
SOCKS_WORDS = (b"\5\0", b"\5\2", b"\1\0", b"\5\0\0\1", b"\5\0\0\3\xff", b"\5\0\0\4", b"\xff", b"\0")
DATAGRAMS = (
    bytes.fromhex("000000 01 7f000001 0035") + b"x", bytes.fromhex("000000 03 04") + b"host\0\x35x",
    bytes.fromhex("000000 04 00000000000000000000000000000001 0035") + b"x",
    bytes.fromhex("000001 01 7f000001 0035 61"),
    bytes.fromhex("000000 03 ff") + b"a" * 255 + b"\0\x35x",
)  # fmt: skip
DATAGRAM_WORDS = (b"\0\0\0\1", b"\0\0\0\3\xff", b"\0\0\0\4", b"\0", b"a.b", b"\xff", b"/", b":", b"[", "é".encode())
Talk = Generator[bytes | None, bytes, None]


def _none(scheme: str) -> None:
    raise Unable(f"no {scheme}", "install it")


def proxy(data: bytes) -> None:
    """Whatever comes, in two pieces and byte by byte, it is told what is wrong, or lets TLS begin."""
    _both(lambda: http_proxy.connect("server.example", 443, Answers(_LOGIN, _none, bytes)), data)


def socks(data: bytes) -> None:
    """The same of SOCKS 5."""
    _both(lambda: socks_client.connect("server.example", 443, _LOGIN), data)


def datagram(data: bytes) -> None:
    """It is dropped, or has a target that a peer takes, and what goes there is its end."""
    asked = socks_server.datagram(data)
    if asked is not None:
        target, payload = asked
        assert data.endswith(payload) and target.host and target.port
        assert frames.parse_target(frames.open_(1, target)[1:], Frame.OPEN) == (1, target)


def _both(talk: Callable[[], Talk], data: bytes) -> None:
    half = len(data) // 2
    _heard(talk(), [data[:half], data[half:]])
    if len(data) < 400:  # what it says each time makes the rest of them dear
        _heard(talk(), [data[at : at + 1] for at in range(len(data))])


def _heard(talk: Talk, pieces: list[bytes]) -> None:
    """It ends soon behind the end of the connection."""
    with suppress(StopIteration):
        next(talk)
        for piece in [*filter(None, pieces), b"", b"", b"", b""]:
            talk.send(piece)
        raise AssertionError("it asks on behind the end")
