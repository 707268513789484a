"""protocol/frames: payloads are built and parsed to the byte, and what does not parse is a violation."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from recorded import each_run, raw

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.seal import Opener
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import Violation
from nitrosocks_lib.facts.wire import Abort, EncryptType, Frame, Kind, Reply, Reset
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Address, Reason, Target

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
CODES = {Frame.REFUSED: Reply, Frame.RESET: Reset}
SIZES = {"PING": (8, 32), "PONG": (32, 32), "DISCONNECT": (0, 0), "DISCONNECT_ACK": (32, 32)}


def rebuilt(frame: bytes) -> bytes:
    """Parsed, and built again from what was read."""
    kind, payload = Frame(frame[0]), frame[1:]
    if kind in (Frame.OPEN, Frame.LISTEN):
        return frames.open_(*frames.parse_target(payload, kind), kind)
    if kind is Frame.OPENED:
        return frames.address(kind, *frames.parse_address(payload, kind))
    if kind in CODES:
        number, reason = frames.parse_refusal(payload, kind)
        return frames.refusal(kind, number, CODES[kind](reason.code), reason.text)
    if kind is Frame.ABORT:
        return frames.abort(Abort(frames.parse_reason(payload).code), frames.parse_reason(payload).text)
    if kind is Frame.ACK:
        return frames.ack(*frames.parse_ack(payload))
    if kind is Frame.END:
        return frames.end(frames.parse_bare(payload, kind))
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
        (frames.open_(1, Target(Kind.TCP, "host", 80)), "10 00000001 01 0050 686f7374"),
        (frames.open_(2**32 - 1, Target(Kind.TCP, "bücher.example", 65535)),
         "10 ffffffff 01 ffff 62c3bc636865722e6578616d706c65"),
        (frames.open_(3, Target(Kind.UNIX, "/run/x", 0)), "10 00000003 02 0000 2f72756e2f78"),
        (frames.open_(1, Target(Kind.UDP, "::1", 53), Frame.LISTEN), "18 00000001 03 0035 3a3a31"),
        (frames.address(Frame.OPENED, 256, Address("192.0.2.1", 7)), "11 00000100 0007 3139322e302e322e31"),
        (frames.address(Frame.OPENED, 1, Address("", 0)), "11 00000001 0000"),
        (frames.refusal(Frame.REFUSED, 5, Reply.NOT_PERMITTED, "no"), "12 00000005 02 6e6f"),
        (frames.refusal(Frame.LISTENING, 1, Reply.COMMAND), "19 00000001 07"),
        (frames.refusal(Frame.RESET, 2, Reset.LOCAL), "15 00000002 01"),
        (frames.end(7), "14 00000007"),
        (frames.abort(Abort.LIMIT, "ü"), "33 05 c3bc"),
        (frames.ack(0), "20 0000000000000000"),
        (frames.ack(2**64 - 1), "20 ffffffffffffffff"),
        (frames.ack(3, [(1, 65_541), (2**32 - 1, 2**64 - 1)]),
         "20 0000000000000003 00000001 0000000000010005 ffffffff ffffffffffffffff"),
        (frames.goaway(30), "34 0000001e"),
    ],
)  # fmt: skip
def test_frames_to_the_byte(built: bytes, expected: str) -> None:
    assert built == bytes.fromhex(expected) == rebuilt(built)


NUMBER = b"\0\0\0\1"


@pytest.mark.parametrize(
    ("parse", "payload"),
    [
        (frames.parse_target, b""),
        (frames.parse_target, NUMBER[:3]),
        (frames.parse_target, NUMBER),
        (frames.parse_target, NUMBER + b"\1\0"),
        (frames.parse_target, NUMBER + b"\0\0\x50host"),  # no such kind
        (frames.parse_target, NUMBER + b"\4\0\x50host"),
        (frames.parse_target, NUMBER + b"\xff\xff\xff"),
        (frames.parse_target, NUMBER + b"\2\0\1/run/x"),  # a path has no port
        (frames.parse_target, NUMBER + b"\1\0\x50\xff"),
        (frames.parse_target, NUMBER + b"\1\0\x50host\xc3"),
        (frames.parse_target, NUMBER + b"\1\0\x50" + b"x" * 256),
        (frames.parse_target, NUMBER + b"\2\0\0" + b"x" * 108),
        (frames.parse_address, NUMBER[:3]),
        (frames.parse_address, NUMBER + b"\0"),
        (frames.parse_address, NUMBER + b"\0\x50\xed\xa0\x80"),  # a surrogate
        (frames.parse_address, NUMBER + b"\0\x50" + b"a" * 256),
        (frames.parse_refusal, NUMBER[:3]),
        (frames.parse_refusal, NUMBER),
        (frames.parse_refusal, NUMBER + b"\1\x80"),
        (frames.parse_refusal, NUMBER + b"\1" + b"x" * 1025),
        (frames.parse_bare, NUMBER[:3]),
        (frames.parse_bare, NUMBER + b"x"),
    ],
)
def test_what_does_not_parse_of_a_stream(parse: Callable[[bytes, Frame], object], payload: bytes) -> None:
    with pytest.raises(Violation) as caught:
        parse(payload, Frame.OPEN)
    assert caught.value.reason is Abort.VIOLATION


@pytest.mark.parametrize(
    ("parse", "payload"),
    [
        (frames.parse_reason, b""),
        (frames.parse_reason, b"\1\x80"),
        (frames.parse_reason, b"\1" + b"x" * 1025),
        (frames.parse_ack, b""),
        (frames.parse_ack, bytes(7)),
        (frames.parse_ack, bytes(9)),
        (frames.parse_ack, bytes(8 + 11)),
        (frames.parse_ack, bytes(8 + 12 + 1)),
        (frames.parse_goaway, bytes(3)),
        (frames.parse_goaway, bytes(5)),
    ],
)
def test_what_does_not_parse_of_other_frames(parse: Callable[[bytes], object], payload: bytes) -> None:
    with pytest.raises(Violation) as caught:
        parse(payload)
    assert caught.value.reason is Abort.VIOLATION


@pytest.mark.parametrize("rest", [b"\1\0\0", b"\1\0\0host", b"\1\0\x50", b"\3\0\0", b"\2\0\0", b"\1\0\x07a\0b"])
def test_a_target_that_cannot_be_reached_still_parses(rest: bytes) -> None:
    """Its OPEN is answered with REFUSED, by whoever knows what can be reached (protocol 5, T5)."""
    assert rebuilt(bytes([Frame.OPEN]) + NUMBER + rest) == bytes([Frame.OPEN]) + NUMBER + rest


@pytest.mark.parametrize(
    ("kind", "host"), [(Kind.TCP, "h" * 255), (Kind.UDP, "ü" * 127 + "x"), (Kind.UNIX, "/" + "p" * 106)]
)
def test_the_longest_targets(kind: Kind, host: str) -> None:
    target = Target(kind, host, 0)
    assert frames.parse_target(frames.open_(9, target)[1:], Frame.OPEN) == (9, target)


@pytest.mark.parametrize("name", SIZES)
def test_frames_of_a_fixed_size(name: str) -> None:
    low, high = SIZES[name]
    for size in (low, high):
        assert frames.sized(bytes(size), low, high, Frame[name]) == bytes(size)
    for size in {max(0, low - 1), high + 1} - {low}:
        with pytest.raises(Violation, match=f"{name} has a wrong size"):
            frames.sized(bytes(size), low, high, Frame[name])


# Text


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\0", (0, "")),
        (b"\xc8later", (200, "later")),  # an unknown code is for whoever reads it
        (b"\1one\ntwo\r\x1b[31m\x00\x7f", (1, r"one\ntwo\r\x1b[31m\x00\x7f")),
        (b"\1" + "a\u202eb\u2028c\x85d".encode(), (1, r"a\u202eb\u2028c\x85d")),
        (b"\1" + "grüße 世界".encode(), (1, "grüße 世界")),
        (b"\1" + b"x" * 1024, (1, "x" * 1024)),
    ],
)
def test_a_text_from_the_peer_is_clean(payload: bytes, reason: tuple[int, str]) -> None:
    assert frames.parse_reason(payload) == Reason(*reason)
    assert frames.parse_refusal(NUMBER + payload, Frame.REFUSED) == (1, Reason(*reason))


@pytest.mark.parametrize("letter", ["x", "ü", "世", "🧦"])
def test_a_text_for_the_peer_is_clipped_between_two_letters(letter: str) -> None:
    for shift in range(4):
        text, size = "x" * shift + letter * 1024, len(letter.encode())
        for built in (frames.refusal(Frame.RESET, 1, Reset.LOCAL, text)[5:], frames.abort(Abort.OTHER, text)[1:]):
            assert limits.TEXT_MAX - size < len(built) - 1 <= limits.TEXT_MAX
            assert set(frames.parse_reason(built).text) == {letter} | set("x" * shift)
        built = frames.address(Frame.OPENED, 1, Address(text, 7))[1:]
        assert limits.NAME_MAX - size < len(built) - 6 <= limits.NAME_MAX
        assert set(frames.parse_address(built, Frame.OPENED)[1].host) == {letter} | set("x" * shift)


def test_a_text_that_is_no_unicode_still_leaves() -> None:
    """File names and messages of the system may hold such letters."""
    assert frames.parse_reason(frames.abort(Abort.OTHER, "a\udcffb")[1:]).text == "a?b"
    built = frames.address(Frame.OPENED, 1, Address("/run/\udcff", 0))
    assert frames.parse_address(built[1:], Frame.OPENED)[1].host == "/run/?"


# Whatever comes


@given(frame=some.sampled_from(Frame), payload=some.binary(max_size=40))
def test_what_comes_is_a_frame_or_a_violation(frame: Frame, payload: bytes) -> None:
    """It is read as one thing alone: what was read makes the same bytes again."""
    try:
        again = rebuilt(bytes([frame]) + payload)
    except Violation as violation:
        assert violation.reason is Abort.VIOLATION
    except ValueError as unknown:
        assert "is not a valid" in str(unknown), "a code of a later version, which `rebuilt` cannot name"
    else:
        cleaned = frame in CODES or frame is Frame.ABORT  # what cannot be printed is escaped, once
        assert again == bytes([frame]) + payload or (cleaned and rebuilt(again) == again)


@given(
    received=some.integers(0, 2**64 - 1),
    rows=some.lists(some.tuples(some.integers(0, 2**32 - 1), some.integers(0, 2**64 - 1)), max_size=20),
)
def test_all_limits_of_an_ack_arrive_in_their_order(received: int, rows: list[frames.Limit]) -> None:
    assert frames.parse_ack(frames.ack(received, rows)[1:]) == (received, rows)


def test_pings_have_all_sizes_that_one_may_have() -> None:
    pings = [frames.ping(random.Random(seed).randbytes) for seed in range(1000)]
    assert {len(each) - 1 for each in pings} == {*range(8, 33)} and {each[0] for each in pings} == {Frame.PING}
    for each in pings:
        frames.sized(each[1:], 8, 32, Frame.PING)
