"""protocol/heads: names and their order are those of Chromium and nginx, and a reader finds in them what is meant."""

from __future__ import annotations

import re

import browsing
import pytest

from nitrosocks_lib.protocol import heads
from nitrosocks_lib.protocol.http1 import AnswerHead, Answers, Body, End, Event, Head, Messages, Requests, value

NAMES = re.compile(rb"^([A-Za-z-]+): ", re.MULTILINE)
DATE = 784_111_777.9


def read(reader: Messages, data: bytes) -> list[Event]:
    reader.feed(data)
    return list(iter(reader.next, None))


def names(head: bytes) -> list[str]:
    return [name.decode() for name in NAMES.findall(head)]


def answered(data: bytes) -> tuple[AnswerHead, list[Event]]:
    reader = Answers()
    reader.expect(b"POST")
    head, *rest = read(reader, data)
    assert isinstance(head, AnswerHead)
    return head, rest


def test_a_post_is_as_chromiums_fetch_writes_it() -> None:
    assert names(heads.post("example.org", "/t", 5, "a=b; c=d")) == [
        "Host", "Connection", "Content-Length", "sec-ch-ua-platform", "Cache-Control", "User-Agent", "sec-ch-ua",
        "Content-Type", "sec-ch-ua-mobile", "Accept", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest",
        "Referer", "Accept-Encoding", "Accept-Language", "Cookie",
    ]  # fmt: skip


def test_an_upgrade_is_as_chromium_writes_it() -> None:
    assert names(heads.upgrade("example.org", "/t", "key", "a=b")) == [
        "Host", "Connection", "Pragma", "Cache-Control", "User-Agent", "Upgrade", "Origin", "Sec-WebSocket-Version",
        "Accept-Encoding", "Accept-Language", "Cookie", "Sec-WebSocket-Key",
    ]  # fmt: skip


def test_all_are_as_a_real_browser_and_a_real_web_server_wrote_them() -> None:
    """But for the extension that Chromium offers (WS1)."""
    made, kept = browsing.ours(), browsing.kept()
    found = browsing.differences({name: kept[name] for name in made}, made)
    assert found == ["upgrade: Sec-WebSocket-Extensions is missing"]


def test_what_differs_from_them_is_told() -> None:
    made = browsing.ours()
    host, connection, *others = made["post"]
    tell = lambda *head: browsing.differences({"post": made["post"]}, {"post": [*head]})  # noqa: E731
    assert tell(host, connection, *others) == []
    assert tell(host, *others) == ["post: Connection is missing"]
    assert tell(host, connection, ["X", "y"], *others) == ["post: X is too much"]
    assert tell(host, ["Connection", "close"], *others) == ["post: Connection: close; theirs keep-alive"]
    (order,) = tell(connection, host, *others)
    assert order.startswith("post: the order is Connection, Host, ")


def test_a_referer_is_the_page() -> None:
    assert b"\r\nReferer: https://x:8443/a/?b=c\r\n" in heads.post("x:8443", "/a/t", 0, page="/a/?b=c")


@pytest.mark.parametrize("length", [0, 5])
def test_a_post_says_what_the_protocol_wants(length: int) -> None:
    head, *rest = read(Requests(), heads.post("example.org:8443", "/p/t", length, "a=b") + bytes(length))
    assert isinstance(head, Head) and (head.method, head.target, head.length) == (b"POST", b"/p/t", length)
    said = [value(head.headers, name) for name in (b"host", b"content-type", b"cache-control", b"cookie", b"origin")]
    assert said == [
        b"example.org:8443", b"application/octet-stream", b"no-store", b"a=b", b"https://example.org:8443",
    ]  # fmt: skip
    assert not head.close and not head.expects and not head.upgrade and rest[-1] == End()


def test_without_cookies_there_is_no_such_line() -> None:
    assert b"Cookie" not in heads.post("x", "/", 0) + heads.upgrade("x", "/", "k")


def test_the_version_of_the_browser_is_the_same_everywhere() -> None:
    (agent,) = re.findall(r"Chrome/(\d+)\.", heads.AGENT)
    assert agent == heads.CHROME
    assert heads.post("x", "/", 0).count(f'v="{agent}"'.encode()) == 2


@pytest.mark.parametrize("body", [b"", b"bytes"])
def test_a_200(body: bytes) -> None:
    data = heads.answer(200, len(body), DATE)
    assert names(data) == ["Server", "Date", "Content-Type", "Content-Length", "Connection", "Cache-Control"]
    head, rest = answered(data + body)
    assert (head.status, head.length, head.close) == (200, len(body), False)
    said = [value(head.headers, name) for name in (b"content-type", b"cache-control", b"server")]
    assert said == [b"application/octet-stream", b"no-store", b"nginx"]
    assert rest == [*([Body(body, body)] if body else []), End()]


def test_a_204_has_no_length() -> None:
    data = heads.answer(204, 0, DATE)
    assert names(data) == ["Server", "Date", "Connection", "Cache-Control"]
    head, rest = answered(data)
    assert head.status == 204 and rest == [End()]


def test_the_last_answer_of_a_connection_says_so() -> None:
    assert answered(heads.answer(200, 0, DATE, close=True))[0].close


@pytest.mark.parametrize("status", [400, 403, 404, 413, 502])
def test_a_page_of_the_web_server(status: int) -> None:
    data = heads.failure(status, DATE, "nginx/1.22.1")
    assert names(data) == ["Server", "Date", "Content-Type", "Content-Length", "Connection"]
    head, (body, end) = answered(data)
    assert (head.status, head.close, end) == (status, True, End())
    assert isinstance(body, Body) and b"<title>%d " % status in body.data and b"<hr><center>nginx/1.22.1<" in body.data


def test_a_101() -> None:
    data = heads.switching("accept", DATE)
    assert names(data) == ["Server", "Date", "Connection", "Upgrade", "Sec-WebSocket-Accept"]
    head, rest = answered(data)
    assert head.status == 101 and rest == []


@pytest.mark.parametrize(
    ("unix", "text"),
    [
        (784_111_777.9, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    ],
)
def test_a_date(unix: float, text: str) -> None:
    assert heads.date(unix) == text and f"\r\nDate: {text}\r\n".encode() in heads.answer(204, 0, unix)


def test_a_server_is_as_it_is_told() -> None:
    for data in (heads.answer(200, 0, 0, "Apache"), heads.failure(403, 0, "Apache"), heads.switching("a", 0, "Apache")):
        assert b"\r\nServer: Apache\r\n" in data


def test_a_page_for_those_without_tls() -> None:
    """The length is nginx's own, with its longest name."""
    whole = heads.not_secured(0.0, "nginx/1.22.1", b"GET")
    head, page = whole.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\nDate: ")
    assert b"\r\nContent-Length: 255\r\nConnection: close" in head and len(page) == 255
    assert heads.not_secured(0.0, "nginx/1.22.1", b"HEAD") == head + b"\r\n\r\n"
