"""The side of an HTTP proxy (RFC 9110, 7.6 and 9.3.6): CONNECT, and requests that name their target in full.

One such request a connection, and both ends are told so. A target may close the connection behind its answer without
having said so, and an application that had sent its next request by then would lose it: so the answer is passed on as
it comes, with our own word in its head. What an application sends behind its request, since it does not wait, or does
not heed that, may be for another host: it is not passed on. Nor is an end, which some targets take for a cancellation.

A head is made anew, so what is often wrong with its form is no reason to refuse it: lines that end with LF alone, bytes
in a URL that should be %XX, no Host, or two. The URL alone says where a request goes.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from ..crypto.schedule import equal
from ..facts import limits
from ..facts.address import split_host_port
from ..facts.errors import UsageError
from ..facts.wire import Kind, Reply
from ..facts.words import foreign
from .asked import Asked, Rejected, Talk
from .frames import Address, Target
from .http1 import Body, Head, Opaque, Requests, value
from .proxy_auth import Login, basic, raw
from .socks import Reader

_STATUS: Final = {
    Reply.NOT_PERMITTED: HTTPStatus.FORBIDDEN,
    Reply.EXPIRED: HTTPStatus.GATEWAY_TIMEOUT,
    0: HTTPStatus.SERVICE_UNAVAILABLE,  # the tunnel, and not the target
}
_HOP: Final = (b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive", b"host")
_FRAMING: Final = (b"content-length", b"transfer-encoding")  # without it a body would become a request
_SCHEME: Final = b"http://"
_BLANK: Final = re.compile(rb"\n\r?\n")
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
_HOST: Final = re.compile(rb"host:", re.IGNORECASE)
_INTERIM: Final = re.compile(rb"HTTP/1\.\d 1(?!01)")
_CLOSE: Final = b"Connection: close"
_CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class AnswersConnect:
    """As asked.Answers."""

    def opened(self, address: Address) -> bytes:
        """Behind it all bytes are the target's."""
        return _CONNECTED

    def failed(self, code: int, reason: str) -> bytes:
        """An error of a gateway, with the reason as its text."""
        return _answer(_STATUS.get(code, HTTPStatus.BAD_GATEWAY), reason)


class AnswersRequest(AnswersConnect):
    """As asked.Answers: the answer is the target's own."""

    def opened(self, address: Address) -> bytes:
        """Nothing."""
        return b""


def _answer(status: HTTPStatus, text: str, header: str = "") -> bytes:
    body = f"nitrosocks: {foreign(text)}\n".encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n{header}"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def http(reader: Reader, login: Login | None) -> Talk:
    """One request to an HTTP proxy, of which a part has come; a `login` must be given as Basic. Raises Rejected."""
    whole, rest = yield from _headed(reader.held)
    requests = Requests(len(whole))
    requests.feed(whole + rest)
    head = requests.next()
    if not isinstance(head, Head):
        raise _bad("its head is not valid HTTP/1.1")
    if login is not None and not equal(_credentials(head), raw(basic(login))):
        wanted = 'Proxy-Authenticate: Basic realm="nitrosocks"\r\n'
        raise Rejected(
            "its user or password is wrong or missing",
            _answer(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "user and password are wanted", wanted),
        )
    if head.method == b"CONNECT":
        return Asked(_target(head.target, ""), requests.rest, AnswersConnect())
    if head.target[: len(_SCHEME)].lower() != _SCHEME:
        if not head.target.startswith(b"/"):
            raise _bad("a request may name an http:// URL alone: for all others use CONNECT")
        raise _bad("this is a proxy, not a web server: name it as the proxy of your browser")
    authority, path = _parted(head.target[len(_SCHEME) :], b"*" if head.method == b"OPTIONS" else b"/")
    target = _target(authority, ":80")
    websocket = head.upgrade and value(head.headers, b"upgrade").lower() == b"websocket"
    first = _rewritten(head, authority, path, websocket)
    if websocket:  # an application that is refused it asks for nothing else here
        return Asked(target, first + requests.rest, AnswersRequest())
    rest, body = requests.rest, _OneRequest(requests)
    return Asked(target, first + rest[: body.belongs(b"")], AnswersRequest(), body.belongs, _LastAnswer().told)


