"""Cookies: what a balancer gives is returned, what ends or belongs elsewhere is not, and nothing grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.cookies import Cookies

AT = 1_795_455_360.0  # Tue, 24 Nov 2026


def kept(*values: bytes, prefix: str = "", at: float = AT) -> bytes:
    cookies = Cookies(prefix)
    cookies.take(values, AT)
    return cookies.field(at)


def test_what_is_given_is_returned_in_the_order_in_which_it_came() -> None:
    assert kept(b"node=a; Path=/; HttpOnly; Secure", b"lb =  x=1 ;SameSite=Lax") == b"node=a; lb=x=1"


def test_nothing_is_returned_when_nothing_was_given() -> None:
    assert kept() == b""


def test_a_later_value_replaces_an_earlier_one() -> None:
    assert kept(b"a=1", b"b=2", b"a=3") == b"a=3; b=2"


@pytest.mark.parametrize("none", [b"", b"node", b"=a", b";", b"; Path=/", b"a=\x00", b"a=\r\nX: y", b"a\x7f=1"])
def test_what_is_no_cookie_is_ignored(none: bytes) -> None:
    assert kept(none, b"node=a") == b"node=a"


@pytest.mark.parametrize(
    ("attribute", "lives"),
    [
        (b"Max-Age=60", True),
        (b"max-age=0", False),
        (b"Max-Age=-1", False),
        (b"Max-Age=soon", True),
        (b"Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", True),
        (b"Expires=Thu, 01 Jan 1970 00:00:00 GMT", False),
        (b"Expires=Thu, 01-Jan-1970 00:00:00 GMT", False),
        (b"Expires=Fri, 01 Jan 2077 00:00:00 GMT", True),
        (b"Expires=never", True),
        (b"Expires=\xff", True),
    ],
)
def test_when_it_ends(attribute: bytes, lives: bool) -> None:
    assert kept(b"node=old", b"node=a; " + attribute) == (b"node=a" if lives else b"")


def test_it_is_returned_until_it_ends() -> None:
    assert kept(b"node=a; Max-Age=60", at=AT + 59) == b"node=a"
    assert kept(b"node=a; Max-Age=60", at=AT + 60) == b""


@pytest.mark.parametrize(
    ("path", "prefix", "ours"),
    [
        (b"/", "", True),
        (b"/", "/x", True),
        (b"/x", "/x", True),
        (b"/x/", "/x/y", True),
        (b"/x", "/xy", False),
        (b"/x", "", False),
        (b"odd", "", True),
    ],
)
def test_a_cookie_of_another_path_is_none_of_ours(path: bytes, prefix: str, ours: bool) -> None:
    assert kept(b"node=a; Path=" + path, prefix=prefix) == (b"node=a" if ours else b"")


def test_cookies_are_bounded_in_number_and_size() -> None:
    assert kept(*(b"c%d=1" % i for i in range(2 * limits.COOKIES))).count(b"=") == limits.COOKIES
    assert kept(b"a=" + bytes(64) * limits.COOKIE) == b""


def test_a_copy_goes_its_own_way() -> None:
    first = Cookies("/x")
    first.take([b"node=a"], AT)
    second = first.copy()
    second.take([b"node=b; Path=/x"], AT)
    assert (first.field(AT), second.field(AT)) == (b"node=a", b"node=b")


@given(st.lists(st.binary(max_size=80)))
def test_whatever_comes_makes_no_field_that_breaks_a_head(values: list[bytes]) -> None:
    field = kept(*values)
    assert not {b"\r", b"\n", b"\0"} & {field[i : i + 1] for i in range(len(field))}


def test_cookies_together_fit_a_head() -> None:
    bomb = [b"c%d=" % i + b"x" * 1000 for i in range(limits.COOKIES)]
    assert len(kept(b"node=a", *bomb)) <= limits.COOKIES_BYTES
    cookies = Cookies()
    cookies.take([b"node=a", *bomb, b"node=b"], AT)
    assert b"node=b" in cookies.field(AT) and b"node=a" not in cookies.field(AT)
