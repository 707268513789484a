"""Cookies that a carrier is given and returns, since balancers stick by them (protocol 6, `HP2`; RFC 6265)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from ..facts import limits

_PRINTABLE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_SECONDS = re.compile(rb"-?[0-9]{1,15}")


class Cookies:
    """Those of one carrier. `prefix` is the path under which it asks: a cookie for another path is none of ours."""

    def __init__(self, prefix: str = "") -> None:
        self._path = prefix.encode() + b"/"
        self._kept: dict[bytes, tuple[bytes, float]] = {}  # name: value, and when it ends (unix time)

    def copy(self) -> Cookies:
        """The same cookies, for the next carrier of a server: it should reach the same node (`HP10`)."""
        other = Cookies()
        other._path, other._kept = self._path, dict(self._kept)
        return other

    def take(self, values: Iterable[bytes], at: float) -> None:
        """Takes the values of the Set-Cookie fields of an answer, at this unix time. What is none is ignored."""
        for value in values:
            pair, *attributes = value.split(b";")
            name, equals, content = (part.strip(b" \t") for part in pair.partition(b"="))
            if equals and name and len(pair) <= limits.COOKIE and _PRINTABLE.fullmatch(pair):
                self._set(name, content, dict(map(_attribute, attributes)), at)

    def _set(self, name: bytes, content: bytes, attributes: dict[bytes, bytes], at: float) -> None:
        path = attributes.get(b"path", b"/")
        if path.startswith(b"/") and not self._path.startswith(path.rstrip(b"/") + b"/"):
            return
        end = _end(attributes, at)
        if end <= at:
            self._kept.pop(name, None)
        elif self._fits(name, content):
            self._kept[name] = content, end

    def _fits(self, name: bytes, content: bytes) -> bool:
        """Beside the others, in a head that servers take."""
        others = sum(len(key) + len(value) + 3 for key, (value, _) in self._kept.items() if key != name)
        few = name in self._kept or len(self._kept) < limits.COOKIES
        return few and others + len(name) + len(content) + 1 <= limits.COOKIES_BYTES

    def field(self, at: float) -> bytes:
        """The value of the Cookie field at this unix time; nothing when there is no cookie."""
        return b"; ".join(name + b"=" + content for name, (content, end) in self._kept.items() if end > at)


def _attribute(text: bytes) -> tuple[bytes, bytes]:
    name, _, content = text.partition(b"=")
    return name.strip(b" \t").lower(), content.strip(b" \t")


def _end(attributes: dict[bytes, bytes], at: float) -> float:
    """Max-Age goes before Expires; what cannot be read counts as if it were not there."""
    if _SECONDS.fullmatch(age := attributes.get(b"max-age", b"")):
        return at + int(age)
    try:
        return parsedate_to_datetime(attributes[b"expires"].decode("ascii").replace("-", " ")).timestamp()
    except (KeyError, ValueError, OverflowError):  # UnicodeDecodeError is a ValueError
        return math.inf
