"""An HTTP proxy's side: CONNECT, requests with the whole URL, what is left out of them, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from asking_proxy import ask, asked, in_pieces, rejected

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Reply
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.protocol.proxy_auth import Login, basic

LOGIN = Login("user", "pass")
AT = Address("10.0.0.1", 80)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_connect(size: int) -> None:
    said, found = asked(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", size=size)
    assert (said, found.target, found.early) == (b"", Target(1, "a.example", 443), b"")
    assert found.answers.opened(AT) == b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_early_data_behind_connect() -> None:
    assert asked(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\3\1")[1][:2] == (
        Target(1, "::1", 443),
        b"\x16\3\1",
    )


@pytest.mark.parametrize(
    ("line", "target", "first"),
    [
        ("GET http://a.example/x?y#z", Target(1, "a.example", 80), "GET /x?y HTTP/1.1\r\nHost: a.example\r\n"),
        ("POST HTTP://a.example:8080", Target(1, "a.example", 8080), "POST / HTTP/1.1\r\nHost: a.example:8080\r\n"),
        ("HEAD http://u:p@[::1]?q", Target(1, "::1", 80), "HEAD /?q HTTP/1.1\r\nHost: [::1]\r\n"),
        ("GET http://[::1]:81/", Target(1, "::1", 81), "GET / HTTP/1.1\r\nHost: [::1]:81\r\n"),
        ("GET http://a/ä?ö", Target(1, "a", 80), "GET /%C3%A4?%C3%B6 HTTP/1.1\r\nHost: a\r\n"),
        ("GET http://ä.example/", Target(1, "ä.example", 80), "GET / HTTP/1.1\r\nHost: %C3%A4.example\r\n"),
        ("OPTIONS http://a", Target(1, "a", 80), "OPTIONS * HTTP/1.1\r\nHost: a\r\n"),
        ("OPTIONS http://a?b", Target(1, "a", 80), "OPTIONS /?b HTTP/1.1\r\nHost: a\r\n"),
        ("OPTIONS http://a/", Target(1, "a", 80), "OPTIONS / HTTP/1.1\r\nHost: a\r\n"),
    ],
)
def test_requests_with_the_whole_url(line: str, target: Target, first: str) -> None:
    _, found = asked(f"{line} HTTP/1.1\r\nHost: other\r\n\r\n".encode())
    assert found.target == target
    assert found.early == f"{first}Connection: close\r\n\r\n".encode()
    assert found.answers.opened(AT) == b""


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    "head",
    [
        "{}\r\n\r\n",  # as some have it in HTTP/1.1, too
        "{}\r\nHost: b\r\nhost:c\r\n\r\n",
        "{}\nHost: b\n\n",
        "{}\nHost: b\r\n\n",
        "{}\nHost: b\n\r\n",
    ],
)
def test_a_form_that_is_not_exact(head: str, size: int) -> None:
    _, found = asked(head.format("GET http://a/ HTTP/1.1").encode() + b"more", size=size)
    assert (found.target, found.early) == (
        Target(1, "a", 80),
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    _, found = asked(head.format("CONNECT a:443 HTTP/1.1").encode())
    assert (found.target, found.early) == (Target(1, "a", 443), b"")


def test_a_long_head() -> None:
    """As one with a ticket of Kerberos; what is longer is told so."""
    head = b"GET http://a/ HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate " + b"x" * 88_000
    assert head.partition(b"Host: a")[2] in asked(head + b"\r\n\r\n", size=1000)[1].early
    said, why = rejected(head + b"x" * limits.ASKED_HEAD)
    assert said.startswith(b"HTTP/1.1 431 ") and why == "its head is longer than 128 KiB"


def test_what_is_between_the_application_and_us_is_left_out() -> None:
    _, found = asked(
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive, X-Own\r\n"
        b"x-own: 1\r\nProxy-Authorization: Basic eA==\r\nContent-Length: 5\r\nAccept:  */*\r\n\r\nhello"
    )
    assert found.early == (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAccept:  */*\r\nConnection: close\r\n\r\nhello"
    )


def test_an_upgrade_stays_one() -> None:
    _, found = asked(b"GET http://a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert found.early == b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def test_another_upgrade_is_left_out() -> None:
    """Refused, it would leave a connection at which an application asks for the next host."""
    _, found = asked(
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    assert found.early == b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert found.belongs is not None and found.belongs(b"GET") == 0


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_a_body_cannot_become_a_request(framing: bytes) -> None:
    """As it would, if what tells its length were left out."""
    name = framing.partition(b":")[0]
    _, found = asked(b"POST http://a/ HTTP/1.1\r\nHost: a\r\nConnection: " + name + b"\r\n" + framing + b"\r\n\r\n")
    assert found.early == b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\nConnection: close\r\n\r\n"


NEXT = b"GET http://b/ HTTP/1.1\r\nHost: b\r\nCookie: of-b\r\n\r\n"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"", b""),
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"5;x\r\nhello\r\n0\r\n\r\n"),
    ],
)
def test_the_next_request_is_not_for_this_target(framing: bytes, body: bytes) -> None:
    head = b"POST http://a/ HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n"
    for at_once in range(len(body + NEXT) + 1):
        _, found = asked(head + (body + NEXT)[:at_once])
        assert found.early.partition(b"\r\n\r\n")[2] == body[:at_once]
        assert found.belongs is not None
        assert found.belongs((body + NEXT)[at_once:]) == max(0, len(body) - at_once)
        assert found.belongs(NEXT) == 0


def told(pieces: Iterable[bytes]) -> bytes:
    """The same for an answer that comes so."""
    _, found = asked(b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
    said, whole = b"", False
    for piece in pieces:
        assert found.told is not None
        more, whole = (piece, True) if whole else found.told(piece)
        said += more
    return said


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"])
@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 \r\n", b"HTTP/1.1 204\n"])
def test_an_answer_says_that_it_is_the_last_one(before: bytes, first: bytes) -> None:
    rest = b"Connection: keep-alive\r\n\r\nHTTP/1.1 100 body\r\n"
    answer = before + first + rest
    for size in (1, 2, 7, len(answer)):
        assert told(in_pieces(answer, size)) == before + first + b"Connection: close\r\n" + rest


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 2",
        b"x" * 40_000,
    ],
)
def test_what_is_no_answer_is_told_as_it_comes(answer: bytes) -> None:
    for size in (1, len(answer)):
        assert told(in_pieces(answer, size)) == answer


def test_what_comes_of_an_answer_does_not_wait() -> None:
    _, found = asked(b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert found.told is not None
    assert found.told(b"HTTP/1.1 20") == (b"HTTP/1.1 20", False)
    assert found.told(b"0 OK\r") == (b"0 OK\r", False)
    assert found.told(b"\n") == (b"\nConnection: close\r\n", True)


def test_a_body_whose_end_is_not_sure_goes_through() -> None:
    _, found = asked(b"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    assert found.belongs is not None
    assert found.belongs(b"Trailer: x\r\n\r\n") == 14


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a:0/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a\xff/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT :443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:443\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://a%2Fb/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nx: a\rb\r\n\r\n",
    ],
)
def test_requests_that_lead_nowhere(data: bytes) -> None:
    said, why = rejected(data)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert head.endswith(b"Connection: close")
    assert body == f"nitrosocks: {why}\n".encode()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("/", "this is a proxy, not a web server: name it as the proxy of your browser"),
        ("https://a/", "a request may name an http:// URL alone: for all others use CONNECT"),
        ("ftp://a/", "a request may name an http:// URL alone: for all others use CONNECT"),
    ],
)
def test_what_else_is_asked_for(wanted: str, told: str) -> None:
    assert rejected(f"GET {wanted} HTTP/1.1\r\nHost: a\r\n\r\n".encode())[1] == told


def test_a_login_is_asked_for() -> None:
    head = b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n"
    for words in (
        b"",
        b"Proxy-Authorization: Basic eDp5\r\n",
        b"Proxy-Authorization: Bearer x\r\n",
        b"Proxy-Authorization: Basic\r\n",
    ):
        said, _ = rejected(head + words + b"\r\n", LOGIN)
        assert said.startswith(b"HTTP/1.1 407 ")
        assert b'\r\nProxy-Authenticate: Basic realm="nitrosocks"\r\n' in said
    token = basic(LOGIN).removeprefix("Basic ")
    for scheme in ("Basic ", "basic ", "BASIC  "):
        given = f"Proxy-Authorization: {scheme}{token}\r\n\r\n".encode()
        assert asked(head + given, LOGIN)[1].target.host == "a"


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, 503), (Reply.NOT_PERMITTED, 403), (Reply.EXPIRED, 504), (Reply.CONNECTION_REFUSED, 502), (200, 502)],
)
def test_failures(code: int, status: int) -> None:
    for request in (b"CONNECT a:443", b"GET http://a/"):
        answers = asked(request + b" HTTP/1.1\r\nHost: a\r\n\r\n")[1].answers
        answer = answers.failed(code, "because\r\nof \x1b[1m that").decode()
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert answer.count("\r\n\r\n") == 1
        assert "\x1b" not in answer
        assert answer.endswith("that\n")


def test_a_head_that_is_cut_waits() -> None:
    assert ask([b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n"])[1] is None
