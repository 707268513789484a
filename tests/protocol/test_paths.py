"""protocol/paths: what is a request with a token, and what can become one (TK1, D2)."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts import wire
from nitrosocks_lib.protocol import heads
from nitrosocks_lib.protocol.http1 import Head, Requests
from nitrosocks_lib.protocol.paths import can_begin, token_of

TOKEN = "0u7fWUShkaYgKLk4g5gwfZR_IXQNTKQHmkzf_G7LqQ8"
HOSTS = ("", "http://example.org", "https://example.org:8443", "HTTP://[2001:db8::1]:80")


def requested(head: bytes) -> Head:
    reader = Requests()
    reader.feed(head)
    found = reader.next()
    assert isinstance(found, Head)
    return found


def plain(target: str, method: str = "POST", version: str = "HTTP/1.1") -> bytes:
    return f"{method} {target} {version}\r\nHost: x\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize("prefix", ["", "/api", "/a/b"])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("write", [lambda target: heads.post("x", target, 5), lambda t: heads.upgrade("x", t, "k")])
def test_every_beginning_of_a_request_with_a_token(prefix: str, host: str, write) -> None:
    head = write(f"{host}{prefix}/{TOKEN}")
    assert all(can_begin(head[:end], prefix) for end in range(len(head) + 1))
    assert token_of(requested(head), prefix) == TOKEN


def test_http_1_0_can_be_what_a_box_makes_of_it() -> None:
    head = plain(f"/{TOKEN}", version="HTTP/1.0")
    assert all(can_begin(head[:end], "") for end in range(len(head) + 1))


def test_nothing_can_become_anything() -> None:
    assert can_begin(b"", "") and can_begin(b"P", "/api") and can_begin(b"G", "")


TARGETS = {
    "none": "/",
    "too short": f"/{TOKEN[:-1]}",
    "too long": f"/{TOKEN}A",
    "a query": f"/{TOKEN}?",
    "another alphabet": f"/{TOKEN[:-1]}+",
    "padded": f"/{TOKEN[:-1]}=",
    "one more folder": f"/x/{TOKEN}",
    "no slash": TOKEN,
    "another scheme": f"ftp://example.org/{TOKEN}",
    "a user": f"http://u@example.org/{TOKEN}",
    "an asterisk": "*",
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_that_are_no_token(name: str) -> None:
    head = plain(TARGETS[name])
    assert not can_begin(head, "")
    assert name == "a user" or token_of(requested(head), "") is None


@pytest.mark.parametrize("target", [f"/{TOKEN}", f"/other/{TOKEN}", f"/ap/{TOKEN}", f"/api{TOKEN}", f"/API/{TOKEN}"])
def test_another_prefix(target: str) -> None:
    assert not can_begin(plain(target), "/api") and token_of(requested(plain(target)), "/api") is None


@pytest.mark.parametrize("method", ["PUT", "post", "HEAD", "OPTIONS", "PATCH", "GETS"])
def test_another_method(method: str) -> None:
    head = plain(f"/{TOKEN}", method)
    assert not can_begin(head, "") and token_of(requested(head), "") is None


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/1.2", "HTTX", "http/1.1"])
def test_another_version(version: str) -> None:
    assert not can_begin(plain(f"/{TOKEN}", version=version), "")


@pytest.mark.parametrize("got", [b"\x16\x03\x01", b"GET  /", b"POST /\xff", b"POST http:///x y", b"SSH-2.0-x", b"\0"])
def test_bytes_that_are_none(got: bytes) -> None:
    assert not can_begin(got, "")


def test_the_first_letter_that_does_not_fit_decides() -> None:
    head = plain(f"/{TOKEN}")
    start = head.index(TOKEN.encode())
    for at in range(start, start + wire.TOKEN_TEXT):
        assert not can_begin(head[:at] + b".", "")
