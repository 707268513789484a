"""Frames that are flipped, dropped, doubled, swapped, replayed, spliced or cut: each opens in its place, or not at all.

Over memory: what one side sealed, and the Opener of the other. What a session makes of it is in test_tampering.py.
"""

from __future__ import annotations

import random

import pytest
from replay import flipped

from nitrosocks_lib.crypto.schedule import CLIENT_TO_SERVER, SERVER_TO_CLIENT, frame_keys
from nitrosocks_lib.crypto.seal import Opener, Sealer
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import BadFrame
from nitrosocks_lib.facts.wire import EncryptType

ROOT, NEXT_ROOT, OTHER_ROOT = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
PLAINS = [bytes([0x20 + n]) + bytes([n]) * size for n, size in enumerate((8, 0, 40, 12, 300, 1, 40, 9))]
each_type = pytest.mark.parametrize("kind", EncryptType)


def sealed(root: bytes, kind: EncryptType, direction: bytes = CLIENT_TO_SERVER) -> list[bytes]:
    """The frames of these plaintexts, from the beginning of an epoch."""
    sealer, out = Sealer(frame_keys(root, direction, kind)), []
    for plain in PLAINS:
        frame = bytearray(len(plain) + wire.FRAME_OVERHEAD)
        assert sealer.seal(plain, memoryview(frame)) == len(frame)
        out.append(bytes(frame))
    return out


def opened(received: bytes, kind: EncryptType) -> tuple[list[bytes], bool]:
    """What a server's inbound half gets of these bytes, and whether they end the connection; else it waits for more."""
    opener, plains = Opener(frame_keys(ROOT, CLIENT_TO_SERVER, kind)), []
    view = memoryview(received)
    try:
        while len(view) >= wire.LENGTH and (size := opener.frame_size(view[: wire.LENGTH])) <= len(view):
            plain = bytearray(size)
            plains.append(bytes(plain[: opener.open(view[:size], memoryview(plain))]))
            view = view[size:]
    except BadFrame:
        return plains, True
    return plains, False


def ends(frames: list[bytes], kind: EncryptType, good: int) -> None:
    """The first `good` frames come, and nothing behind them: the connection ends, or waits for the rest of a frame."""
    plains, ended = opened(b"".join(frames), kind)
    assert plains == PLAINS[:good]
    assert ended or len(b"".join(frames[good:])) < wire.FRAME_MAX


@each_type
def test_in_their_order_they_open(kind: EncryptType) -> None:
    assert opened(b"".join(sealed(ROOT, kind)), kind) == (PLAINS, False)


@each_type
def test_a_flipped_bit(kind: EncryptType) -> None:
    """Every bit of every frame; behind it stands enough for any length that a flip could make."""
    frames, rest = sealed(ROOT, kind), random.Random(1).randbytes(wire.FRAME_MAX)
    for number, frame in enumerate(frames):
        for bit in range(len(frame) * 8):
            got, ended = opened(b"".join([*frames[:number], flipped(frame, bit), *frames[number + 1 :], rest]), kind)
            assert ended and got == PLAINS[:number], f"frame {number}, bit {bit}"


@each_type
def test_dropped_or_doubled(kind: EncryptType) -> None:
    frames = sealed(ROOT, kind)
    for at in range(len(frames)):
        ends(frames[:at] + frames[at + 1 :], kind, at)
        ends([*frames[: at + 1], *frames[at:]], kind, at + 1)


@each_type
def test_swapped(kind: EncryptType) -> None:
    frames = sealed(ROOT, kind)
    for one in range(len(frames)):
        for two in range(one + 1, len(frames)):
            changed = frames.copy()
            changed[one], changed[two] = frames[two], frames[one]
            ends(changed, kind, one)


@each_type
def test_replayed(kind: EncryptType) -> None:
    """A frame of another session, of the other direction, of the epoch before or behind, of the other encryptType."""
    frames, other_kind = sealed(ROOT, kind), next(each for each in EncryptType if each is not kind)
    foreign = [
        sealed(OTHER_ROOT, kind),
        sealed(NEXT_ROOT, kind),
        sealed(ROOT, kind, SERVER_TO_CLIENT),
        sealed(ROOT, other_kind),
    ]
    for others in foreign:
        for at, other in enumerate(others):
            ends([*frames[:at], other, *frames[at + 1 :]], kind, at)  # at its own number
            ends([*frames[:at], other, *frames[at:]], kind, at)


@each_type
def test_spliced(kind: EncryptType) -> None:
    """The head of one frame and the body, or the tag, of another."""
    frames, others = sealed(ROOT, kind), sealed(OTHER_ROOT, kind)
    for at, frame in enumerate(frames):
        for other in (*frames[:at], *frames[at + 1 :], *others):
            for border in (wire.LENGTH, len(frame) - wire.TAG):
                ends([*frames[:at], frame[:border] + other[border:], *frames[at + 1 :]], kind, at)


@each_type
def test_cut_short(kind: EncryptType) -> None:
    """What is whole comes; nothing of what is not."""
    stream, borders = b"".join(sealed(ROOT, kind)), [0]
    for plain in PLAINS:
        borders.append(borders[-1] + len(plain) + wire.FRAME_OVERHEAD)
    for size in range(len(stream)):
        whole = sum(border <= size for border in borders) - 1
        assert opened(stream[:size], kind) == (PLAINS[:whole], False)


@each_type
def test_an_epoch_ends_with_its_keys(kind: EncryptType) -> None:
    """Behind a refresh nothing under the old keys opens, in whatever place, and nothing new before it."""
    old, new = sealed(ROOT, kind), sealed(NEXT_ROOT, kind)
    for count in range(len(old)):
        opener = Opener(frame_keys(ROOT, CLIENT_TO_SERVER, kind))
        for number in range(count):
            plain = bytearray(len(old[number]))
            opener.open(memoryview(old[number]), memoryview(plain))
        opener.rekey(frame_keys(NEXT_ROOT, CLIENT_TO_SERVER, kind))
        for frame in old:
            with pytest.raises(BadFrame):
                fresh = Opener(frame_keys(NEXT_ROOT, CLIENT_TO_SERVER, kind))
                fresh.open(memoryview(frame), memoryview(bytearray(len(frame))))
        plain = bytearray(len(new[0]))
        assert bytes(plain[: opener.open(memoryview(new[0]), memoryview(plain))]) == PLAINS[0]
