"""crypto/seal: recorded frames, frames that must not open, sizes, buffers, worn-out keys (protocol 4)."""

from hashlib import sha256

import pytest
from recorded import VECTORS, each_run, raw

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.schedule import CLIENT_TO_SERVER, SERVER_TO_CLIENT, FrameKeys
from nitrosocks_lib.crypto.seal import Opener, Sealer
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import BadFrame
from nitrosocks_lib.facts.wire import EncryptType

KEYS, OTHER_KEYS = (schedule.frame_keys(bytes([n]) * 32, b"c2s", EncryptType.AES_256_GCM) for n in (1, 2))
MUST_NOT_OPEN = VECTORS["frames_that_must_not_open"]


def seal(sealer: Sealer, plain: bytes) -> bytes:
    out = bytearray(wire.FRAME_MAX)
    return bytes(out[: sealer.seal(plain, memoryview(out))])


def open_(opener: Opener, frame: bytes) -> bytes:
    """As a link does: the size from the first three bytes, then the whole frame."""
    size = opener.frame_size(frame[: wire.LENGTH])
    assert size <= len(frame), "incomplete"
    out = bytearray(wire.PLAIN_MAX)
    return bytes(out[: opener.open(memoryview(frame)[:size], memoryview(out))])


# Recorded frames


def plaintext(frame: dict) -> bytes:
    return b"\x13" + bytes(65_536) if " " in frame["plaintext"] else raw(frame["plaintext"])


@each_run
@pytest.mark.parametrize("direction", [CLIENT_TO_SERVER, SERVER_TO_CLIENT])
def test_recorded_frames(run: dict, direction: bytes) -> None:
    keys = schedule.frame_keys(raw(run["RK"]), direction, EncryptType(run["encryptType"]))
    sealer, opener = Sealer(keys), Opener(keys)
    for frame in run[f"frames_{direction.decode()}"]:
        while sealer.count < frame["i"]:
            open_(opener, seal(sealer, b"dummy"))
        sealed = seal(sealer, plaintext(frame))
        assert sha256(sealed).hexdigest() == frame["wire_sha256"], frame["i"]
        assert frame["wire"] in (None, sealed.hex())
        assert open_(opener, sealed) == plaintext(frame)
    assert sealer.count == opener.count == 301


def opener_of_bad_frames() -> Opener:
    direction, encrypt_type = MUST_NOT_OPEN["direction"].encode(), EncryptType(MUST_NOT_OPEN["encryptType"])
    return Opener(schedule.frame_keys(raw(MUST_NOT_OPEN["RK"]), direction, encrypt_type))


def test_the_frame_from_which_bad_ones_were_made_opens() -> None:
    assert len(open_(opener_of_bad_frames(), raw(MUST_NOT_OPEN["good"]))) == 6


@pytest.mark.parametrize("bad", MUST_NOT_OPEN["bad"], ids=lambda bad: bad["why"])
def test_frames_that_must_not_open(bad: dict) -> None:
    opener, frame = opener_of_bad_frames(), raw(bad["wire"])
    error = {"tag": (BadFrame, "open"), "length": (BadFrame, "length"), "incomplete": (AssertionError, "incomplete")}
    with pytest.raises(error[bad["expect"]][0], match=error[bad["expect"]][1]):
        open_(opener, frame)
    assert opener.count == 0


# Sizes and buffers


@pytest.mark.parametrize("encrypt_type", EncryptType)
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 4096, 65_535, 65_536, 65_537])
def test_all_sizes(encrypt_type: EncryptType, size: int) -> None:
    keys = schedule.frame_keys(bytes(32), b"s2c", encrypt_type)
    sealer, opener, plain = Sealer(keys), Opener(keys), bytes(range(256)) * 257
    for _ in range(3):
        frame = seal(sealer, plain[:size])
        assert len(frame) == size + wire.FRAME_OVERHEAD
        assert open_(opener, frame) == plain[:size]
    assert (sealer.volume, opener.volume) == (3 * size, 3 * size)


@pytest.mark.parametrize("size", [0, wire.PLAIN_MAX + 1, (1 << 24) - 1])
@pytest.mark.parametrize("frames", [0, 1, 255, 256])
def test_a_length_out_of_range_is_a_bad_frame(size: int, frames: int) -> None:
    sealer, opener = Sealer(KEYS), Opener(KEYS)
    for _ in range(frames):
        open_(opener, seal(sealer, b"."))
    mask = int.from_bytes(seal(sealer, b".")[: wire.LENGTH], "big") ^ 1
    head = (size ^ mask).to_bytes(wire.LENGTH, "big")
    with pytest.raises(BadFrame, match="length"):
        opener.frame_size(head)


@pytest.mark.parametrize("size", [1, 2, wire.PLAIN_MAX])
def test_frame_size_may_be_asked_again(size: int) -> None:
    opener = Opener(KEYS)
    frame = seal(Sealer(KEYS), bytes(size))
    for kind in (bytes, bytearray, memoryview):
        assert opener.frame_size(kind(frame[: wire.LENGTH])) == len(frame)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_seal_and_open_touch_their_part_of_a_buffer_only(kind: type) -> None:
    out, back = bytearray(b"#" * 64), bytearray(b"#" * 64)
    size = Sealer(KEYS).seal(kind(b"payload"), memoryview(out)[8:])
    assert size == len(b"payload") + wire.FRAME_OVERHEAD
    assert out[:8] == b"#" * 8
    assert out[8 + size :] == b"#" * (56 - size)
    assert Opener(KEYS).open(memoryview(out)[8 : 8 + size], memoryview(back)[8:]) == len(b"payload")
    assert back == b"#" * 8 + b"payload" + b"#" * 49


