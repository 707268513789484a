"""SOCKS 5 over memory, to the byte, in one piece and byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spoken import END, talk

from nitrosocks_lib.facts.errors import NetworkError, ProxyRefused, UsageError
from nitrosocks_lib.protocol.proxy_auth import Login
from nitrosocks_lib.protocol.socks_client import connect

LOGIN = Login("user", "pass")
DONE = bytes.fromhex("05000001 7f000001 1f90")


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    "done", [DONE, bytes.fromhex("0500000403") + b"abc" + bytes(15), b"\5\0\0\3\5proxy\0\0"], ids=["v4", "v6", "name"]
)
def test_a_name_is_asked_for(done: bytes, piece: int) -> None:
    done = done if done[3] != 4 else done[:4] + bytes(18)
    said = talk(connect("server.example", 443, None), [b"\5\0", done], piece)
    assert said == [b"\5\1\0", b"\5\1\0\3\x0eserver.example\x01\xbb"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", b"\1\x0a\0\0\1"),
        ("2001:db8::1", b"\4" + bytes.fromhex("20010db8000000000000000000000001")),
        ("bücher.example", b"\3\x15xn--bcher-kva.example"),
    ],
)
def test_addresses(host: str, address: bytes) -> None:
    assert talk(connect(host, 80, None), [b"\5\0", DONE])[1] == b"\5\1\0" + address + b"\0\x50"


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_user_and_password(piece: int) -> None:
    said = talk(connect("a", 1, LOGIN), [b"\5\2", b"\1\0", DONE], piece)
    assert said == [b"\5\2\0\2", b"\1\4user\4pass", b"\5\1\0\3\1a\0\1"]
    assert talk(connect("a", 1, LOGIN), [b"\5\0", DONE], piece)[1:] == said[2:], "it may do without"


@pytest.mark.parametrize(
    ("login", "answers", "told"),
    [
        (None, [b"\5\xff"], "requires a user and a password"),
        (None, [b"\5\2"], "requires a user and a password"),
        (LOGIN, [b"\5\xff"], "requires another way to log in"),
        (LOGIN, [b"\5\1"], "requires another way to log in"),
        (LOGIN, [b"\5\2", b"\1\1"], "rejected this user and password"),
        (None, [b"\5\0", b"\5\2"], "it refused: its rules do not allow it"),
    ],
)
def test_refusals_that_are_final(login: Login | None, answers: list[bytes], told: str) -> None:
    with pytest.raises(ProxyRefused, match=told) as failure:
        talk(connect("a", 1, login), answers)
    assert failure.value.final


@pytest.mark.parametrize(("reply", "told"), [(1, "a general failure"), (4, "host is"), (5, "refused"), (99, "99")])
def test_refusals_that_another_address_may_not_meet(reply: int, told: str) -> None:
    with pytest.raises(ProxyRefused, match=f"it refused: .*{told}") as failure:
        talk(connect("a", 1, None), [b"\5\0", bytes([5, reply])])
    assert not failure.value.final


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([END], "closed the connection"),
        ([b"\5", END], "closed the connection"),
        ([b"\5\0", DONE[:-1], END], "closed the connection"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "not SOCKS 5"),
        ([b"\4\x5a"], "not SOCKS 5"),
        ([b"\5\0", b"\4\0\0\1"], "not SOCKS 5"),
        ([b"\5\0", b"\5\0\0\2"], "not SOCKS 5"),
        ([b"\5\0", DONE + b"x"], "unexpected bytes"),
    ],
)
def test_what_is_no_answer(answers: list[bytes], told: str) -> None:
    with pytest.raises(NetworkError, match=told) as failure:
        talk(connect("a", 1, None), answers)
    assert not isinstance(failure.value, ProxyRefused)


@given(st.lists(st.one_of(st.sampled_from([b"\5", b"\0", b"\2", b"\1", b"\5\0", DONE]), st.binary()), max_size=20))
def test_whatever_comes_it_ends_or_is_told(answers: list[bytes]) -> None:
    asked = connect("a", 1, LOGIN)
    next(asked)
    with pytest.raises((NetworkError, StopIteration)):
        for answer in [*answers, END]:
            asked.send(answer)


def test_what_cannot_be_said() -> None:
    for login in (Login("", "x"), Login("x", ""), Login("x" * 256, "x")):
        with pytest.raises(UsageError, match="1 to 255 bytes"):
            talk(connect("a", 1, login), [b"\5\2"])
    with pytest.raises(NetworkError, match="not a host name"):
        talk(connect("a" * 256, 1, None), [b"\5\0"])
