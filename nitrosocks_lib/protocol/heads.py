"""The heads that we write: requests as Chromium's fetch sends them over HTTP/1.1, answers as nginx gives them (HP1).

An inspecting box sees nothing in them that it does not see all day: names, their order and their letters are theirs.
`tests/long/browser.py` compares both with a real Chromium and a real nginx.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha1
from typing import Final

BINARY: Final = "application/octet-stream"
CHROME: Final = "156"  # the version; with it change the third brand of _HINTS, and the order of the three
AGENT: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    f"Chrome/{CHROME}.0.0.0 Safari/537.36"
)
_HINTS: Final = f'"Not:A-Brand";v="8", "Chromium";v="{CHROME}", "Google Chrome";v="{CHROME}"'
_ENCODINGS: Final = "gzip, deflate, br, zstd"
_LANGUAGE: Final = "en-US,en;q=0.9"
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REASONS: Final = {
    101: "Switching Protocols",
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Request Entity Too Large",
    502: "Bad Gateway",
}


def _written(first: str, lines: Iterable[tuple[str, str]]) -> bytes:
    return "".join([first, "\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n"]).encode("latin-1")


# -- requests ---------------------------------------------------------------------------------------------------------


def post(host: str, target: str, length: int, cookies: str = "", page: str = "/") -> bytes:
    """The head of an up or a down (HP1, HP2). `host` is that of the Host header, with a port where it is not 443.

    `page` is the path of the page that asks, with its query: what protocol/page says.
    """
    lines = [
        ("Host", host),
        ("Connection", "keep-alive"),
        ("Content-Length", str(length)),
        ("sec-ch-ua-platform", '"Windows"'),
        ("Cache-Control", "no-store"),
        ("User-Agent", AGENT),
        ("sec-ch-ua", _HINTS),
        ("Content-Type", BINARY),
        ("sec-ch-ua-mobile", "?0"),
        ("Accept", "*/*"),
        ("Origin", f"https://{host}"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Dest", "empty"),
        ("Referer", f"https://{host}{page}"),
        ("Accept-Encoding", _ENCODINGS),
        ("Accept-Language", _LANGUAGE),
        *_cookie(cookies),
    ]
    return _written(f"POST {target} HTTP/1.1", lines)


def upgrade(host: str, target: str, key: str, cookies: str = "") -> bytes:
    """The head of a WebSocket request without an extension (WS1); `key` is 16 random bytes in base64."""
    lines = [
        ("Host", host),
        ("Connection", "Upgrade"),
        ("Pragma", "no-cache"),
        ("Cache-Control", "no-cache"),
        ("User-Agent", AGENT),
        ("Upgrade", "websocket"),
        ("Origin", f"https://{host}"),
        ("Sec-WebSocket-Version", "13"),
        ("Accept-Encoding", _ENCODINGS),
        ("Accept-Language", _LANGUAGE),
        *_cookie(cookies),
        ("Sec-WebSocket-Key", key),
    ]
    return _written(f"GET {target} HTTP/1.1", lines)


def _cookie(cookies: str) -> list[tuple[str, str]]:
    return [("Cookie", cookies)] if cookies else []


# -- answers ----------------------------------------------------------------------------------------------------------


def date(unix: float) -> str:
    """As a web server writes it: `Sun, 06 Nov 1994 08:49:37 GMT`, whatever the locale."""
    at = datetime.fromtimestamp(unix, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} GMT"


def answer(status: int, length: int, unix: float, server: str = "nginx", close: bool = False) -> bytes:
    """The head of an answer to an up or a down: 200 of `length` bytes, or 204. `server` is as the decoy's."""
    lines = [("Server", server), ("Date", date(unix))]
    if status != 204:
        lines += [("Content-Type", BINARY), ("Content-Length", str(length))]
    lines += [("Connection", "close" if close else "keep-alive"), ("Cache-Control", "no-store")]
    return _written(f"HTTP/1.1 {status} {_REASONS[status]}", lines)


def failure(status: int, unix: float, server: str = "nginx") -> bytes:
    """A whole answer of a web server's own, with its page: 403 or 413, say. The connection closes behind it."""
    return _page(f"{status} {_REASONS[status]}", unix, server)


def not_secured(unix: float, server: str, method: bytes) -> bytes:
    """As nginx answers a request that came to a port of TLS without it. The connection closes behind it."""
    whole = _page("400 Bad Request", unix, server, "The plain HTTP request was sent to HTTPS port")
    return whole if method != b"HEAD" else whole[: whole.index(b"<")]


def _page(title: str, unix: float, server: str, why: str = "") -> bytes:
    more = f"<center>{why}</center>\r\n" if why else ""
    page = (
        f"<html>\r\n<head><title>{f'400 {why}' if why else title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n{more}<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    ).encode("latin-1")
    lines = [("Server", server), ("Date", date(unix)), ("Content-Type", "text/html")]
    lines += [("Content-Length", str(len(page))), ("Connection", "close")]
    return _written(f"HTTP/1.1 {title}", lines) + page


def accepted(key: str) -> str:
    """What answers the key of a WebSocket request (RFC 6455, section 4.2.2)."""
    return b64encode(sha1((key + _GUID).encode("latin-1"), usedforsecurity=False).digest()).decode()


def switching(accept: str, unix: float, server: str = "nginx") -> bytes:
    """The 101 of a WebSocket; `accept` answers its key (RFC 6455)."""
    lines = [("Server", server), ("Date", date(unix)), ("Connection", "upgrade"), ("Upgrade", "websocket")]
    return _written("HTTP/1.1 101 Switching Protocols", [*lines, ("Sec-WebSocket-Accept", accept)])
