"""Heads of answers that no browser objects to, and h11 does: read all the same, by a client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.http1 import AnswerHead, Body, End, Opaque
from nitrosocks_lib.protocol.mended import MendedAnswers, may_begin, mended

FIRST = b"HTTP/1.1 200 OK\r\n"
ODD = {
    "a space before the colon": (b"X-Cache : HIT\r\n", b"X-Cache: HIT\r\n"),
    "a tab before it": (b"Via\t:\tx\r\n", b"Via: x\r\n"),
    "no colon": (b"garbage\r\n", b""),
    "no name": (b": x\r\n", b""),
    "a name that is none": (b"X Cache(1): HIT\r\n", b""),
    "a name beyond ASCII": (b"X-\xe9: x\r\n", b""),
    "a value beyond ASCII": (b"X: \xe9\r\n", b"X: \xe9\r\n"),
    "a line that goes on": (b"X: a\r\n\t b\r\n", b"X: a b\r\n"),
    "LF alone": (b"X: a\nY: b\n", b"X: a\r\nY: b\r\n"),
    "CR alone": (b"X: a\rb\r\n", b""),
    "a length twice": (b"Content-Length: 5\r\ncontent-length: 5\r\n", b"Content-Length: 5\r\n"),
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    "a cookie twice": (b"Set-Cookie: a=b\r\nSet-Cookie: a=b\r\n", b"Set-Cookie: a=b\r\nSet-Cookie: a=b\r\n"),
}


@pytest.mark.parametrize(("odd", "right"), ODD.values(), ids=ODD)
def test_what_boxes_write(odd: bytes, right: bytes) -> None:
    assert mended(FIRST + odd + b"\r\n") == FIRST + right + b"\r\n"


@pytest.mark.parametrize(
    ("line", "right"),
    [
        (b"HTTP/1.1  200   OK", b"HTTP/1.1 200 OK"),
        (b"http/1.0 200 ok", b"HTTP/1.0 200 ok"),
        (b"HTTP/1.1 200", b"HTTP/1.1 200 "),
        (b"HTTP/1.1 404 a\x01b", b"HTTP/1.1 404 a?b"),
        (b"HTTP/1.1 2000 OK", b"HTTP/1.1 2000 OK"),
        (b"HTTP/2 200 OK", b"HTTP/2 200 OK"),
        (b"SSH-2.0-x", b"SSH-2.0-x"),
    ],
)
def test_first_lines(line: bytes, right: bytes) -> None:
    assert mended(line + b"\r\n\r\n") == right + b"\r\n\r\n"


def test_behind_connect_lengths_mean_nothing() -> None:
    lengths = b"Content-Length: x\r\nTransfer-Encoding: chunked\r\nVia: y\r\n\r\n"
    assert mended(FIRST + lengths, tunnel=True) == FIRST + b"Via: y\r\n\r\n"
    refused = b"HTTP/1.1 403 No\r\n" + lengths
    assert mended(refused, tunnel=True) == refused


@pytest.mark.parametrize("got", [b"", b"H", b"http/", b"HTTP/1.1 200"])
def test_what_may_begin_an_answer(got: bytes) -> None:
    assert may_begin(got)
    assert not may_begin(b"x" + got)


def events(data: bytes, piece: int = 1 << 20) -> list:
    answers, found = MendedAnswers(), []
    answers.expect(b"POST")
    for at in range(0, len(data), piece):
        answers.feed(data[at : at + piece])
        while (event := answers.next()) is not None:
            found.append(event)
    return found


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_answer_with_one_is_read(odd: tuple[bytes, bytes], piece: int) -> None:
    if odd is ODD["two lengths"]:
        assert isinstance(events(FIRST + odd[0] + b"\r\nhello", piece)[-1], Opaque)
        return
    length = b"" if b"ength" in odd[0] else b"Content-Length: 5\r\n"
    head, *bodies, end = events(b"\r\n" + FIRST + odd[0] + length + b"\r\nhello", piece)
    assert isinstance(head, AnswerHead) and head.status == 200 and end == End()
    assert b"".join(each.data for each in bodies if isinstance(each, Body)) == b"hello"


def test_what_is_no_answer_is_passed_over_at_once() -> None:
    assert events(b"220 smtp") == [Opaque(b"220 smtp")]
    assert isinstance(events(FIRST + b"X: " + b"x" * limits.HEAD)[0], Opaque)


@given(st.lists(st.sampled_from([b"HTTP/1.1 200 OK", b"a: b", b" c", b":", b"\n", b"\r\n", b"\r", b"\0", b"\xff"])))
def test_whatever_comes_is_read_or_not(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    events(data, 1)
    assert mended(data + b"\n\n").endswith(b"\n\n") or mended(data + b"\n\n").endswith(b"\r\n\r\n")
