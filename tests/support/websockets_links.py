"""Pairs of WebSocketLinks over TLS, with the upgrade behind them, and frames as the library `websockets` makes them."""

from __future__ import annotations

import random
from typing import Any

from links import Pairs
from websockets.frames import Frame, Opcode

from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.websocket import WebSocketLink

BINARY, TEXT, CONT = Opcode.BINARY, Opcode.TEXT, Opcode.CONT
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


def frame(payload: bytes, mask: bool, opcode: Opcode = BINARY, last: bool = True, **bits: Any) -> bytes:
    """One frame; what the library would refuse to send is made without its check."""
    made = Frame(opcode, payload, last, **bits)
    made.check = lambda: None  # type: ignore[method-assign]
    return made.serialize(mask=mask)


def stream(payload: bytes, mask: bool, source: random.Random) -> bytes:
    """The same bytes in messages and fragments of random sizes, with pings, pongs and empty messages between them."""
    out, at, more = bytearray(), 0, False
    while at < len(payload) or more:
        size = source.choice((0, 1, source.randrange(126), source.randrange(70_000)))
        last = source.random() < 0.5 or at + size >= len(payload)
        out += frame(payload[at : at + size], mask, CONT if more else BINARY, last)
        at, more = at + size, not last
        for _ in range(source.choice((0, 0, 0, 1, 2))):
            out += frame(source.randbytes(source.randrange(126)), mask, source.choice((PING, PONG)))
    return bytes(out)


class WebSocketPairs(Pairs):
    """As Pairs; both ends speak WebSocket."""

    def make(self, via: int = 0) -> tuple[Link, Link]:
        client, server = super().make(via)
        return WebSocketLink(client, serving=False), WebSocketLink(server, serving=True)
