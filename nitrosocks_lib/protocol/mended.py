"""Heads of answers as boxes and proxies write them, made such as h11 takes them. A client's: browsers are as lenient.

Nothing is protected by strictness there: what an answer carries is verified behind it, and nothing is entrusted to a
proxy. A server that passes messages on must not use this: another reader may read them otherwise.
"""

from __future__ import annotations

import re
from typing import Final

import h11

from ..facts import limits
from .http1 import Answers, Event

END: Final = re.compile(rb"\r?\n\r?\n")  # of a head
_LINE: Final = re.compile(rb"\r?\n")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")  # a line that goes on
_STATUS: Final = re.compile(rb"(?i)http/(1\.[01])[ \t]+(\d{3})(?![^ \t])[ \t]*(.*)")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\0\r]*)")
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]")
_FRAMING: Final = (b"content-length", b"transfer-encoding")


def may_begin(got: bytes) -> bool:
    """Whether these may be the first bytes of an answer."""
    return b"HTTP/".startswith(got[:5].upper())


def mended(head: bytes, tunnel: bool = False) -> bytes:
    """This head, which ends as `END` has it, mended: lines end in CRLF, none is folded, nothing is between a name
    and its colon, what is no header is left out, and a length that is told twice alike is told once. One that is not
    HTTP/1 stays as it is.

    `tunnel`: it answers CONNECT, so that lengths mean nothing where it opens the way (RFC 9110, 9.3.6).
    """
    first, *lines = _LINE.split(_FOLD.sub(b" ", END.sub(b"", head)))
    status = _STATUS.fullmatch(first)
    if status is None:
        return head
    version, code, reason = status.groups()
    unframed = tunnel and code.startswith(b"2")
    kept = [b"HTTP/%s %s %s" % (version, code, _CONTROLS.sub(b"?", reason))]
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            continue
        name, value = header.groups()
        whole, framing = b"%s: %s" % (name, value), name.lower() in _FRAMING
        if not framing or not (unframed or whole.lower() in map(bytes.lower, kept)):
            kept.append(whole)
    return b"\r\n".join(kept) + b"\r\n\r\n"


class MendedAnswers(Answers):
    """Answers whose heads are mended first; `raw` of a head is what came of that."""

    def _head(self) -> Event | None:
        self._got = self._got.lstrip(b"\r\n")
        end = END.search(self._got)
        if not may_begin(self._got) or (end.end() if end else len(self._got)) > limits.HEAD:
            return self._all_opaque()
        if end is None:
            return None
        try:
            head = self._judge(mended(self._got[: end.end()]))
        except h11.ProtocolError:
            return self._all_opaque()
        self._got = self._got[end.end() :]
        return head
