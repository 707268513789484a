"""What both sides of the handshake share (protocol 3.1, 3.2, 3.4); `greet` is the client, `welcome` the server.

Each side is a generator, so that it reads as the page does: it yields a number to be given that many bytes, or
bytes to have them written, and returns the outcome. Whatever does not parse or verify raises, and ends it for good.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from ..crypto import schedule
from ..crypto.identity import KemPrivate
from ..crypto.schedule import SymmetricState
from ..crypto.secret import Secret
from ..facts import limits, wire
from ..facts.errors import ProtocolError
from ..facts.wire import U16, EncryptType

T = TypeVar("T")
Dialogue: TypeAlias = Generator[int | bytes, bytes, T]
Random: TypeAlias = Callable[[int], bytes]  # what it returns is the caller's alone

OFFERED = (EncryptType.AES_256_GCM, EncryptType.AES_128_GCM)
OFFER = sum(1 << each for each in OFFERED)


@dataclass(slots=True, repr=False)
class Keys:
    """What one connection of a session leaves behind (protocol 3.4): hs, RK, and the epoch that a refresh counts up."""

    hs: bytes
    root: Secret
    epoch: int = 0


@dataclass(slots=True, repr=False)
class Terms:
    """What SESSION states; seconds and bytes. `window` is the one that the stating side receives with."""

    encrypt_type: EncryptType
    session_id: bytes
    resume_secret: Secret
    window: int
    resume: int
    heartbeat: int
    address: str = ""


def derive(state: SymmetricState) -> Keys:
    """hs and RK after the last message (protocol 3.4); ends the state."""
    keys = Keys(state.h, schedule.root_key(state.ck))
    state.end()
    return keys


def draw_pad(random: Random) -> int:
    """The length of the zeros that end a message, 0 to 1024, drawn anew for each."""
    return int.from_bytes(random(8), "big") % (limits.PAD_MAX + 1)


def draw_secret(random: Random) -> Secret:
    """32 random bytes that go into keys."""
    return Secret.taken(random(wire.SECRET))


def draw_ephemeral(random: Random) -> KemPrivate:
    """A fresh ephemeral key pair."""
    return KemPrivate(Secret.taken(random(wire.KEM_PRIVATE)))


def checked_pad(head: bytes) -> int:
    """The `pad` of a message's first part; raises ProtocolError beyond 1024."""
    pad: int = U16.unpack(head)[0]
    if pad > limits.PAD_MAX:
        raise ProtocolError("a handshake message announces too much padding")
    return pad


def checked_zeros(padding: bytes) -> None:
    """Padding that is not zeros does not parse."""
    if padding.count(0) != len(padding):
        raise ProtocolError("the padding of a handshake message is not zeros")


def read(state: SymmetricState, size: int) -> Dialogue[bytes]:
    """Reads and opens the next part, whose plaintext has `size` bytes."""
    return state.dec((yield size + wire.TAG))


def within(value: int, low: int, high: int, what: str) -> int:
    """`value`, or ProtocolError when it is out of its bounds (protocol 3.3)."""
    if not low <= value <= high:
        raise ProtocolError(f"the handshake states a {what} out of range: {value}")
    return value


def signed_response(h: bytes, proof: bytes, ephemeral: bytes) -> bytes:
    """What RESPONSE signs, without its context."""
    return h + proof + ephemeral


def signed_resume(h: bytes, received: int, ephemeral: bytes) -> bytes:
    """What RESUME signs, without its context."""
    return h + wire.U64.pack(received) + ephemeral
