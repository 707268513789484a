"""Judge: request by request, what is ours and what is the decoy's; every byte goes to one of them, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.protocol.http1 import Head
from nitrosocks_lib.protocol.judge import Broken, Judge, Ours, Piece, Theirs, Whole, is_theirs

THEIRS = b"GET /roses HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /roses HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
OURS = b"POST /ours HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nServer: garden\r\nContent-Length: 2\r\n\r\nhi"


def find(head: Head) -> str | None:
    return "found" if head.target == b"/ours" else None


def can_begin(got: bytes) -> bool:
    return b"POST /ours HTTP/1.1\r\n".startswith(got[:21])


def judge() -> Judge[str]:
    return Judge(find, can_begin)


def said(each: Judge[str], data: bytes = b"") -> list:
    if data:
        each.feed(data)
    return list(iter(each.next, None))


def theirs(each: Judge[str], data: bytes = b"") -> bytes:
    events = said(each, data)
    assert all(isinstance(event, Theirs) for event in events), events
    return b"".join(event.raw for event in events)


def told(events: list) -> tuple[Head, bytes]:
    """The one request of ours, whole."""
    assert isinstance(events[0], Ours) and isinstance(events[-1], Whole)
    assert events[0].found == "found"
    return events[0].head, b"".join(event.data for event in events[1:-1] if isinstance(event, Piece))


def test_what_is_theirs_passes() -> None:
    each = judge()
    assert theirs(each, THEIRS + POST + THEIRS) == THEIRS + POST + THEIRS
    assert each.outstanding == 3 and not each.idle
    each.follow(OK * 3)
    assert each.idle and each.server == "garden"


def test_what_is_ours_is_told_with_its_body() -> None:
    each = judge()
    head, body = told(said(each, OURS))
    assert (head.method, body) == (b"POST", b"body")
    each.answered()
    assert each.idle and theirs(each, THEIRS) == THEIRS


def test_ours_waits_until_those_before_it_are_answered() -> None:
    each = judge()
    assert theirs(each, THEIRS + POST + OURS + THEIRS) == THEIRS + POST
    each.follow(OK)
    assert said(each) == []
    each.follow(OK[:30])
    each.follow(OK[30:])
    assert told(said(each))[1] == b"body"
    assert said(each) == []  # theirs waits for the answer to ours
    each.answered()
    assert theirs(each) == THEIRS


def test_an_interim_answer_is_none() -> None:
    each = judge()
    theirs(each, POST)
    each.follow(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert each.outstanding == 1
    each.follow(OK)
    assert each.outstanding == 0


@pytest.mark.parametrize("size", range(1, len(OURS) - 4))
def test_a_beginning_that_may_be_ours_is_held_back(size: int) -> None:
    each = judge()
    events = said(each, OURS[:size])
    head = OURS.index(b"\r\n\r\n") + 4
    assert each.holds == (size < head) and not [event for event in events if isinstance(event, Theirs)]
    events += said(each, OURS[size:])
    assert told(events)[1] == b"body"


def test_what_was_held_back_for_too_long_is_theirs() -> None:
    each = judge()
    assert said(each, OURS[:10]) == []
    each.expire()
    assert theirs(each) == OURS[:10] and each.amid and not each.holds
    assert theirs(each, OURS[10:]) == OURS[10:]
    assert each.outstanding == 1


@pytest.mark.parametrize("size", range(1, len(POST)))
def test_what_can_be_none_of_ours_passes_at_once(size: int) -> None:
    each = judge()
    held = size if can_begin(POST[:size]) else 0
    assert len(theirs(each, POST[:size])) == size - held
    assert each.holds == bool(held)
    rest = theirs(each, POST[size:] + THEIRS)
    assert rest == (POST + THEIRS)[size - held :] and each.outstanding == 2


AMBIGUOUS = [
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"\x80\x81garbage",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("first", AMBIGUOUS, ids=repr)
def test_behind_an_ambiguous_request_all_is_theirs(first: bytes) -> None:
    each = judge()
    assert theirs(each, first + OURS) == first + OURS and each.opaque
    each.follow(b"whatever")
    assert theirs(each, OURS) == OURS and each.rest == b""


@pytest.mark.parametrize("answer", [b"\x00\x01\r\n\r\n", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"])
def test_behind_an_ambiguous_answer_all_is_theirs(answer: bytes) -> None:
    each = judge()
    assert theirs(each, THEIRS + OURS + THEIRS) == THEIRS
    each.follow(answer)
    assert theirs(each) == OURS + THEIRS and each.opaque


def test_ours_may_be_refused_at_once() -> None:
    each = judge()
    each.feed(OURS + THEIRS)
    head = each.next()
    assert isinstance(head, Ours)
    each.refuse(head.head)
    assert theirs(each) == b"body" + THEIRS and each.outstanding == 2


def test_ours_may_be_refused_amid_its_body() -> None:
    each = judge()
    events = said(each, OURS[:-2])
    assert isinstance(events[-1], Piece)
    each.refuse(events[0].head)
    assert theirs(each, b"dy" + THEIRS) == b"dy" + THEIRS


def test_ours_may_be_refused_when_it_is_whole() -> None:
    each = judge()
    head, _ = told(said(each, OURS))
    each.refuse(head)
    assert each.outstanding == 1
    each.follow(OK)
    assert each.idle


def test_a_connection_to_the_decoy_may_end_between_two_requests() -> None:
    each = judge()
    theirs(each, THEIRS)
    each.follow(OK)
    each.forget()
    assert theirs(each, THEIRS) == THEIRS
    each.follow(OK)
    assert each.idle


@given(st.lists(st.sampled_from([THEIRS, POST, *AMBIGUOUS]), max_size=6), st.data())
def test_every_byte_of_theirs_passes_however_it_is_cut(requests: list[bytes], data: st.DataObject) -> None:
    whole, each, passed = b"".join(requests), judge(), b""
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        passed += theirs(each, whole[:size])
        whole = whole[size:]
    each.expire()
    passed += theirs(each)
    assert passed == b"".join(requests)


def test_what_is_ours_and_becomes_ambiguous_is_told_apart() -> None:
    each = judge()
    chunked = b"POST /ours HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    told, piece, broken, rest = said(each, chunked + b"2\r\nab\r\n") + said(each, b"no\r\n") + said(each, THEIRS)
    assert isinstance(told, Ours) and piece == Piece(b"ab", b"2\r\nab\r\n")
    assert broken == Broken(b"no\r\n") and rest == Theirs(THEIRS)


FIRST = st.one_of(
    st.sampled_from([THEIRS, POST, OURS, THEIRS + OURS, THEIRS[:-4], THEIRS[:9], OURS[:9], OURS[:-9], b"\r\n\r\n"]),
    st.builds(bytes.__add__, st.binary(max_size=60), st.sampled_from([b"", b"\r\n\r\n", THEIRS, OURS])),
)


@given(first=FIRST, rest=st.sampled_from([b"", THEIRS, OURS, b"\r\n\r\n" + OURS, THEIRS[9:] + OURS, b"abc" + OURS]))
def test_what_is_told_to_the_decoy_at_once_is_what_it_would_get(first: bytes, rest: bytes) -> None:
    if not is_theirs(first, can_begin):
        return
    slow, quick = judge(), judge()
    quick.passed(first)
    assert (theirs(slow, first), theirs(quick)) == (first, b"")
    events = [[event for event in said(each, rest) if event != Theirs(b"")] for each in (slow, quick)]
    assert events[0] == events[1] and slow.outstanding == quick.outstanding


@pytest.mark.parametrize(
    ("first", "all_theirs"),
    [
        (THEIRS, True),
        (THEIRS[:9], True),
        (bytes(300), True),
        (THEIRS + OURS, False),  # what is ours never gets there
        (POST, False),  # its body may be anything
        (OURS, False),
        (OURS[:9], False),
    ],
)
def test_what_may_hold_something_of_ours_is_not_told_at_once(first: bytes, all_theirs: bool) -> None:
    assert is_theirs(first, can_begin) is all_theirs
