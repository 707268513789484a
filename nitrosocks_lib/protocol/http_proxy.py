"""CONNECT at an HTTP proxy (RFC 9110, 9.3.6): what is said before TLS to the server, over one connection or more.

A generator: each `yield` of bytes sends them and is given what came, nothing at the end of the connection; `yield None`
asks for a new connection to the proxy. The framing of answers is h11's.
"""

from __future__ import annotations

import html
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

import h11

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NetworkError, ProxyRefused
from ..facts.words import foreign, quoted
from .mended import END, may_begin, mended
from .proxy_auth import Challenge, challenges, header, raw
from .proxy_login import Answers
from .socks import ascii_name

Talk = Generator[bytes | None, bytes, None]

_AGENT: Final = (  # some proxies let none but browsers pass
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
)
_ASKS: Final = 407
_BEGUN: Final = 40  # characters of what is no answer
_SHOWN: Final = 240  # characters of what a proxy says in its page
_READ: Final = 16_384  # characters of a page in which that is looked for
_BYTES: Final = re.compile(r"bytearray\(b(.*)\)")  # what h11 says has them as Python writes them
_UNSEEN: Final = (re.compile(r"(?is)<(head|script|style)\b.*?</\1\s*>"), re.compile(r"(?s)<!--.*?(-->|$)|<[^>]*(>|$)"))


@dataclass(slots=True)
class Answer:
    """Of a proxy, to one CONNECT; `page` is what it says to people, if it does."""

    status: int
    reason: str
    challenges: list[Challenge]
    location: str = ""
    page: str = ""


def connect(host: str, port: int, answers: Answers) -> Talk:
    """Asks for a connection to `host`, and says who we are as `answers` has it when the proxy wants to know.

    Raises ProxyRefused with what the proxy says, and NetworkError.
    """
    name = host if ":" in host else ascii_name(host).decode()
    target, line, authorization = join_host_port(name, port), _Connection(), ""
    for _ in range(limits.PROXY_ASKED):
        answer = yield from line.ask(target, authorization)
        if answer is None:  # it closed the connection before it answered
            authorization = answers.begin_again()
        elif 200 <= answer.status < 300:
            return line.expect_nothing_more()
        elif answer.status != _ASKS:
            raise _refused(answer)
        else:
            authorization = answers.answer(answer.challenges, target, kept=line.kept)
        if not line.kept:
            yield None
            line = _Connection()
    raise ProxyRefused(f"it asks for a login again and again ({limits.PROXY_ASKED} times)")


def _refused(answer: Answer) -> ProxyRefused:
    said = f"{answer.status} {foreign(answer.reason, _SHOWN)}".rstrip()
    page = f': "{foreign(answer.page, _SHOWN)}"' if answer.page else ""
    hint = "ask the operator of the proxy whether it may connect to this host and port; many allow port 443 only"
    if answer.status in (404, 405, 501):
        hint = "it may be a web server and no proxy: check host and port, or give '--proxy none'"
    elif 300 <= answer.status < 400 and answer.location:
        hint = f"it sends browsers to {foreign(answer.location, _SHOWN)}; open that page in one, and log in there"
    elif answer.status >= 500:
        hint = "the proxy itself could not reach the server: is 'nitrosocks serve' running there?"
    return ProxyRefused(f"it refused: {said}{page}", hint, final=answer.status < 500)


