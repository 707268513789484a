"""protocol/http1: borders of requests, and every byte in some event; where two readers could differ, all is opaque."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import CHUNKED, GET, POST, events, meant, raw

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.http1 import Body, End, Head, Opaque, Requests, value

# Requests


def test_a_request() -> None:
    head, body, end = events(Requests(), POST)
    assert isinstance(head, Head)
    assert (head.method, head.target, head.length) == (b"POST", b"/p", 5)
    assert head.headers == [(b"host", b"x"), (b"content-length", b"5")]
    assert head.raw + b"hello" == POST
    assert (body, end) == (Body(b"hello", b"hello"), End())


def test_a_request_without_a_body() -> None:
    head, end = events(Requests(), GET)
    assert isinstance(head, Head) and head.length == 0 and head.raw == GET and end == End()


def test_a_chunked_request() -> None:
    found = events(Requests(), CHUNKED)
    assert isinstance(found[0], Head) and found[0].length is None
    assert meant(found)[1:] == [b"abc\r\n\0\r\n", End()] and raw(found) == CHUNKED


@given(st.lists(st.sampled_from([GET, POST, CHUNKED]), max_size=5), st.randoms())
def test_pieces_do_not_matter(messages: list[bytes], source: random.Random) -> None:
    whole = b"".join(messages)
    cuts = sorted(source.randrange(len(whole) + 1) for _ in range(source.randrange(20)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    found = events(Requests(), *pieces)
    assert meant(found) == meant(events(Requests(), whole)) and raw(found) == whole
    assert found.count(End()) == len(messages)


def test_byte_by_byte() -> None:
    whole = POST + CHUNKED + GET
    found = events(Requests(), *(whole[at : at + 1] for at in range(len(whole))))
    assert meant(found) == meant(events(Requests(), whole)) and raw(found) == whole


def test_what_follows_stays_unread() -> None:
    reader = Requests()
    reader.feed(POST + GET)
    assert [type(reader.next()) for _ in range(3)] == [Head, Body, End]
    assert reader.unread == len(GET) and reader.amid
    assert [type(reader.next()) for _ in range(3)] == [Head, End, type(None)]
    assert reader.unread == 0 and not reader.amid


def test_amid_a_message() -> None:
    reader = Requests()
    assert not reader.amid
    for piece in (POST[:10], POST[10:-1]):
        events(reader, piece)
        assert reader.amid
    events(reader, POST[-1:])
    assert not reader.amid


def test_bulk_passes_as_it_is() -> None:
    reader, piece = Requests(), bytes(65_536)
    events(reader, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n")
    (first,) = events(reader, piece)
    assert isinstance(first, Body) and first.data is first.raw is piece


@pytest.mark.parametrize(
    ("lines", "expects", "close", "upgrade"),
    [
        (b"", False, False, False),
        (b"Expect: 100-Continue\r\n", True, False, False),
        (b"Connection: close\r\n", False, True, False),
        (b"Connection: x , Close\r\n", False, True, False),
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", False, False, True),
    ],
)
def test_what_a_head_says(lines: bytes, expects: bool, close: bool, upgrade: bool) -> None:
    (head, _) = events(Requests(), b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
    assert isinstance(head, Head) and (head.expects, head.close, head.upgrade) == (expects, close, upgrade)


@pytest.mark.parametrize(("lines", "close"), [(b"", True), (b"Connection: keep-alive\r\n", False)])
def test_http_1_0(lines: bytes, close: bool) -> None:
    (head, _) = events(Requests(), b"GET / HTTP/1.0\r\n" + lines + b"\r\n")
    assert isinstance(head, Head) and head.close is close


def test_what_follows_connect_is_no_http() -> None:
    (head, _) = events(Requests(), b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")
    assert isinstance(head, Head) and head.upgrade


def test_the_value_of_a_header() -> None:
    headers = [(b"a", b"1"), (b"a", b"2")]
    assert (value(headers, b"a"), value(headers, b"b")) == (b"1", b"")


# Ambiguous framing

FRAMED = b"POST / HTTP/1.1\r\nHost: x\r\n"
AMBIGUOUS = {
    "a bare LF": b"GET / HTTP/1.1\r\nHost: x\n\r\n",
    "a bare LF first": b"\nGET / HTTP/1.1\r\n",
    "an empty line first": b"\r\nGET / HTTP/1.1\r\n",
    "a bare CR": b"GET / HTTP/1.1\r\nHost: x\ry: z\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "two lengths": FRAMED + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "two equal lengths": FRAMED + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\n",
    "a list of lengths": FRAMED + b"Content-Length: 1, 1\r\n\r\n",
    "a length and chunks": FRAMED + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and a length": FRAMED + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    "a signed length": FRAMED + b"Content-Length: +1\r\n\r\n",
    "a length in letters": FRAMED + b"Content-Length: 0x1\r\n\r\n",
    "a huge length": FRAMED + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "another coding": FRAMED + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "two codings": FRAMED + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a name with a space": FRAMED + b"Content-Length : 1\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\nHost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\0\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_head_that_two_could_read_otherwise(name: str) -> None:
    head = AMBIGUOUS[name]
    reader = Requests()
    found = events(reader, POST, head + b"more")
    assert found[2:] == [End(), Opaque(head + b"more")]
    assert events(reader, GET, b"x") == [Opaque(GET), Opaque(b"x")], "and so is all behind it"


CHUNKS = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n0\r\n\r\n", b"0\r\n\n", b"0\r\nA: b\r\n\r\n", b"0\r\nA: b\n\n",
        b"-1\r\n", b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n", b" 3\r\nabc\r\n", b"1" * 30 + b"\r\n", b"3 4\r\nabc\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("pieces", [False, True])
def test_chunks_that_two_could_read_otherwise(body: bytes, pieces: bool) -> None:
    whole = CHUNKS + body + GET
    found = events(Requests(), *([whole[at : at + 1] for at in range(len(whole))] if pieces else [whole]))
    assert raw(found) == whole and End() not in found and isinstance(found[-1], Opaque)


def test_a_bare_lf_is_told_at_once() -> None:
    assert events(Requests(), b"GET / HTTP/1.1\n") == [Opaque(b"GET / HTTP/1.1\n")]


@pytest.mark.parametrize(("size", "kind"), [(limits.HEAD, Head), (limits.HEAD + 1, Opaque)])
@pytest.mark.parametrize("whole", [False, True])
def test_the_size_of_a_head(size: int, kind: type, whole: bool) -> None:
    head = GET[:-4] + b"\r\nX: "
    head += b"x" * (size - len(head) - 4) + b"\r\n\r\n"
    found = events(Requests(), *([head] if whole else [head[:-1], head[-1:]]))
    assert len(head) == size and type(found[0]) is kind and raw(found) == head


def test_a_head_that_does_not_end() -> None:
    found = events(Requests(), GET[:-2] + b"X: ", *[b"x" * 1000] * 20)
    assert isinstance(found[0], Opaque) and limits.HEAD < len(found[0].raw) < limits.HEAD + 1024


@pytest.mark.parametrize(("size", "kept"), [(1, False), (limits.CHUNK - 1, False), (2 * limits.CHUNK, True)])
def test_chunks_that_cost_more_than_they_bring(size: int, kept: bool) -> None:
    whole = CHUNKS + b"%x\r\n%b\r\n" % (size, bytes(size)) * 1000 + b"0\r\n\r\n" + GET
    found = events(Requests(), whole)
    assert raw(found) == whole
    assert found[1:].count(End()) == 2 * kept and isinstance(found[-1], Opaque) is not kept


def test_few_small_chunks_are_taken() -> None:
    found = events(Requests(), CHUNKS + b"1\r\nx\r\n" * (limits.CHUNKS_SMALL - 1) + b"0\r\n\r\n" + GET)
    assert isinstance(found[-2], Head) and End() in found
