"""protocol/http1: borders of answers, which depend on what was asked."""

from __future__ import annotations

import pytest
from messages import CHUNKED_OK, OK, POST, events, meant, raw

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.http1 import AnswerHead, Answers, Body, End, Opaque


def answers(*methods: bytes) -> Answers:
    made = Answers()
    for method in methods:
        made.expect(method)
    return made


def test_an_answer() -> None:
    head, body, end = events(answers(b"GET"), OK)
    assert isinstance(head, AnswerHead) and not head.interim
    assert (head.status, head.length, head.close) == (200, 2, False)
    assert (body, end) == (Body(b"ok", b"ok"), End())


def test_answers_in_turn() -> None:
    found = events(answers(b"GET", b"POST"), OK + OK)
    assert found.count(End()) == 2 and raw(found) == OK + OK


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ],
)
def test_answers_without_a_body(method: bytes, head: bytes) -> None:
    first, end, *rest = events(answers(method, b"GET"), head + OK)
    assert isinstance(first, AnswerHead) and first.length == 0 and end == End() and len(rest) == 3


def test_interim_answers_come_before_the_answer() -> None:
    first, second, *rest = events(answers(b"POST"), b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\n\r\n" + OK)
    assert isinstance(first, AnswerHead) and first.interim and isinstance(second, AnswerHead) and second.interim
    assert len(rest) == 3


def test_101_switches_protocols() -> None:
    head, rest = events(answers(b"GET"), b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n\x81\0")
    assert isinstance(head, AnswerHead) and not head.interim and rest == Opaque(b"\x81\0")


def test_connect_opens_a_tunnel_where_it_succeeds() -> None:
    assert events(answers(b"CONNECT"), b"HTTP/1.1 200 OK\r\n\r\nx")[1:] == [Opaque(b"x")]
    assert events(answers(b"CONNECT"), OK.replace(b"200", b"407"))[1:] == [Body(b"ok", b"ok"), End()]


def test_a_chunked_answer() -> None:
    assert meant(events(answers(b"GET"), CHUNKED_OK))[1:] == [b"abc\r\n\0\r\n", End()]


def test_a_body_that_ends_with_the_connection() -> None:
    reader = answers(b"GET")
    head, body = events(reader, b"HTTP/1.1 200 OK\r\n\r\n", b"some")
    assert isinstance(head, AnswerHead) and head.length is None and head.close
    assert body == Body(b"some", b"some") and reader.next() is None
    assert reader.end() and reader.next() == End() and reader.next() is None


@pytest.mark.parametrize("came", [b"", b"HTTP/1.1 200", OK[:-1], CHUNKED_OK[:-3]])
def test_what_is_cut_short_is_not_whole(came: bytes) -> None:
    reader = answers(b"GET")
    found = events(reader, came)
    assert not reader.end() and reader.next() is None and End() not in found


def test_an_answer_that_nobody_asked_for() -> None:
    assert events(answers(b"GET"), OK + OK)[-1] == Opaque(OK)


@pytest.mark.parametrize("came", [b"HTTP/1.1 99 X\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\n\n", POST])
def test_an_answer_that_is_none(came: bytes) -> None:
    assert raw(events(answers(b"GET"), came)) == came and isinstance(events(answers(b"GET"), came)[0], Opaque)


def test_an_answer_that_is_only_announced_is_none() -> None:
    answers = Answers()
    answers.expect(b"POST")
    more = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert all(isinstance(event, AnswerHead) for event in events(answers, more * limits.INTERIM))
    assert events(answers, more + OK) == [Opaque(more + OK)]
