"""The client's upgrade to WebSocket: a request whose path is a token, and its 101 (protocol 6, TK1, WS1)."""

from __future__ import annotations

import os
from base64 import b64encode

from ..facts.errors import DecoyAnswer, NetworkError
from ..net.link import Link
from ..net.websocket import WebSocketLink, accept_of
from ..protocol import heads, http1
from ..protocol.http1 import AnswerHead, Answers, Opaque
from ..protocol.mended import MendedAnswers

_KEY = 16  # bytes


def upgrade(link: Link, host: str, target: str, deadline: float) -> WebSocketLink:
    """Asks for it, and waits for the answer until the deadline; the link stays the caller's when it raises.

    `host` is that of the Host header. Raises DecoyAnswer where a web server answers otherwise, else NetworkError.
    """
    key = b64encode(os.urandom(_KEY)).decode()
    link.write_all(heads.upgrade(host, target, key), deadline)
    answers = MendedAnswers()
    answers.expect(b"GET")
    head = _head(link, answers, deadline)
    if head.status != 101:
        raise DecoyAnswer(head.raw)
    if not _agrees(head, accept_of(key)):
        raise NetworkError("the answer to the upgrade is not WebSocket")
    rest = answers.next()
    return WebSocketLink(link, serving=False, unread=rest.raw if isinstance(rest, Opaque) else b"")


def _head(link: Link, answers: Answers, deadline: float) -> AnswerHead:
    while True:
        event = answers.next()
        if isinstance(event, AnswerHead) and not event.interim:
            return event
        if isinstance(event, Opaque):
            raise NetworkError("what answers the upgrade is not a web server")
        if event is None:
            answers.feed(link.read_first(deadline))


def _agrees(head: AnswerHead, accept: str) -> bool:
    """As RFC 6455, 4.1 wants it; no extension and no subprotocol was asked for (WS1)."""
    names = {name for name, _ in head.headers}
    return (
        http1.has(head.headers, b"upgrade", b"websocket")
        and http1.has(head.headers, b"connection", b"upgrade")
        and http1.value(head.headers, b"sec-websocket-accept") == accept.encode()
        and not names & {b"sec-websocket-extensions", b"sec-websocket-protocol"}
    )
