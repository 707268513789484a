"""Frames as values: builds and parses the payloads of protocol 5. A payload that does not parse is a Violation."""

from __future__ import annotations

from typing import NamedTuple

from ..facts import limits
from ..facts.errors import Violation
from ..facts.wire import U16, U32, U64, Abort, Frame, Reply, Reset


class Target(NamedTuple):
    """What OPEN and LISTEN name; `host` is a path for Kind.UNIX."""

    kind: int
    host: str
    port: int


class Address(NamedTuple):
    """What OPENED, LISTENING and ACCEPTED report."""

    host: str
    port: int


class Reason(NamedTuple):
    """What REFUSED, RESET and ABORT carry: a code, and a text for people that is cleaned of control characters."""

    code: int
    text: str


def _text(payload: bytes, what: str) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(f"{what} is not UTF-8") from None


def _clip(text: str) -> bytes:
    return text.encode()[: limits.TEXT_MAX].decode(errors="ignore").encode()


def open_(target: Target, frame: Frame = Frame.OPEN) -> bytes:
    """OPEN, or LISTEN."""
    return bytes([frame, target.kind]) + U16.pack(target.port) + target.host.encode()


def parse_target(payload: bytes) -> Target:
    """The target of OPEN or LISTEN; a kind that we do not know, or a host too long or empty, is for REFUSED."""
    if len(payload) < 3:
        raise Violation("OPEN or LISTEN has a wrong size")
    (port,) = U16.unpack(payload[1:3])
    return Target(payload[0], _text(payload[3:], "a target"), port)


def address(frame: Frame, at: Address) -> bytes:
    """OPENED, LISTENING or ACCEPTED."""
    return bytes([frame]) + U16.pack(at.port) + at.host.encode()


def parse_address(payload: bytes) -> Address:
    """The payload of OPENED, LISTENING or ACCEPTED."""
    if not 2 <= len(payload) <= 2 + limits.NAME_MAX:
        raise Violation("an address has a wrong size")
    (port,) = U16.unpack(payload[:2])
    return Address(_text(payload[2:], "an address"), port)


def reason(frame: Frame, code: Reply | Reset | Abort, text: str = "") -> bytes:
    """REFUSED, RESET or ABORT."""
    return bytes([frame, code]) + _clip(text)


def parse_reason(payload: bytes) -> Reason:
    """The payload of REFUSED, RESET or ABORT. The text comes from the peer: nothing unprintable passes."""
    if not payload:
        raise Violation("a reason is missing")
    text = "".join(c for c in _text(payload[1:], "a reason")[: limits.TEXT_MAX] if c.isprintable())
    return Reason(payload[0], text)


def ack(consumed: int) -> bytes:
    """ACK."""
    return bytes([Frame.ACK]) + U64.pack(consumed)


def parse_ack(payload: bytes) -> int:
    """The count in ACK."""
    if len(payload) != U64.size:
        raise Violation("ACK has a wrong size")
    return int(U64.unpack(payload)[0])


def goaway(seconds: int) -> bytes:
    """GOAWAY."""
    return bytes([Frame.GOAWAY]) + U32.pack(seconds)


def parse_goaway(payload: bytes) -> int:
    """The seconds in GOAWAY."""
    if len(payload) != U32.size:
        raise Violation("GOAWAY has a wrong size")
    return int(U32.unpack(payload)[0])


def sized(payload: bytes, low: int, high: int, frame: Frame) -> bytes:
    """`payload`, or a Violation when its size is out of bounds (PING 8 to 32, PONG 32, DISCONNECT 0, …)."""
    if not low <= len(payload) <= high:
        raise Violation(f"{frame.name} has a wrong size")
    return payload
