"""A connection without TLS at a port of TLS: the decoy's, and never ours. Requests are answered as nginx does it."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Final

from ..crypto.token import Token
from ..facts.errors import NetworkError
from ..facts.wire import What
from ..protocol.heads import not_secured
from ..protocol.http1 import Head, value
from ..protocol.judge import Judge, Ours, Said
from .relayed import Host
from .visit import Visit
from .visitor import Found, Visitor

_BEGUN: Final = re.compile(rb"[A-Z_-]+( ([!-\xff]+( (H|HT|HTT|HTTP|HTTP/[0-9.]*\r?)?)?)?)?")
_LINE: Final = re.compile(rb"[A-Z_-]+ [!-\xff]+ HTTP/[0-9.]+\r?")
_NOBODY: Final = (Token(b"", What.WEBSOCKET, 0), 0)


class PlainVisit(Visit):
    """The web thread's. A whole request is not the decoy's, who would answer it: all else is."""

    __slots__ = ()

    def __init__(self, visitor: Visitor, host: Host) -> None:
        super().__init__(visitor, host)
        self._judge = Judge(_misplaced, _can_begin)
        self._first = False  # nothing is a knock

    def _take(self, said: Said[Found]) -> None:
        if not isinstance(said, Ours):
            super()._take(said)
            return
        server = self._host.decoy.server if self._host.decoy is not None else ""
        if server.startswith("nginx"):
            with suppress(NetworkError):
                self.link.write_some(memoryview(not_secured(time.time(), server, said.head.method)))
        self.close()


def _can_begin(rest: bytes) -> bool:
    """Whether this may become a request's head: nginx refuses what may not without waiting for its end."""
    line, whole, _ = rest.partition(b"\n")
    return (_LINE if whole else _BEGUN).fullmatch(line) is not None


def _misplaced(head: Head) -> Found | None:
    """Any request, but for those that nginx refuses before it looks for TLS."""
    line = head.raw.partition(b"\n")[0]
    nameless = line.endswith(b"1.1\r") and not value(head.headers, b"host")
    return None if nameless or head.method == b"CONNECT" or not _LINE.fullmatch(line) else _NOBODY
