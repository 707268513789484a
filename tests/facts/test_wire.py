"""facts/wire against the tables of docs/protocol.md: what is on the page is what is in the source."""

import re
from pathlib import Path

import pytest

from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.wire import U16, U32, U64, Abort, EncryptType, Frame, Kind, Refusal, Reply, Reset

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def tables() -> list[list[list[str]]]:
    """All tables of the page: rows of cells, the head first."""
    found = re.findall(r"(?:^ *\|.*\|\n)+", PAGE, re.MULTILINE)
    return [[cells(line) for line in rows.splitlines() if "|---" not in line] for rows in found]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(*head: str) -> list[list[str]]:
    """The rows of the one table whose head begins so."""
    (found,) = [rows for rows in tables() if tuple(rows[0][: len(head)]) == head]
    return found[1:]


def frame_tables() -> list[list[list[str]]]:
    """The rows of the two tables of section 5: numbered frames, other frames."""
    numbered, others = [rows[1:] for rows in tables() if rows[0] == ["type", "name", "direction", "payload"]]
    return [numbered, others]


def frame_rows() -> dict[str, list[str]]:
    """Type, direction and payload by name, of both tables."""
    return {row[1]: [row[0], *row[2:]] for rows in frame_tables() for row in rows}


def head(payload: str) -> str:
    """The integers of a payload, in their order, as a format of struct."""
    letters = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
    return ">" + "".join(letters[integer] for integer in re.findall(r"\bu(?:8|16|32|64)\b", payload))


# Sizes


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("GREETING", [wire.NONCE, wire.TAG, wire.HELLO, wire.GREETING_BODY + wire.TAG]),
        ("CHALLENGE", [wire.SALT, wire.EPHEMERAL, wire.CHALLENGE_SEALED + wire.TAG, wire.CHALLENGE_LAST + wire.TAG]),
        ("RESPONSE", [U16.size + wire.TAG, wire.RESPONSE_BODY + wire.TAG]),
        ("SESSION", [wire.SESSION_HEAD + wire.TAG, wire.TAG]),
        ("RESUME (3.5)",
         [wire.NONCE, wire.TAG, wire.HELLO, wire.RESUME_HEAD + wire.TAG, wire.RESUME_BODY + wire.TAG]),
        ("RECOVERED (3.5)",
         [wire.SALT, wire.EPHEMERAL, wire.SEALED_SECRET + wire.TAG, wire.RECOVERED_LAST + wire.TAG]),
    ],
)  # fmt: skip
def test_the_sizes_of_messages(message: str, parts: list[int]) -> None:
    (row,) = [row for row in table("message", "parts", "in all") if row[0] == message]
    stated, whole = [text.replace("rest + 16", "16").removesuffix(" + pad") for text in row[1].split(", ")], row[2]
    assert stated == [str(part) for part in parts]
    assert int(re.sub(r" \+ (pad|rest)", "", whole)) == sum(parts)
    assert whole.endswith(" + rest" if message == "SESSION" else " + pad")


