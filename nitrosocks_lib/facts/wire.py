"""Every byte on the wire: frame types, structs, sizes as sums of named parts (protocol 1 to 5)."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from struct import Struct
from typing import Final

VERSION: Final = 1

U16: Final = Struct(">H")
U32: Final = Struct(">I")
U64: Final = Struct(">Q")

# Keys and seals (protocol 1, 2).
HASH: Final = 32
TAG: Final = 16
SECRET: Final = 32
MLKEM_PUBLIC: Final = 1184
X25519_PUBLIC: Final = 32
KEM_PUBLIC: Final = MLKEM_PUBLIC + X25519_PUBLIC
MLKEM_SEED: Final = 64
KEM_PRIVATE: Final = MLKEM_SEED + 32  # ML-KEM seed, X25519 private key
KEM_ENC: Final = 1120
SEAL_OVERHEAD: Final = KEM_ENC + TAG
ED25519_PUBLIC: Final = 32
ED25519_SIGNATURE: Final = 64
MLDSA_PUBLIC: Final = 1952
MLDSA_SIGNATURE: Final = 3309
CLIENT_PUBLIC: Final = KEM_PUBLIC + ED25519_PUBLIC + MLDSA_PUBLIC
SIGNATURES: Final = ED25519_SIGNATURE + MLDSA_SIGNATURE
CLIENT_ID: Final = 16
SESSION_ID: Final = 16

# Tokens of the carriers `websocket` and `http` (protocol 6).
CARRIER_ID: Final = 10
TOKEN_N: Final = 5  # bytes of n
TOKEN_BLOCK: Final = CARRIER_ID + 1 + TOKEN_N  # id, what, n: one block of AES
TOKEN_TEXT: Final = 43  # characters of base64url: the block and a TAG

# The knock and the messages (protocol 3); part sizes without the `pad` zeros that end a message.
NONCE: Final = 24
KNOCK: Final = NONCE + TAG
SALT: Final = 32
KIND_GREETING: Final = 1
KIND_RESUME: Final = 2
HELLO_HEAD: Final = Struct(">BH")  # kind, pad
SEALED_SECRET: Final = SECRET + SEAL_OVERHEAD
HELLO: Final = HELLO_HEAD.size + SEALED_SECRET + TAG
GREETING_OFFER: Final = Struct(">III")  # version, offer, window
GREETING_BODY: Final = CLIENT_ID + KEM_PUBLIC + GREETING_OFFER.size
EPHEMERAL: Final = U16.size + SEALED_SECRET + TAG
CHALLENGE_CHOICE: Final = Struct(">II")  # encryptType, version
CHALLENGE_SEALED: Final = SECRET + SECRET + CHALLENGE_CHOICE.size + SEAL_OVERHEAD
CHALLENGE_LAST: Final = U64.size + HASH
RESPONSE_BODY: Final = HASH + SIGNATURES + KEM_PUBLIC
SESSION_TERMS: Final = Struct(">III")  # window, resume seconds, heartbeat seconds
SESSION_HEAD: Final = U16.size + SECRET + SESSION_ID + SESSION_TERMS.size
RESUME_HEAD: Final = SESSION_ID + U32.size + KEM_PUBLIC
RESUME_BODY: Final = U64.size + SIGNATURES + KEM_PUBLIC
RECOVERED_LAST: Final = U64.size + HASH

# Frames (protocol 4).
LENGTH: Final = 3
FRAME_OVERHEAD: Final = LENGTH + TAG
PLAIN_MAX: Final = 1 + 65_536  # type, payload
FRAME_MAX: Final = FRAME_OVERHEAD + PLAIN_MAX

# What frames say (protocol 5); heads stand behind the type, in front of what has no fixed size.
STREAM: Final = Struct(">I")  # DATA and END: stream; UNLISTEN: listener
DATA_HEAD: Final = 1 + STREAM.size  # type, stream
DATA_HEADER: Final = Struct(">BI")  # type, stream
DATA_MAX: Final = PLAIN_MAX - DATA_HEAD
OPEN_HEAD: Final = Struct(">IBH")  # OPEN: stream, kind, port; LISTEN: listener, kind, port
OPENED_HEAD: Final = Struct(">IH")  # stream, port
REASON_HEAD: Final = Struct(">IB")  # REFUSED and RESET: stream, reason; LISTENING: listener, reply
LISTENING_HEAD: Final = Struct(">IBH")  # LISTENING with reply 0: listener, reply, port
ACCEPTED_HEAD: Final = Struct(">IIH")  # stream, listener, port
ACK_RECEIVED: Final = Struct(">Q")  # begins an ACK
ACK_LIMIT: Final = Struct(">IQ")  # stream, limit: any number of them follow in an ACK
PING_MIN: Final = 8
PING_MAX: Final = 32
REFRESH_SIZE: Final = SEALED_SECRET + SEALED_SECRET
REFRESHED_SIZE: Final = SEALED_SECRET + KEM_PUBLIC


class EncryptType(IntEnum):
    """AEAD of the frames; the numbers are those of CHALLENGE."""

    AES_128_GCM = 1
    AES_256_GCM = 2

    @property
    def key_size(self) -> int:
        """Bytes of the key."""
        return 16 if self is EncryptType.AES_128_GCM else 32


class Carrier(StrEnum):
    """What brings the byte stream through the TLS (CA1 to CA3), in the order in which a client tries them (CA5)."""

    RAW = "raw"
    WEBSOCKET = "websocket"
    HTTP = "http"


class What(IntEnum):
    """What the request of a token is (TK2)."""

    WEBSOCKET = 0
    UP = 1
    DOWN = 2


class Frame(IntEnum):
    """Types of frames (protocol 5)."""

    OPEN = 0x10
    OPENED = 0x11
    REFUSED = 0x12
    DATA = 0x13
    END = 0x14
    RESET = 0x15
    LISTEN = 0x18
    LISTENING = 0x19
    ACCEPTED = 0x1A
    UNLISTEN = 0x1B
    ACK = 0x20
    PING = 0x21
    PONG = 0x22
    PAD = 0x23
    REFRESH = 0x24
    REFRESHED = 0x25
    SWITCH = 0x26
    DISCONNECT = 0x30
    DISCONNECT_ACK = 0x31
    DISCONNECT_DONE = 0x32
    ABORT = 0x33
    GOAWAY = 0x34


NUMBERED: Final = range(0x10, 0x1C)
ONLY_FROM_CLIENT: Final = frozenset(
    {Frame.OPEN, Frame.LISTEN, Frame.REFRESHED, Frame.DISCONNECT, Frame.DISCONNECT_DONE}
)
ONLY_FROM_SERVER: Final = frozenset(
    {Frame.LISTENING, Frame.ACCEPTED, Frame.REFRESH, Frame.SWITCH, Frame.DISCONNECT_ACK, Frame.GOAWAY}
)


class Kind(IntEnum):
    """Kinds of target in OPEN and LISTEN."""

    TCP = 1
    UNIX = 2
    UDP = 3


class Refusal(IntEnum):
    """Reasons of a refused handshake (protocol 3.6)."""

    UNKNOWN_CLIENT = 1
    UNKNOWN_SESSION = 2
    FULL = 3
    NO_COMMON = 4
    DRAINING = 5


class Reply(IntEnum):
    """Reasons of REFUSED: the reply codes of RFC 1928, section 6."""

    GENERAL = 1
    NOT_PERMITTED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    EXPIRED = 6
    COMMAND = 7
    ADDRESS_TYPE = 8


class Reset(IntEnum):
    """Reasons of RESET."""

    OTHER = 0
    LOCAL = 1
    SESSION_LOST = 2
    IDLE = 3
    SERVER_STOPS = 4
    NOT_PERMITTED = 5
    LIMIT = 6


class Abort(IntEnum):
    """Reasons of ABORT."""

    OTHER = 0
    VIOLATION = 1
    SERVER_STOPS = 2
    REVOKED = 3
    NO_ANSWER = 4
    LIMIT = 5