def _headed(held: bytes) -> Generator[bytes, bytes, tuple[bytes, bytes]]:
    """A request's head, in an exact form, and what came behind it. Raises Rejected."""
    at = 0
    while (end := _BLANK.search(held, at)) is None:
        if len(held) > limits.ASKED_HEAD:
            why = f"its head is longer than {limits.ASKED_HEAD >> 10} KiB"
            raise Rejected(why, _answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why))
        at = max(0, len(held) - 2)
        held += yield b""
    first, *lines = (line.removesuffix(b"\r") for line in held[: end.start()].split(b"\n"))
    first = _NOT_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), first)
    kept = (line for line in lines if not _HOST.match(line))
    return b"\r\n".join([first, *kept, b"Host: x", b"", b""]), held[end.end() :]


class _OneRequest:
    """The body of one request, and what comes behind it."""

    def __init__(self, requests: Requests) -> None:
        """`requests` has given the head, and may have been fed more."""
        self._requests = requests
        self._whole = False

    def belongs(self, more: bytes) -> int:
        """How many bytes of it, and at first of what was fed before, are of this request: all where its framing is
        ambiguous."""
        if self._whole:
            return 0
        self._requests.feed(more)
        size = 0
        while not self._whole and (event := self._requests.next()) is not None:
            if isinstance(event, Body | Opaque):
                size += len(event.raw)
            else:
                self._whole = True
        return size


class _LastAnswer:
    """The answer to it, with our word that no other one follows on this connection."""

    def __init__(self) -> None:
        self._line = b""  # of a head, as far as it came
        self._interim = False  # amid a head that is not the answer's

    def told(self, data: bytes) -> tuple[bytes, bool]:
        """What the application is told of it, and whether all that follows is told as it comes. Nothing waits."""
        at = 0
        while end := data.find(b"\n", at) + 1:
            line, self._line, at = self._line + data[at:end], b"", end
            if self._interim:
                self._interim = bool(line.strip())
            elif _INTERIM.match(line):
                self._interim = True
            elif line.startswith(b"HTTP/1.") and not line[8:].startswith(b" 101"):
                return data[:at] + _CLOSE + b"\r\n" + data[at:], True
            else:
                return data, True
        self._line += data[at:]
        return data, len(self._line) > limits.HEAD


def _credentials(head: Head) -> bytes:
    """As `basic` writes them; the name of a scheme may have any letters."""
    scheme, space, token = value(head.headers, b"proxy-authorization").partition(b" ")
    return scheme.capitalize() + space + token.strip()


def _bad(why: str) -> Rejected:
    return Rejected(why, _answer(HTTPStatus.BAD_REQUEST, why))


def _parted(rest: bytes, empty: bytes) -> tuple[bytes, bytes]:
    """Host and port, without the user before it, and the path with its query; `empty` where there is neither."""
    end = min((at for mark in b"/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    path = rest[end:].partition(b"#")[0] or empty
    return rest[:end].rpartition(b"@")[2], b"/" + path if path.startswith(b"?") else path


def _target(authority: bytes, default: str) -> Target:
    try:
        text = unquote_to_bytes(authority).decode()
        bare = text.endswith("]") or ":" not in text
        return Target(Kind.TCP, *split_host_port(text + default if bare else text))
    except (UsageError, UnicodeDecodeError):
        raise _bad("it names no host and port") from None


def _rewritten(head: Head, authority: bytes, path: bytes, websocket: bool) -> bytes:
    """The head as the target is to get it: what is between the application and us is left out of it."""
    named = {
        word.strip().lower() for name, words in head.headers if name == b"connection" for word in words.split(b",")
    }
    dropped = {*_HOP, b"upgrade", *named.difference(_FRAMING)} - ({b"upgrade"} if websocket else set())
    first, *lines = head.raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    version = first.rpartition(b" ")[2]
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in dropped]
    connection = b"Connection: Upgrade" if websocket else _CLOSE
    return b"\r\n".join(
        [head.method + b" " + path + b" " + version, b"Host: " + authority, *kept, connection, b"", b""]
    )