@pytest.mark.parametrize(
    ("size", "stated"),
    [
        (wire.HASH, "`h` is the transcript hash, `ck` the chaining key, `k` the current AEAD key, `n` its counter. "
         "h, ck and k have 32 bytes"),
        (wire.TAG, "The tag has 16 bytes and follows the ciphertext"),
        (wire.KEM_PUBLIC, "A **KEM public key** has 1216 bytes"),
        (wire.MLKEM_PUBLIC, "ML-KEM-768 encapsulation key (1184)"),
        (wire.X25519_PUBLIC, "X25519 public key (32)"),
        (wire.KEM_PRIVATE, "A KEM key pair is made from 96 bytes"),
        (wire.KEM_ENC, "result = enc 1120"),
        (wire.SEAL_OVERHEAD, "length len(p) + 1136"),
        (wire.ED25519_PUBLIC, "an Ed25519 key (32)"),
        (wire.MLDSA_PUBLIC, "an ML-DSA-65 key (1952)"),
        (wire.CLIENT_PUBLIC, "1216 + 32 + 1952 = 3200 bytes"),
        (wire.CLIENT_ID, '`client_id = H("ns1 client" ‖ client public key)[:16]`'),
        (wire.SESSION_ID, "session id 16"),
        (wire.ED25519_SIGNATURE, "Ed25519 signature 64"),
        (wire.MLDSA_SIGNATURE, "ML-DSA-65 signature 3309"),
        (wire.SECRET, "SessionKey 32"),
        (wire.NONCE, "`nonce` = 24 random bytes"),
        (wire.KNOCK, "It is `nonce 24 ‖ tag 16`, 40 bytes in the clear"),
        (wire.SALT, "The server sends salt, 32 random bytes"),
        (wire.SEALED_SECRET, "cS 1168"),
        (wire.CHALLENGE_SEALED, "The Seal has 1208 bytes"),
        (wire.KIND_GREETING, "u8 kind=1"),
        (wire.KIND_RESUME, "u8 kind=2"),
        (wire.VERSION, "u32 version=1"),
        (wire.FRAME_OVERHEAD, "A frame takes L + 19 bytes on the wire"),
        (wire.PLAIN_MAX, "1 ≤ L ≤ 65 537"),
        (wire.LENGTH * 8, "frame     = ( u24 L"),
    ],
)  # fmt: skip
def test_a_number_of_the_page(size: int, stated: str) -> None:
    assert stated in PAGE
    assert str(size) in re.findall(r"\d+", re.sub(r"(?<=\d) (?=\d{3})", "", stated))


def test_numbers_are_big_endian() -> None:
    assert [U16.pack(1), U32.pack(1), U64.pack(1)] == [b"\0\1", b"\0\0\0\1", bytes(7) + b"\1"]
    assert wire.HELLO_HEAD.pack(2, 3) == b"\2\0\3"
    assert wire.GREETING_OFFER.pack(1, 6, 7) == wire.SESSION_TERMS.pack(1, 6, 7) == b"\0\0\0\1\0\0\0\6\0\0\0\7"


# Numbers of frames and reasons


def test_the_types_of_frames() -> None:
    rows = frame_rows()
    assert {name: int(row[0], 16) for name, row in rows.items()} == {frame.name: frame.value for frame in Frame}
    assert {row[1] for row in frame_tables()[0]} == {frame.name for frame in Frame if frame in wire.NUMBERED}


@pytest.mark.parametrize("frame", Frame)
def test_who_sends_a_frame(frame: Frame) -> None:
    senders = {"C→S": (True, False), "S→C": (False, True), "both": (False, False)}
    assert (frame in wire.ONLY_FROM_CLIENT, frame in wire.ONLY_FROM_SERVER) == senders[frame_rows()[frame.name][1]]


@pytest.mark.parametrize(
    ("frame", "size", "stated"),
    [
        (Frame.DATA, wire.DATA_MAX, "1 to 65 532 bytes"),
        (Frame.REFRESH, wire.REFRESH_SIZE, "2336 bytes"),
        (Frame.REFRESHED, wire.REFRESHED_SIZE, "2384 bytes"),
        (Frame.SWITCH, wire.HASH, "32 bytes"),
        (Frame.PONG, wire.HASH, "32 bytes"),
        (Frame.DISCONNECT_ACK, wire.SECRET, "R2, 32 random bytes"),
        (Frame.DISCONNECT_DONE, wire.HASH, "SHA-256(R2), 32 bytes"),
        (Frame.PING, wire.PING_MIN, "8 to"),
        (Frame.PING, wire.PING_MAX, "32 random bytes"),
    ],
)
def test_the_size_of_a_payload(frame: Frame, size: int, stated: str) -> None:
    assert stated in frame_rows()[frame.name][2]
    assert str(size) in stated.replace("65 532", "65532")


