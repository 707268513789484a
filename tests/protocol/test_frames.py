"""protocol/frames: payloads are built and parsed to the byte, and what does not parse is a violation."""

import hashlib
import json
from pathlib import Path

import pytest
from recorded import each_run, raw

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.seal import Opener
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import Violation
from nitrosocks_lib.facts.wire import Abort, EncryptType, Frame, Kind, Reply, Reset
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Address, Reason, Target

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
ADDRESSES = (Frame.OPENED, Frame.LISTENING, Frame.ACCEPTED)
REASONS = {Frame.REFUSED: Reply, Frame.RESET: Reset, Frame.ABORT: Abort}
SIZES = {"END": (0, 0), "PING": (8, 32), "PONG": (32, 32), "DISCONNECT": (0, 0), "DISCONNECT_ACK": (32, 32)}


def rebuilt(frame: bytes) -> bytes:
    """Parsed, and built again from what was read."""
    kind, payload = Frame(frame[0]), frame[1:]
    if kind in (Frame.OPEN, Frame.LISTEN):
        return frames.open_(frames.parse_target(payload), kind)
    if kind in ADDRESSES:
        return frames.address(kind, frames.parse_address(payload))
    if kind in REASONS:
        reason = frames.parse_reason(payload)
        return frames.reason(kind, REASONS[kind](reason.code), reason.text)
    if kind is Frame.ACK:
        return frames.ack(frames.parse_ack(payload))
    if kind is Frame.GOAWAY:
        return frames.goaway(frames.parse_goaway(payload))
    if kind.name in SIZES:
        return bytes([kind]) + frames.sized(payload, *SIZES[kind.name], kind)
    return frame


@pytest.mark.parametrize("name", ["conversation", "conversation_2"])
def test_the_recorded_conversations_are_read_and_built_alike(name: str) -> None:
    recorded = [row["frame"] for row in VECTORS[name]["frames"] if "frame" in row]
    assert [rebuilt(raw(frame)).hex() for frame in recorded] == recorded


@each_run
@pytest.mark.parametrize("direction", ["c2s", "s2c"])
def test_the_recorded_frames_are_read_and_built_alike(run: dict, direction: str) -> None:
    keys = schedule.frame_keys(raw(run["RK"]), direction.encode(), EncryptType(run["encryptType"]))
    opener, out, seen = Opener(keys), bytearray(1 << 17), []
    for recorded in run[f"frames_{direction}"]:
        if recorded["wire"] is None or recorded["i"] != opener.count:
            break  # frames of full size, and those of large numbers, are for test_seal.py
        frame = raw(recorded["wire"])
        assert opener.frame_size(frame[:3]) == len(frame)
        plain = bytes(out[: opener.open(memoryview(frame), memoryview(out))])
        assert plain == raw(recorded["plaintext"]) == rebuilt(plain)
        assert hashlib.sha256(frame).hexdigest() == recorded["wire_sha256"]
        seen.append(Frame(plain[0]))
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (frames.open_(Target(Kind.TCP, "host", 80)), "10 01 0050 686f7374"),
        (frames.open_(Target(Kind.TCP, "bücher.example", 65535)), "10 01 ffff 62c3bc636865722e6578616d706c65"),
        (frames.open_(Target(Kind.UNIX, "/run/x", 0)), "10 02 0000 2f72756e2f78"),
        (frames.open_(Target(Kind.UDP, "::1", 53), Frame.LISTEN), "18 03 0035 3a3a31"),
        (frames.address(Frame.OPENED, Address("192.0.2.1", 7)), "11 0007 3139322e302e322e31"),
        (frames.address(Frame.LISTENING, Address("", 0)), "19 0000"),
        (frames.address(Frame.ACCEPTED, Address("::1", 256)), "1a 0100 3a3a31"),
        (frames.reason(Frame.REFUSED, Reply.NOT_PERMITTED, "no"), "12 02 6e6f"),
        (frames.reason(Frame.RESET, Reset.LOCAL), "15 01"),
        (frames.reason(Frame.ABORT, Abort.LIMIT, "ü"), "33 05 c3bc"),
        (frames.ack(0), "20 0000000000000000"),
        (frames.ack(2**64 - 1), "20 ffffffffffffffff"),
        (frames.goaway(30), "34 0000001e"),
    ],
)
def test_frames_to_the_byte(built: bytes, expected: str) -> None:
    assert built == bytes.fromhex(expected) == rebuilt(built)


@pytest.mark.parametrize(
    ("parse", "payload"),
    [
        (frames.parse_target, b""),
        (frames.parse_target, b"\1\0"),
        (frames.parse_target, b"\1\0\x50\xff"),
        (frames.parse_target, b"\1\0\x50host\xc3"),
        (frames.parse_address, b""),
        (frames.parse_address, b"\0"),
        (frames.parse_address, b"\0\x50\xed\xa0\x80"),  # a surrogate
        (frames.parse_address, b"\0\x50" + b"a" * 256),
        (frames.parse_reason, b""),
        (frames.parse_reason, b"\1\x80"),
        (frames.parse_ack, b""),
        (frames.parse_ack, bytes(7)),
        (frames.parse_ack, bytes(9)),
        (frames.parse_goaway, bytes(3)),
        (frames.parse_goaway, bytes(5)),
    ],
)
def test_what_does_not_parse(parse, payload: bytes) -> None:
    with pytest.raises(Violation) as caught:
        parse(payload)
    assert caught.value.reason is Abort.VIOLATION


@pytest.mark.parametrize("payload", [b"\0\0\0", b"\4\0\7host", b"\xff\xff\xff" + b"x" * 65_533])
def test_a_target_that_cannot_be_reached_still_parses(payload: bytes) -> None:
    """Its OPEN is answered with REFUSED, which is for whoever knows the kinds and the names."""
    target = frames.parse_target(payload)
    assert (target.kind, target.host.encode()) == (payload[0], payload[3:])


@pytest.mark.parametrize("name", SIZES)
def test_frames_of_a_fixed_size(name: str) -> None:
    low, high = SIZES[name]
    for size in (low, high):
        assert frames.sized(bytes(size), low, high, Frame[name]) == bytes(size)
    for size in {max(0, low - 1), high + 1} - {low}:
        with pytest.raises(Violation, match=f"{name} has a wrong size"):
            frames.sized(bytes(size), low, high, Frame[name])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\0", (0, "")),
        (b"\xc8later", (200, "later")),  # an unknown code is for whoever reads it
        (b"\1one\ntwo\r\x1b[31m\x00\x7f", (1, "onetwo[31m")),
        (b"\1" + "a\u202eb\u2028c\x85d".encode(), (1, "abcd")),
        (b"\1" + "grüße 世界".encode(), (1, "grüße 世界")),
        (b"\1" + b"x" * 65_535, (1, "x" * limits.TEXT_MAX)),
    ],
)
def test_a_text_from_the_peer_is_short_and_clean(payload: bytes, reason: tuple[int, str]) -> None:
    assert frames.parse_reason(payload) == Reason(*reason)


@pytest.mark.parametrize("letter", ["x", "ü", "世", "🧦"])
@pytest.mark.parametrize("kind", REASONS)
def test_a_text_for_the_peer_is_clipped_between_two_letters(kind: Frame, letter: str) -> None:
    for shift in range(4):
        built = frames.reason(kind, REASONS[kind](1), "x" * shift + letter * 600)
        assert limits.TEXT_MAX - len(letter.encode()) < len(built) - 2 <= limits.TEXT_MAX
        assert set(frames.parse_reason(built[1:]).text) == {letter} | set("x" * shift)