@pytest.mark.parametrize("missing", [1, 10])
def test_a_buffer_too_small_uses_up_no_nonce(missing: int) -> None:
    sealer, opener = Sealer(KEYS), Opener(KEYS)
    with pytest.raises(ValueError, match="buffer"):
        sealer.seal(b"payload", memoryview(bytearray(7 + wire.FRAME_OVERHEAD - missing)))
    frame = seal(sealer, b"payload")
    with pytest.raises(ValueError, match="buffer"):
        opener.open(memoryview(frame), memoryview(bytearray(7))[missing:])
    assert sealer.count == 1
    assert open_(opener, frame) == b"payload"


# Counters


@pytest.mark.parametrize("at", [3, 9, -1])
def test_a_changed_byte_does_not_open(at: int) -> None:
    frame, opener = bytearray(seal(Sealer(KEYS), b"payload")), Opener(KEYS)
    frame[at] ^= 1
    with pytest.raises(BadFrame):
        opener.open(memoryview(frame), memoryview(bytearray(7)))
    assert (opener.count, opener.volume) == (0, 0)


@pytest.mark.parametrize("order", [(1,), (0, 0), (0, 2), (0, 1, 0)], ids=str)
def test_frames_open_in_their_order_and_once(order: tuple[int, ...]) -> None:
    sealer, opener = Sealer(KEYS), Opener(KEYS)
    frames = [seal(sealer, b"payload") for _ in range(3)]
    assert len(set(frames)) == 3
    out = memoryview(bytearray(7))
    for number in order[:-1]:
        opener.open(memoryview(frames[number]), out)
    with pytest.raises(BadFrame):
        opener.open(memoryview(frames[order[-1]]), out)


@pytest.mark.parametrize("part", ["key", "iv"])
def test_another_key_or_iv_does_not_open(part: str) -> None:
    parts = {name: getattr(KEYS, name) for name in ("key", "iv", "mask")} | {part: getattr(OTHER_KEYS, part)}
    with pytest.raises(BadFrame, match="open"):
        open_(Opener(FrameKeys(**parts)), seal(Sealer(KEYS), b"payload"))


def test_a_new_key_starts_anew() -> None:
    sealer, opener = Sealer(KEYS), Opener(KEYS)
    for keys in (OTHER_KEYS, KEYS):
        for _ in range(300):
            assert open_(opener, seal(sealer, b"old")) == b"old"
        sealer.rekey(keys)
        assert (sealer.count, sealer.volume) == (0, 0)
        with pytest.raises(BadFrame):
            open_(opener, seal(sealer, b"new"))
        opener.rekey(keys)
        sealer.rekey(keys)
        assert seal(sealer, b"new") == seal(Sealer(keys), b"new")
        assert open_(opener, seal(Sealer(keys), b"new")) == b"new"


# Worn-out keys

WORN_OUT = [("count", limits.KEY_FRAMES), ("volume", limits.KEY_BYTES)]


def test_the_limits_are_those_of_the_page() -> None:
    assert WORN_OUT == [("count", 2**22), ("volume", 64 * 2**30)]


@pytest.mark.parametrize(("counter", "limit"), WORN_OUT)
def test_a_key_wears_out(counter: str, limit: int) -> None:
    """One frame below the limit goes through; behind it the key neither seals nor opens, and leaves no trace."""
    sealer, opener = Sealer(KEYS), Opener(KEYS)
    frame = seal(Sealer(KEYS), b"x")
    for direction in (sealer, opener):
        setattr(direction, counter, limit)
    out = bytearray(32)
    with pytest.raises(BadFrame, match="worn out"):
        sealer.seal(b"x", memoryview(out))
    assert out == bytes(32)
    with pytest.raises(BadFrame, match="worn out"):
        opener.open(memoryview(frame), memoryview(out))


@pytest.mark.parametrize(("counter", "limit"), WORN_OUT)
def test_the_last_frame_of_a_key(counter: str, limit: int) -> None:
    sealer, opener = Sealer(KEYS), Opener(KEYS)
    for direction in (sealer, opener):
        setattr(direction, counter, limit - 1)
    out, back = memoryview(bytearray(20)), memoryview(bytearray(1))
    assert opener.open(out[: sealer.seal(b"x", out)], back) == 1
    assert bytes(back) == b"x"
    for seal_or_open in (lambda: sealer.seal(b"x", out), lambda: opener.open(out, back)):
        with pytest.raises(BadFrame, match="worn out"):
            seal_or_open()


def test_a_new_key_is_not_worn_out() -> None:
    sealer = Sealer(KEYS)
    sealer.count, sealer.volume = limits.KEY_FRAMES, limits.KEY_BYTES
    sealer.rekey(OTHER_KEYS)
    assert seal(sealer, b"x") == seal(Sealer(OTHER_KEYS), b"x")