@pytest.mark.parametrize(
    ("frame", "struct"),
    [
        (Frame.OPEN, wire.OPEN_HEAD.format),
        (Frame.OPENED, wire.OPENED_HEAD.format),
        (Frame.REFUSED, wire.REASON_HEAD.format),
        (Frame.DATA, wire.STREAM.format),
        (Frame.END, wire.STREAM.format),
        (Frame.RESET, wire.REASON_HEAD.format),
        (Frame.LISTEN, wire.OPEN_HEAD.format),
        (Frame.LISTENING, wire.LISTENING_HEAD.format),
        (Frame.ACCEPTED, wire.ACCEPTED_HEAD.format),
        (Frame.UNLISTEN, wire.STREAM.format),
        (Frame.ACK, wire.ACK_RECEIVED.format + wire.ACK_LIMIT.format.removeprefix(">")),
        (Frame.GOAWAY, U32.format),
    ],
)
def test_the_head_of_a_payload(frame: Frame, struct: str) -> None:
    assert head(frame_rows()[frame.name][2]) == struct


def test_a_listening_that_failed_has_the_head_of_a_reason() -> None:
    success, failure = frame_rows()["LISTENING"][2].split("; or ")
    assert head(success) == wire.LISTENING_HEAD.format and failure == "a SOCKS5 reply code ‖ text"
    assert wire.LISTENING_HEAD.format.startswith(wire.REASON_HEAD.format)


def test_the_head_of_data_is_that_of_the_page_behind_the_type() -> None:
    assert wire.DATA_HEADER.pack(Frame.DATA, 7) == bytes([Frame.DATA]) + wire.STREAM.pack(7)
    assert wire.DATA_HEADER.size == wire.DATA_HEAD


def test_a_full_payload_fits_one_frame() -> None:
    assert 1 + wire.STREAM.size + wire.DATA_MAX == wire.PLAIN_MAX
    assert "1 ≤ L ≤ 65 537  (type and 64 KiB)" in PAGE and wire.PLAIN_MAX == 1 + 64 * 1024


def test_the_reasons() -> None:
    rows = table("value", "RESET", "ABORT")
    words = {"OTHER": "other", "LOCAL": "local side reset", "SESSION_LOST": "session lost", "IDLE": "idle limit",
             "SERVER_STOPS": "server stops", "NOT_PERMITTED": "no longer permitted", "VIOLATION": "protocol violation",
             "REVOKED": "revoked", "NO_ANSWER": "no answer", "LIMIT": "limit"}  # fmt: skip
    assert [int(row[0]) for row in rows] == list(Reset)
    assert [row[1] for row in rows] == [words[reason.name] for reason in Reset]
    assert [row[2] for row in rows if row[2]] == [words[reason.name] for reason in Abort]
    assert list(Abort) == list(Reset)[: len(Abort)]


def test_the_refusals() -> None:
    rows = table("reason", "meaning")
    words = {"UNKNOWN_CLIENT": "client", "UNKNOWN_SESSION": "session", "FULL": "full", "NO_COMMON": "no common",
             "DRAINING": "draining"}  # fmt: skip
    assert [int(row[0]) for row in rows] == list(Refusal)
    assert all(words[reason.name] in row[1] for reason, row in zip(Refusal, rows, strict=True))


def test_the_kinds_of_targets() -> None:
    assert "u8 kind (1 tcp, 2 unix, 3 udp)" in frame_rows()["OPEN"][2]
    assert [(kind.value, kind.name.lower()) for kind in Kind] == [(1, "tcp"), (2, "unix"), (3, "udp")]


def test_the_reasons_of_refused_are_those_of_rfc_1928() -> None:
    assert "a SOCKS5 reply code of RFC 1928" in frame_rows()["REFUSED"][2]
    names = "GENERAL NOT_PERMITTED NETWORK_UNREACHABLE HOST_UNREACHABLE CONNECTION_REFUSED EXPIRED COMMAND ADDRESS_TYPE"
    assert [reply.name for reply in Reply] == names.split() and list(Reply) == list(range(1, 9))


def test_the_encrypt_types() -> None:
    assert "1 = AES-128-GCM, 2 = AES-256-GCM (the default)" in PAGE
    assert "16 for encryptType 1, 32 for encryptType 2" in PAGE
    sizes = [(kind.value, kind.name.replace("_", "-"), kind.key_size) for kind in EncryptType]
    assert sizes == [(1, "AES-128-GCM", 16), (2, "AES-256-GCM", 32)]
