"""Requests of RFC 1928, RFC 1929, SOCKS 4 and HTTP at a real port: all corners in a table, slow ones, and cut ones."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from asking_proxy import in_pieces
from loopback import dial_tcp, read_all, reset
from world import World, echo

from nitrosocks_lib.client.forward import Forward, Forwarder
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.proxy_auth import Login

LOGIN = Login("user", "p" * 255)
FREE, GUARDED = b"\5\1\0", b"\5\1\2\1\4user\xff" + b"p" * 255  # what stands before a request
OPEN, LET_IN = b"\5\0", b"\5\2\1\0"  # and what that is answered
NO4 = b"\0\x5b" + bytes(6)


def reply(code: int) -> bytes:
    return OPEN + bytes([5, code, 0, 1]) + bytes(6)


def name(host: bytes, port: int = 80) -> bytes:
    return bytes([5, 1, 0, 3, len(host)]) + host + port.to_bytes(2, "big")


CORNERS = {  # what is sent to a port without a login, and all that is answered, before an end that is in order
    "a version of TLS": (b"\x16\3\1", b""),
    "version 6": (b"\6\1\0", b""),
    "no method": (b"\5\0", b"\5\xff"),
    "GSSAPI alone": (b"\5\1\1", b"\5\xff"),
    "a request of version 4": (FREE + b"\4\1\0\1\x7f\0\0\1\0\x50", reply(1)),
    "command 0": (FREE + b"\5\0\0\1\x7f\0\0\1\0\x50", reply(7)),
    "BIND": (FREE + b"\5\2\0\1\x7f\0\0\1\0\x50", reply(7)),
    "command 0xF0, which Tor has": (FREE + b"\5\xf0\0\3\1a\0\0", reply(7)),
    "address type 0": (FREE + b"\5\1\0\0\x7f\0\0\1\0\x50", reply(8)),
    "address type 2": (FREE + b"\5\1\0\2\x7f\0\0\1\0\x50", reply(8)),
    "a name of length 0": (FREE + name(b""), reply(1)),
    "a name with NUL": (FREE + name(b"a\0b"), reply(1)),
    "a name with a space": (FREE + name(b"a b"), reply(1)),
    "a name that is no UTF-8": (FREE + name(b"\xff\xfe"), reply(1)),
    "a name of 255 bytes": (FREE + name(b"a" * 255), reply(4)),
    "a name of 255 dots": (FREE + name(b"." * 255), reply(4)),
    "port 0": (FREE + name(b"127.0.0.1", 0), reply(1)),
    "an address that is not permitted": (FREE + b"\5\1\0\1\xc0\0\2\1\0\x50", reply(2)),
    "one of IPv6": (FREE + b"\5\1\0\4\x20\1\x0d\xb8" + bytes(11) + b"\1\0\x50", reply(2)),
    "a name that is not known": (FREE + name(b"nowhere.invalid"), reply(4)),
    "SOCKS 4, BIND": (b"\4\2\0\x50\x7f\0\0\1user\0", NO4),
    "SOCKS 4, port 0": (b"\4\1\0\0\x7f\0\0\1user\0", NO4),
    "SOCKS 4, a long user": (b"\4\1\0\x50\x7f\0\0\1" + b"u" * 256, NO4),
    "SOCKS 4, not permitted": (b"\4\1\0\x50\xc0\0\2\1\0", NO4),
    "SOCKS 4a, no name": (b"\4\1\0\x50\0\0\0\1user\0\0", NO4),
    "SOCKS 4a, a long name": (b"\4\1\0\x50\0\0\0\1user\0" + b"a" * 256, NO4),
    "SOCKS 4a, not known": (b"\4\1\0\x50\0\0\0\xffuser\0nowhere.invalid\0", NO4),
}
GUARDED_CORNERS = {  # the same, of one with a login
    "no way with a password": (b"\5\1\0", b"\5\xff"),
    "no method": (b"\5\0", b"\5\xff"),
    "another password": (b"\5\1\2\1\4user\1p", b"\5\2\1\1"),
    "no user and no password": (b"\5\1\2\1\0\0", b"\5\2\1\1"),
    "version 5 of the login": (b"\5\1\2\5\4user\xff" + b"p" * 255, b"\5\2\1\1"),
    "SOCKS 4": (b"\4\1\0\x50\x7f\0\0\1user\0", NO4),
    "SOCKS 4a": (b"\4\1\0\x50\0\0\0\1user\0localhost\0", NO4),
}
HTTP_CORNERS = {  # and of HTTP: the status
    "a path alone": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "https in a request": (b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT without a port": (b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT to port 0": (b"CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no version": (b"CONNECT a:1\r\n\r\n", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a head that is too long": (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nx: " + b"x" * 140_000, 431),
    "not permitted": (b"CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: a\r\n\r\n", 403),
    "not known": (b"GET http://nowhere.invalid/ HTTP/1.1\r\nHost: a\r\n\r\n", 502),
}


@pytest.fixture(scope="module")
def world():
    with World() as made:
        yield made


@pytest.fixture(scope="module")
def ports(world: World) -> tuple[int, int]:
    """Of a -D without a login, and of one with; all tests have the same, so its thread has to go on."""
    made = []
    for login in (None, LOGIN):
        forwarder = Forwarder(world.pool(), login)
        world.callback(forwarder.stop)
        made.append(forwarder.bind(Forward(Target(1, "127.0.0.1", 0), None)).port)
        forwarder.start()
    return made[0], made[1]


@pytest.fixture(scope="module")
def target(world: World) -> bytes:
    """The port of something that echoes, as it stands in a request."""
    return world.target(echo).to_bytes(2, "big")


def asked(port: int, sent: bytes, slowly: bool = False, ends: bool = False) -> bytes:
    """All that is answered. A request that is over before all of it was sent is no fault."""
    with dial_tcp(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in in_pieces(sent, 1 if slowly else 1 << 20):
                sock.sendall(piece)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


SLOWLY = pytest.mark.parametrize("slowly", [False, True], ids=["at once", "byte by byte"])


@SLOWLY
@pytest.mark.parametrize("corner", CORNERS)
def test_corners(ports: tuple[int, int], corner: str, slowly: bool) -> None:
    sent, answer = CORNERS[corner]
    assert asked(ports[0], sent, slowly) == answer


@SLOWLY
@pytest.mark.parametrize("corner", GUARDED_CORNERS)
def test_corners_of_a_login(ports: tuple[int, int], corner: str, slowly: bool) -> None:
    sent, answer = GUARDED_CORNERS[corner]
    assert asked(ports[1], sent, slowly) == answer


@pytest.mark.parametrize("corner", HTTP_CORNERS)
def test_corners_of_http(ports: tuple[int, int], corner: str) -> None:
    sent, status = HTTP_CORNERS[corner]
    head, _, text = asked(ports[0], sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and text.startswith(b"nitrosocks: ")


def test_a_login_is_wanted_by_http(ports: tuple[int, int]) -> None:
    for words in (b"", b"Proxy-Authorization: Basic dXNlcjp3cm9uZw==\r\n"):
        answer = asked(ports[1], b"CONNECT localhost:80 HTTP/1.1\r\nHost: a\r\n" + words + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 407 ") and b"\r\nProxy-Authenticate: Basic " in answer


# -- requests that are good, whole and cut ----------------------------------------------------------------------------

HERE = b"\x7f\0\0\1"
MAPPED = b"\4" + bytes(10) + b"\xff\xff" + HERE
GOOD = {  # whether there is a login, the request, and its answer; PP is the port in bytes, NNNNN in digits
    "an address of IPv4": (False, FREE + b"\5\1\0\1" + HERE + b"PP", OPEN + b"\5\0\0\1" + HERE + b"PP"),
    "one in the form of IPv6": (False, FREE + b"\5\1\0" + MAPPED + b"PP", OPEN + b"\5\0\0" + MAPPED + b"PP"),
    "a name": (False, FREE + b"\5\1\0\3\x09localhostPP", OPEN + b"\5\0\0\1" + HERE + b"PP"),
    "all methods": (
        False,
        b"\5\xff" + bytes(range(255)) + b"\5\1\0\1" + HERE + b"PP",
        OPEN + b"\5\0\0\1" + HERE + b"PP",
    ),
    "a login that nobody asks for": (
        False,
        b"\5\1\2\1\1u\1p" + b"\5\1\0\1" + HERE + b"PP",
        b"\5\2\1\0" + b"\5\0\0\1" + HERE + b"PP",
    ),
    "an address in brackets": (False, FREE + b"\5\1\0\3\x12[::ffff:127.0.0.1]PP", OPEN + b"\5\0\0" + MAPPED + b"PP"),
    "a login": (True, GUARDED + b"\5\1\0\1" + HERE + b"PP", LET_IN + b"\5\0\0\1" + HERE + b"PP"),
    "SOCKS 4": (False, b"\4\1PP" + HERE + b"user\0", b"\0\x5a" + bytes(6)),
    "SOCKS 4a": (False, b"\4\1PP\0\0\0\1user\0localhost\0", b"\0\x5a" + bytes(6)),
    "CONNECT": (
        False,
        b"CONNECT localhost:NNNNN HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 Connection established\r\n\r\n",
    ),
}


def made(words: bytes, target: bytes) -> bytes:
    return words.replace(b"PP", target).replace(b"NNNNN", b"%d" % int.from_bytes(target, "big"))


@SLOWLY
@pytest.mark.parametrize("good", GOOD)
def test_good_requests(ports: tuple[int, int], target: bytes, good: str, slowly: bool) -> None:
    """What comes at once behind them is for the target, and so is an end."""
    guarded, sent, answer = GOOD[good]
    assert asked(ports[guarded], made(sent, target) + b"hello", slowly, ends=True) == made(answer, target) + b"hello"


@pytest.mark.parametrize("good", GOOD)
def test_requests_that_are_cut(ports: tuple[int, int], target: bytes, good: str) -> None:
    """At each byte, by an end and by a reset: nothing hangs, nothing is opened, and the next one is served."""
    guarded, sent, answer = GOOD[good]
    whole = made(sent, target)
    for at in range(len(whole)):
        got = asked(ports[guarded], whole[:at], ends=True)
        assert answer.startswith(got) and len(got) <= len(LET_IN), at
        with dial_tcp(ports[guarded]) as sock:
            sock.sendall(whole[:at])
            reset(sock)
    assert asked(ports[guarded], whole, ends=True) == made(answer, target)
