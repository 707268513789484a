"""SOCKS 5, 4 and 4a as a server: requests to the byte, in one piece and byte by byte, and what is wrong with them."""

from __future__ import annotations

import pytest
from asking_proxy import ask, asked, rejected

from nitrosocks_lib.facts.wire import Reply
from nitrosocks_lib.protocol.asked import Asked, Rejected
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.protocol.proxy_auth import Login

LOGIN = Login("user", "pass")
NAME = b"\5\1\0\3\x0eserver.example\x01\xbb"
WRONG4 = b"\0\x5b" + bytes(6)


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (NAME, Target(1, "server.example", 443)),
        (b"\5\1\0\1\x0a\0\0\1\0\x50", Target(1, "10.0.0.1", 80)),
        (b"\5\1\0\4" + bytes.fromhex("20010db8") + bytes(11) + b"\1\0\x16", Target(1, "2001:db8::1", 22)),
        ("\5\1\0\3\x0fbücher.example\0P".encode(), Target(1, "bücher.example", 80)),
    ],
)
def test_requests(request_: bytes, target: Target, size: int) -> None:
    said, found = asked(b"\5\2\0\1" + request_, size=size)
    assert (said, found.target) == (b"\5\0", target)


def test_what_follows_the_request_is_kept() -> None:
    assert asked(b"\5\1\0" + NAME + b"early")[1].early == b"early"
    assert asked(b"\4\1\0\x50\x0a\0\0\1user\0early")[1].early == b"early"


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_user_and_password(size: int) -> None:
    said, found = asked(b"\5\2\0\2" + b"\1\4user\4pass" + NAME, LOGIN, size)
    assert (said, found.target.host) == (b"\5\2\1\0", "server.example")


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("words", [b"\1\4user\4pass", b"\1\0\0"])
def test_a_user_and_password_that_nobody_asks_for(words: bytes, size: int) -> None:
    said, found = asked(b"\5\1\2" + words + NAME, size=size)
    assert (said, found.target.host) == (b"\5\2\1\0", "server.example")
    assert asked(b"\5\2\2\0" + NAME)[0] == b"\5\0", "it need not give them"


@pytest.mark.parametrize(
    "words", [b"\1\4user\4pasS", b"\1\4useR\4pass", b"\1\0\0", b"\1\4user\3pas", b"\2\4user\4pass"]
)
def test_a_wrong_user_or_password(words: bytes) -> None:
    assert rejected(b"\5\1\2" + words, LOGIN) == (b"\5\2\1\1", "its user or password is wrong")


@pytest.mark.parametrize(
    ("data", "login", "answer"),
    [
        (b"\5\0", None, b"\5\xff"),
        (b"\5\1\1", None, b"\5\xff"),  # GSSAPI alone
        (b"\5\1\0", LOGIN, b"\5\xff"),
        (b"\5\1\0\4\1\0\1", None, b"\5\0\5\1"),  # another version in the request
        (b"\5\1\0\5\1\0\2", None, b"\5\0\5\x08"),  # no such kind of address
        (b"\5\1\0\5\2\0\1\x0a\0\0\1\0\x50", None, b"\5\0\5\x07"),  # BIND
        (b"\5\1\0\5\x09\0\1\x0a\0\0\1\0\x50", None, b"\5\0\5\x07"),
        (b"\5\1\0\5\1\0\1\x0a\0\0\1\0\0", None, b"\5\0\5\1"),  # port 0
        (b"\5\1\0\5\1\0\3\0\0\x50", None, b"\5\0\5\1"),  # no name
        (b"\5\1\0\5\1\0\3\3a b\0\x50", None, b"\5\0\5\1"),
        (b"\5\1\0\5\1\0\3\2\xff\xfe\0\x50", None, b"\5\0\5\1"),
        (b"\5\1\0\5\1\0\3\3a\0b\0\x50", None, b"\5\0\5\1"),
        (b"\5\1\0\5\1\0\3\3[a]\0\x50", None, b"\5\0\5\1"),
        (b"\5\1\0\5\1\0\3\x09[::1%a b]\0\x50", None, b"\5\0\5\1"),
    ],
)
def test_requests_that_lead_nowhere(data: bytes, login: Login | None, answer: bytes) -> None:
    said, _ = rejected(data, login)
    assert said.startswith(answer)
    assert len(said) in (2, 12)


@pytest.mark.parametrize("cut", range(1, len(b"\5\1\0" + NAME)))
def test_a_request_that_is_cut_waits(cut: int) -> None:
    assert ask([(b"\5\1\0" + NAME)[:cut]])[1] is None


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (b"\4\1\0\x50\x0a\0\0\1\0", Target(1, "10.0.0.1", 80)),
        (b"\4\1\1\xbb\x0a\0\0\1user\0", Target(1, "10.0.0.1", 443)),
        (b"\4\1\0\x50\0\0\0\1user\0server.example\0", Target(1, "server.example", 80)),
    ],
)
def test_socks4(data: bytes, target: Target) -> None:
    assert [asked(data, size=size)[1].target for size in (1, 99)] == [target] * 2


@pytest.mark.parametrize(
    "data",
    [b"\4\2\0\x50\x0a\0\0\1\0", b"\4\1\0\0\x0a\0\0\1\0", b"\4\1\0\x50\0\0\0\1\0\0", b"\4\1\0\x50\0\0\0\1\0a b\0",
     b"\4\1\0\x50\x0a\0\0\1" + bytes([97]) * 300],
)  # fmt: skip
def test_socks4_that_leads_nowhere(data: bytes) -> None:
    assert rejected(data)[0] == WRONG4
    assert rejected(b"\4\1\0\x50\x0a\0\0\1user\0", LOGIN)[0] == WRONG4, "it has no password"


def test_answers() -> None:
    five, four = asked(b"\5\1\0" + NAME)[1].answers, asked(b"\4\1\0\x50\x0a\0\0\1\0")[1].answers
    assert five.opened(Address("10.0.0.1", 80)) == b"\5\0\0\1\x0a\0\0\1\0\x50"
    assert five.opened(Address("2001:db8::1", 80)) == b"\5\0\0\4\x20\1\x0d\xb8" + bytes(11) + b"\1\0\x50"
    assert five.opened(Address("", 0)) == b"\5\0\0\1" + bytes(6)
    for code in range(256):
        known = code if code in list(Reply) else 1
        assert five.failed(code, "why") == bytes([5, known, 0, 1]) + bytes(6)
        assert four.failed(code, "why") == WRONG4
    assert four.opened(Address("10.0.0.1", 80)) == b"\0\x5a" + bytes(6)


@pytest.mark.parametrize("first", [byte for byte in range(256) if byte not in (4, 5, *range(65, 91))])
def test_what_is_neither_socks_nor_http(first: int) -> None:
    said, outcome = ask([bytes([first])])
    assert isinstance(outcome, Rejected)
    assert not isinstance(outcome, Asked)
    assert said == b""
