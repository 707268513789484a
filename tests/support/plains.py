"""Numbered frames and PING in the clear, type ‖ payload, as a peer says them."""

from __future__ import annotations

from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.wire import Frame, Kind, Reply, Reset
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Target

PINGED = b"12345678"


def OPEN(number: int, port: int = 7, host: str = "host", kind: int = Kind.TCP) -> bytes:
    return frames.open_(number, Target(kind, host, port))


def OPENED(number: int) -> bytes:
    return frames.address(Frame.OPENED, number, frames.Address("10.0.0.1", 7))


def REFUSED(number: int, reply: Reply = Reply.CONNECTION_REFUSED, text: str = "") -> bytes:
    return frames.refusal(Frame.REFUSED, number, reply, text)


def DATA(number: int, payload: bytes) -> bytes:
    return wire.DATA_HEADER.pack(Frame.DATA, number) + payload


def END(number: int) -> bytes:
    return frames.end(number)


def RESET(number: int, reason: Reset = Reset.LOCAL, text: str = "") -> bytes:
    return frames.refusal(Frame.RESET, number, reason, text)


def PING(r3: bytes = PINGED) -> bytes:
    return bytes([Frame.PING]) + r3
