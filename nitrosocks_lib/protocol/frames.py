"""Frames as values: builds and parses the payloads of protocol 5. A payload that does not parse is a Violation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import Violation
from ..facts.wire import (
    ACCEPTED_HEAD,
    ACK_LIMIT,
    LISTENING_HEAD,
    PING_MAX,
    PING_MIN,
    STREAM,
    U16,
    U32,
    U64,
    Abort,
    Frame,
    Kind,
    Reply,
    Reset,
)  # fmt: skip
from ..facts.words import foreign


class Target(NamedTuple):
    """What OPEN and LISTEN name; `host` is a path for Kind.UNIX."""

    kind: int
    host: str
    port: int

    def __str__(self) -> str:
        """As people write it; words of others are to be made harmless."""
        if self.kind == Kind.UNIX:
            return self.host
        return "udp:" * (self.kind == Kind.UDP) + join_host_port(self.host, self.port)


class Address(NamedTuple):
    """What OPENED, LISTENING and ACCEPTED report."""

    host: str
    port: int


class Reason(NamedTuple):
    """What REFUSED, RESET and ABORT carry: a code, and a text for people, harmless whatever the peer said."""

    code: int
    text: str


Limit = tuple[int, int]  # stream, the most bytes of DATA that may be sent on it in all


def _text(payload: bytes, what: str, most: int) -> str:
    if len(payload) > most:
        raise Violation(f"{what} is too long")
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(f"{what} is not UTF-8") from None


def _clip(text: str, most: int = limits.TEXT_MAX) -> bytes:
    """As many letters as `most` bytes hold: half of one would not parse."""
    return text.encode(errors="replace")[:most].decode(errors="ignore").encode()


def number_of(payload: bytes, frame: Frame) -> tuple[int, bytes]:
    """The stream or listener that a payload begins with, and what follows."""
    if len(payload) < STREAM.size:
        raise Violation(f"{frame.name} has a wrong size")
    return int(STREAM.unpack_from(payload)[0]), payload[STREAM.size :]


# -- streams and listeners ---------------------------------------------------------------------------------------------


def open_(number: int, target: Target, frame: Frame = Frame.OPEN) -> bytes:
    """OPEN, or LISTEN."""
    return bytes([frame]) + STREAM.pack(number) + bytes([target.kind]) + U16.pack(target.port) + target.host.encode()


def parse_target(payload: bytes, frame: Frame) -> tuple[int, Target]:
    """The number and the target of OPEN or LISTEN. What is merely empty, or port 0, is for the answer to refuse."""
    number, rest = number_of(payload, frame)
    if len(rest) < 3:
        raise Violation(f"{frame.name} has a wrong size")
    kind, (port,) = rest[0], U16.unpack_from(rest, 1)
    if kind not in list(Kind):
        raise Violation(f"{frame.name} names a kind that does not exist")
    if kind == Kind.UNIX and port:
        raise Violation(f"{frame.name} names a port of a path")
    most = limits.PATH_MAX if kind == Kind.UNIX else limits.NAME_MAX
    return number, Target(kind, _text(rest[3:], "a target", most), port)


def address(frame: Frame, number: int, at: Address) -> bytes:
    """OPENED."""
    return bytes([frame]) + STREAM.pack(number) + U16.pack(at.port) + _clip(at.host, limits.NAME_MAX)


def parse_address(payload: bytes, frame: Frame) -> tuple[int, Address]:
    """The number and the address of OPENED."""
    number, rest = number_of(payload, frame)
    if len(rest) < U16.size:
        raise Violation(f"{frame.name} has a wrong size")
    (port,) = U16.unpack_from(rest)
    return number, Address(_text(rest[U16.size :], "an address", limits.NAME_MAX), port)


def refusal(frame: Frame, number: int, code: Reply | Reset, text: str = "") -> bytes:
    """REFUSED, RESET, or a LISTENING that refuses."""
    return bytes([frame]) + STREAM.pack(number) + bytes([code]) + _clip(text)


def parse_refusal(payload: bytes, frame: Frame) -> tuple[int, Reason]:
    """The number, the code and the text of REFUSED or RESET."""
    number, rest = number_of(payload, frame)
    return number, parse_reason(rest)


def listening(number: int, at: Address) -> bytes:
    """LISTENING that tells where; `refusal` makes the other one."""
    return bytes([Frame.LISTENING]) + LISTENING_HEAD.pack(number, 0, at.port) + _clip(at.host, limits.NAME_MAX)


def parse_listening(payload: bytes) -> tuple[int, Address | Reason]:
    """The number, and where the server listens or why it does not."""
    number, rest = number_of(payload, Frame.LISTENING)
    if not rest or rest[0]:
        return number, parse_reason(rest)
    if len(payload) < LISTENING_HEAD.size:
        raise Violation("LISTENING has a wrong size")
    _, _, port = LISTENING_HEAD.unpack_from(payload)
    return number, Address(_text(payload[LISTENING_HEAD.size :], "an address", limits.NAME_MAX), port)


def accepted(number: int, listener: int, peer: Address) -> bytes:
    """ACCEPTED."""
    return bytes([Frame.ACCEPTED]) + ACCEPTED_HEAD.pack(number, listener, peer.port) + _clip(peer.host, limits.NAME_MAX)


def parse_accepted(payload: bytes) -> tuple[int, int, Address]:
    """The numbers of stream and listener, and who connected."""
    if len(payload) < ACCEPTED_HEAD.size:
        raise Violation("ACCEPTED has a wrong size")
    number, listener, port = ACCEPTED_HEAD.unpack_from(payload)
    return number, listener, Address(_text(payload[ACCEPTED_HEAD.size :], "an address", limits.NAME_MAX), port)


def unlisten(number: int) -> bytes:
    """UNLISTEN."""
    return bytes([Frame.UNLISTEN]) + STREAM.pack(number)


def end(number: int) -> bytes:
    """END."""
    return bytes([Frame.END]) + STREAM.pack(number)


def parse_bare(payload: bytes, frame: Frame) -> int:
    """The number in END or UNLISTEN, which carry nothing else."""
    number, rest = number_of(payload, frame)
    if rest:
        raise Violation(f"{frame.name} has a wrong size")
    return number


# -- frames that are not numbered --------------------------------------------------------------------------------------


def abort(code: Abort, text: str = "") -> bytes:
    """ABORT."""
    return bytes([Frame.ABORT, code]) + _clip(text)


def parse_reason(payload: bytes) -> Reason:
    """Code and text, as ABORT has them. The text comes from the peer, and is made harmless."""
    if not payload:
        raise Violation("a reason is missing")
    return Reason(payload[0], foreign(_text(payload[1:], "a reason", limits.TEXT_MAX), limits.TEXT_MAX))


def ack(received: int, rows: Iterable[Limit] = ()) -> bytes:
    """ACK; `rows` state limits, `limits.ACK_ROWS` of them at most."""
    return bytes([Frame.ACK]) + U64.pack(received) + b"".join(ACK_LIMIT.pack(*row) for row in rows)


def parse_ack(payload: bytes) -> tuple[int, list[Limit]]:
    """How many numbered frames the peer has received, and the limits that it states."""
    if len(payload) < U64.size or (len(payload) - U64.size) % ACK_LIMIT.size:
        raise Violation("ACK has a wrong size")
    return int(U64.unpack_from(payload)[0]), [(n, limit) for n, limit in ACK_LIMIT.iter_unpack(payload[U64.size :])]


def ping(entropy: Callable[[int], bytes]) -> bytes:
    """PING, with 8 to 32 random bytes: two heartbeats need not have one size. `entropy` gives so many bytes."""
    return bytes([Frame.PING]) + entropy(PING_MIN + entropy(1)[0] % (PING_MAX - PING_MIN + 1))


def goaway(seconds: int) -> bytes:
    """GOAWAY."""
    return bytes([Frame.GOAWAY]) + U32.pack(seconds)


def parse_goaway(payload: bytes) -> int:
    """The seconds in GOAWAY."""
    if len(payload) != U32.size:
        raise Violation("GOAWAY has a wrong size")
    return int(U32.unpack(payload)[0])


def sized(payload: bytes, low: int, high: int, frame: Frame) -> bytes:
    """`payload`, or a Violation when its size is out of range (PING 8 to 32, PONG 32, DISCONNECT 0, …)."""
    if not low <= len(payload) <= high:
        raise Violation(f"{frame.name} has a wrong size")
    return payload


def abort_text(code: int) -> str:
    """A text for people."""
    names = {
        Abort.VIOLATION: "protocol violation",
        Abort.SERVER_STOPS: "the server stops",
        Abort.REVOKED: "the client was revoked",
        Abort.NO_ANSWER: "no answer",
        Abort.LIMIT: "a limit was reached",
    }
    return {int(k): v for k, v in names.items()}.get(code, "no reason given")
