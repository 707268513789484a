"""Request targets that are tokens: PREFIX/token, in origin or absolute form (protocol 6, TK1; 3.6, D2)."""

from __future__ import annotations

import re
from typing import Final

from ..facts import wire
from .http1 import Head

_TOKEN: Final = rb"[A-Za-z0-9_-]"
_METHODS: Final = (b"POST ", b"GET ")
_SCHEMES: Final = (b"https://", b"http://")
_VERSIONS: Final = (b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")


def token_of(head: Head, prefix: str) -> str | None:
    """The 43 characters behind PREFIX/ in the target of a POST or GET, in either form; None without them."""
    if head.method + b" " not in _METHODS:
        return None
    path = head.target
    for scheme in _SCHEMES:
        if path[: len(scheme)].lower() == scheme:
            path = b"/" + path[len(scheme) :].partition(b"/")[2]
    before = prefix.encode() + b"/"
    text = path[len(before) :]
    fits = path.startswith(before) and re.fullmatch(_TOKEN + b"{%d}" % wire.TOKEN_TEXT, text)
    return text.decode() if fits else None


def can_begin(got: bytes, prefix: str) -> bool:
    """Whether these bytes can be the beginning of a request with a token, if they are not one already (D2, TK1)."""
    for method in _METHODS:
        rest = _behind(got, method)
        if rest is None:
            continue
        if not rest:
            return True
        for scheme in _SCHEMES:
            behind = _behind(rest.lower(), scheme)
            if behind is not None:
                return _host_can_begin(rest[len(scheme) :], prefix)
        return _path_can_begin(rest, prefix)
    return False


def _behind(got: bytes, word: bytes) -> bytes | None:
    """What follows a word, nothing while it is not whole; None where it is not that word."""
    return got[len(word) :] if got[: len(word)] == word[: len(got)] else None


def _host_can_begin(rest: bytes, prefix: str) -> bool:
    host, slash, path = rest.partition(b"/")
    fits = re.fullmatch(rb"[A-Za-z0-9.:\[\]_-]*", host) is not None
    return fits and (not slash or _path_can_begin(b"/" + path, prefix))


def _path_can_begin(rest: bytes, prefix: str) -> bool:
    text = _behind(rest, prefix.encode() + b"/")
    if text is None:
        return False
    token, end = text[: wire.TOKEN_TEXT], text[wire.TOKEN_TEXT :]
    if not re.fullmatch(_TOKEN + b"*", token):
        return False
    return any(_behind(end, version) is not None for version in _VERSIONS)