class _Connection:
    """One connection to the proxy, as far as HTTP goes."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.PROXY_HEAD)
        self._came = b""  # of which h11 knows nothing yet: a head that is not whole, or what stands behind one
        self._used = False
        self.kept = True  # it takes another request

    def ask(self, target: str, authorization: str) -> Generator[bytes, bytes, Answer | None]:
        """One CONNECT; None when a connection that was used before turned out to be closed."""
        try:
            return (yield from self._ask(target, authorization))
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise NetworkError(f"the head of its answer has more than {limits.PROXY_HEAD >> 10} KiB") from None
            why = _BYTES.sub(r"\1", str(error))
            raise NetworkError(f"its answer is not HTTP ({foreign(why, _SHOWN)})") from None
        except NetworkError:
            if begun := self._http.trailing_data[0] + self._came:
                shown = quoted(begun.decode("latin-1"), _BEGUN)
                raise NetworkError(f"its answer was not complete in time; it begins with {shown}") from None
            raise

    def _ask(self, target: str, authorization: str) -> Generator[bytes, bytes, Answer | None]:
        if self._used:
            self._http.start_next_cycle()
        out = self._request(target, authorization)
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if not (yield from self._take_head(out)):
                    break
                out = b""
            elif isinstance(event, h11.Response):
                self._used = True
                answer = _answer(event)
                if not 200 <= event.status_code < 300:
                    answer.page = yield from self._page(event)
                return answer
            elif not isinstance(event, h11.InformationalResponse):
                break
        if not self._used:
            raise NetworkError("it closed the connection without an answer", "is it an HTTP proxy without TLS?")
        self.kept = False
        return None

    def _take_head(self, said: bytes) -> Generator[bytes, bytes, bool]:
        """Says this, and reads until h11 can be given a head, or what is none; False where the connection ended."""
        while said or not (end := END.search(self._came)):
            came = yield said
            said, begun = b"", self._http.trailing_data[0]  # what is no head, if anything
            self._came = (self._came + came).lstrip(b"\r\n")
            if not (came or self._came or begun):
                return False
            if not came or begun or not may_begin(self._came) or len(self._came) > limits.PROXY_HEAD:
                self._http.receive_data(self._came)
                if not came:
                    self._http.receive_data(b"")
                self._came = b""
                return True
        self._http.receive_data(mended(self._came[: end.end()], tunnel=True))
        self._came = self._came[end.end() :]
        return True

    def _request(self, target: str, authorization: str) -> bytes:
        headers = [(b"Host", target.encode()), (b"Proxy-Connection", b"keep-alive"), (b"User-Agent", _AGENT)]
        if authorization:
            headers.append((b"Proxy-Authorization", raw(authorization)))
        head = self._http.send(h11.Request(method="CONNECT", target=target, headers=headers))
        return (head or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def _page(self, head: h11.Response) -> Generator[bytes, bytes, str]:
        """Reads the body, for the next request to find its answer; what it says to people."""
        body = b""
        if self._came:
            self._http.receive_data(self._came)
            self._came = b""
        try:
            while not isinstance(event := self._http.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
                if event is h11.NEED_DATA:
                    self._http.receive_data((yield b""))
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > limits.PROXY_BODY:
                        break
        except (h11.RemoteProtocolError, NetworkError):  # it stops amid it, or is silent: its head has said enough
            self.kept = False
        done = self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}
        self.kept = self.kept and done and not self._http.trailing_data[1]
        return words(_header(head, b"content-type"), body.decode("utf-8", "replace"))

    def expect_nothing_more(self) -> None:
        """The server does not speak before we do; raises NetworkError when something came all the same."""
        if self._came:
            raise NetworkError("it sent unexpected bytes after its answer")


def _answer(head: h11.Response) -> Answer:
    asked = [header(value) for name, value in head.headers if name == b"proxy-authenticate"]
    reason, location = bytes(head.reason).decode("latin-1"), _header(head, b"location")
    return Answer(head.status_code, reason, challenges(asked), location)


def _header(head: h11.Response, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in head.headers if name == wanted), "")


def words(kind: str, body: str) -> str:
    """What a page says to people, on one line: plain text, or what HTML shows."""
    if kind.lower().startswith("text/html"):
        for unseen in _UNSEEN:  # each may look from every "<" to the end, so a long page is cut
            body = unseen.sub(" ", body[:_READ])
        body = html.unescape(body)
    elif not kind.lower().startswith("text/plain"):
        return ""
    return " ".join(body.split())
