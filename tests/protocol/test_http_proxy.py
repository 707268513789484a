"""CONNECT, over memory: answers in one piece and byte by byte, connections that are kept and that are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spoken import END, NEW, answer, talk

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError, ProxyRefused
from nitrosocks_lib.protocol.http_proxy import connect, words
from nitrosocks_lib.protocol.proxy_auth import Login
from nitrosocks_lib.protocol.proxy_login import Answers, Unable

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
BASIC = 'Proxy-Authenticate: Basic realm="x"'
ASKED = answer("407 Proxy Authentication Required", BASIC, "Content-Type: text/html", body="<p>Who are you?</p>" * 50)


def none(scheme: str):
    raise Unable(f"no {scheme}", "install it")


class Steps:
    def __init__(self, _: str) -> None:
        pass

    def step(self, token: bytes) -> bytes:
        return b"second" if token else b"first"


def asking(host: str = "server.example", begin=none):
    return connect(host, 443, Answers(Login("user", "password"), begin, bytes))


def heads(said: list) -> list:
    """What is said of who we are, each time; NEW where a new connection is wanted."""
    return [each and each.decode().partition("Proxy-Authorization: ")[2].strip() for each in said]


def test_what_is_asked() -> None:
    (said,) = talk(asking(), [OPEN])
    lines = said.decode().split("\r\n")
    assert lines[:3] == [
        "CONNECT server.example:443 HTTP/1.1",
        "Host: server.example:443",
        "Proxy-Connection: keep-alive",
    ]
    assert lines[3].startswith("User-Agent: Mozilla/5.0 ") and lines[4:] == ["", ""]


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("2001:db8::1", "[2001:db8::1]:443"),
        ("bücher.example", "xn--bcher-kva.example:443"),
        ("10.0.0.1", "10.0.0.1:443"),
    ],
)
def test_how_a_server_is_named(host: str, target: str) -> None:
    (said,) = talk(asking(host), [OPEN])
    assert said.decode().startswith(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")


def test_names_that_are_none() -> None:
    with pytest.raises(NetworkError, match="not a host name"):
        talk(asking("ü" * 99), [OPEN])


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "opened",
    [
        OPEN,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OPEN,
        b"\r\nhttp/1.1  200  OK\nX-Proxy : y\nnone\nContent-Length: 1\nContent-Length: x\n\n",
    ],
)
def test_answers_that_open_the_way(opened: bytes, piece: int) -> None:
    assert heads(talk(asking(), [opened], piece)) == [""]
    assert heads(talk(asking(), [ASKED, opened], piece)) == ["", "Basic dXNlcjpwYXNzd29yZA=="]


def test_chunked_pages_end_where_they_end() -> None:
    chunked = f"HTTP/1.1 407 Who\r\n{BASIC}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode()
    for piece in (1, 1 << 20):
        assert len(talk(asking(), [chunked, OPEN], piece)) == 2


CLOSES = {
    "it says so": [answer("407 Who", BASIC, "Connection: close", body="x")],
    "HTTP/1.0": [ASKED.replace(b"HTTP/1.1", b"HTTP/1.0")],
    "its page ends with the connection": [answer("407 Who", BASIC, length=False), b"page", END],
    "its page is too long": [answer("407 Who", BASIC, body="x" * (limits.PROXY_BODY + 1))],
    "its page is cut": [answer("407 Who", BASIC, "Content-Length: 9", length=False), END],
    "its page makes no sense": [answer("407 Who", BASIC, "Transfer-Encoding: chunked", length=False), b"none\r\n"],
    "it does not say so": [ASKED, END],
}


@pytest.mark.parametrize("answers", CLOSES.values(), ids=CLOSES)
def test_a_proxy_that_closes_is_asked_again(answers: list[bytes]) -> None:
    said = heads(talk(asking(), [*answers, OPEN]))
    basic = "Basic dXNlcjpwYXNzd29yZA=="
    assert said in (["", NEW, basic], ["", basic, NEW, basic])


def test_several_round_trips_on_one_connection() -> None:
    challenge = answer("407 Who", "Proxy-Authenticate: NTLM Y2hhbGxlbmdl", body="page")
    said = heads(talk(asking(begin=Steps), [answer("407 Who", "Proxy-Authenticate: NTLM"), challenge, OPEN], 1))
    assert said == ["", "NTLM Zmlyc3Q=", "NTLM c2Vjb25k"]


def test_a_connection_that_is_closed_amid_them() -> None:
    offers = answer("407 Who", "Proxy-Authenticate: NTLM", "Connection: close")
    challenge = answer("407 Who", "Proxy-Authenticate: NTLM Y2hhbGxlbmdl")
    closing = answer("407 Who", "Proxy-Authenticate: NTLM Y2hhbGxlbmdl", "Connection: close")
    first, second = "NTLM Zmlyc3Q=", "NTLM c2Vjb25k"
    said = heads(talk(asking(begin=Steps), [offers, closing, challenge, END, challenge, OPEN]))
    assert said == ["", NEW, first, NEW, first, second, NEW, first, second]
    with pytest.raises(NetworkError, match="closed the connection during NTLM"):
        talk(asking(begin=Steps), [offers, closing, closing, closing])


def test_who_asks_again_and_again() -> None:
    stale = answer("407 Who", "Proxy-Authenticate: Digest nonce=n, stale=true")
    with pytest.raises(ProxyRefused, match="rejected this user"):
        talk(asking(), [stale] * 9)
    token = answer("407 Who", "Proxy-Authenticate: NTLM Y2hhbGxlbmdl")
    with pytest.raises(ProxyRefused, match=r"again and again \(8 times\)"):
        talk(asking(begin=Steps), [answer("407 Who", "Proxy-Authenticate: NTLM"), *[token] * 9])


@pytest.mark.parametrize(
    ("status", "headers", "page", "told"),
    [
        ("403 Forbidden", [], "", "it refused: 403 Forbidden"),
        ("405 Method Not Allowed", [], "", "it refused: 405 Method Not Allowed"),
        ("301 Moved", ["Location: http://portal.example/"], "", "it refused: 301 Moved"),
        ("503 Down", ["Content-Type: text/plain"], "no\r\n\tway", 'it refused: 503 Down: "no way"'),
        ("403 No", ["Content-Type: text/html"], "<b>Not</b> &lt;here&gt;<!-- x -->", '403 No: "Not <here>"'),
        ("403 No", ["Content-Type: text/html"], "<p>Not here</p", '403 No: "Not here"'),
        ("403 No", ["Content-Type: text/plain"], "\x1b[31m\u202eevil", r'403 No: "\\x1b\[31m\\u202eevil"'),
        ("403 No", ["Content-Type: image/png"], "PNG", "it refused: 403 No$"),
        ("403 N\x80o", [], "", "403 N"),
        ("403 No", ["Content-Type: text/plain"], "x" * 9_000, "x…"),
    ],
)
def test_a_refusal_is_told_in_its_own_words(status: str, headers: list[str], page: str, told: str) -> None:
    with pytest.raises(ProxyRefused, match=told) as failure:
        talk(asking(), [answer(status, *headers, body=page)])
    assert len(str(failure.value)) < 600 and str(failure.value).isprintable() and failure.value.hint
    assert failure.value.final is (not status.startswith("5"))


def test_a_page_that_browsers_are_sent_to_is_told() -> None:
    with pytest.raises(ProxyRefused) as failure:
        talk(asking(), [answer("302 Found", "Location: http://portal.example/\x1b[2J")])
    assert failure.value.hint.startswith(r"it sends browsers to http://portal.example/\x1b[2J; open")


@pytest.mark.parametrize(
    ("status", "hint", "final"),
    [
        ("300", "ask the operator", True),
        ("405", "it may be a web server and no proxy", True),
        ("501", "it may be a web server and no proxy", False),
        ("499", "ask the operator", True),
        ("500", "serve", False),
        ("504", "serve", False),
    ],
)
def test_who_is_to_be_asked(status: str, hint: str, final: bool) -> None:
    """Below 500 the proxy does not let us; from there on it could not get there."""
    with pytest.raises(ProxyRefused, match=f"it refused: {status}") as failure:
        talk(asking(), [answer(f"{status} No")])
    assert hint in failure.value.hint and failure.value.final is final


def test_a_refusal_is_told_though_its_page_never_comes() -> None:
    asked = asking()
    next(asked)
    assert asked.send(answer("403 No", "Content-Length: 1000", length=False)) == b""
    with pytest.raises(ProxyRefused, match="403 No"):
        asked.throw(NetworkError("no answer in time"))


def test_silence_is_told() -> None:
    asked = asking()
    next(asked)
    with pytest.raises(NetworkError, match="no answer in time"):
        asked.throw(NetworkError("no answer in time"))


def test_half_an_answer_is_told() -> None:
    asked = asking()
    next(asked)
    assert asked.send(b"220 smtp\x1b.example\r\n" + b"x" * 90) == b""
    with pytest.raises(NetworkError, match=r"not complete in time; it begins with '220 smtp\\x1b.example\\r\\nx+…'"):
        asked.throw(NetworkError("no answer in time"))


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([END], "closed the connection without an answer"),
        ([b"HTTP/1.1 200", END], "not HTTP"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n", END], "not HTTP"),
        ([b"\x00\x01\x02\x03\r\n\r\n"], "not HTTP"),
        ([b"HTTP/1.1 999999 x\r\n\r\n"], r"not HTTP \(illegal status line: 'HTTP/1.1 999999 x'\)"),
        ([b"HTTP/1.1 407 Who\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], "not HTTP"),
        ([OPEN + b"hello"], "unexpected bytes"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 16_384, b"x"], "more than 16 KiB"),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 3_000], "more than 16 KiB"),
    ],
)
def test_what_is_no_answer(answers: list[bytes], told: str) -> None:
    with pytest.raises(NetworkError, match=told) as failure:
        talk(asking(), answers)
    assert not isinstance(failure.value, ProxyRefused) and str(failure.value).isprintable()


def test_the_largest_head_that_is_read() -> None:
    begin, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    fits = begin + b"x" * (limits.PROXY_HEAD - len(begin) - len(end)) + end
    assert talk(asking(), [fits], 1_000)


LINES = st.lists(
    st.sampled_from(
        [
            *(b"HTTP/1.1 407 Who", b"HTTP/1.1 200 OK", b"HTTP/1.0 403 No", b"HTTP/1.1 100 Go on", b"HTTP/1.1 101 Up"),
            *(b"Proxy-Authenticate: Digest realm=\xff, nonce=n, stale=true", b"Proxy-Authenticate: NTLM", b"0", b"5"),
            *(b"Proxy-Authenticate: NTLM Y2hhbGxlbmdl", b"Proxy-Authenticate: NTLM \xff", b"Proxy-Authenticate: Basic"),
            *(
                b"Content-Length: 0",
                b"Content-Length: 9",
                b"Transfer-Encoding: chunked",
                b"Connection: close",
                b"hello",
            ),
            *(b"Content-Type: text/html", b"", b"", b"<p>", b" x", b"\xff\x00"),
        ]
    ),
    max_size=30,
)


@given(
    st.lists(st.one_of(LINES.map(lambda lines: b"".join(line + b"\r\n" for line in lines)), st.binary()), max_size=9)
)
def test_whatever_comes_it_ends_or_is_told(answers: list[bytes]) -> None:
    asked = asking(begin=Steps)
    try:
        said = next(asked)
        for answer in [*answers, *[END] * 50]:
            said = asked.send(b"" if said is NEW else answer)
    except NetworkError as error:
        assert str(error).isprintable() and len(str(error)) < 700
    except StopIteration:
        return
    else:
        raise AssertionError("it never ends")


def test_names_of_any_letters_come_to_the_proxy_as_they_are() -> None:
    asked = connect("a", 1, Answers(Login("\u00e9\udcff", "\u20ac"), none, bytes))
    next(asked)
    said = asked.send(
        b'HTTP/1.1 407 W\r\nProxy-Authenticate: Digest realm="\xe9", nonce=n\r\nContent-Length: 0\r\n\r\n'
    )
    assert said is not None and b'username="\xc3\xa9\xff", realm="\xe9"' in said


@pytest.mark.parametrize("piece", ["<", "<!--", "<script ", "<style>", "<head", "</", "&", "<script></script"])
def test_the_longest_page_is_read_in_bounded_time(piece: str) -> None:
    words("text/html", piece * (limits.PROXY_BODY // len(piece)))
