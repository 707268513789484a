"""Secrets are overwritten where they are, when they are over."""

import ctypes
import os

import pytest

from nitrosocks_lib.crypto.secret import Secret, joined, overwrite_freed, wipe


def place(secret: bytearray) -> tuple[int, int]:
    """Where its bytes are in memory, and how many."""
    return ctypes.addressof(ctypes.c_char.from_buffer(secret)), len(secret)


@pytest.mark.parametrize("size", [1, 2, 32, 96, 5000])
def test_a_secret_is_overwritten_before_its_memory_is_freed(size: int) -> None:
    seen = []

    class Watched(Secret):
        def __del__(self) -> None:
            where = place(self)
            super().__del__()
            seen.append(ctypes.string_at(*where))

    secret = Watched(b"\xff" * size)
    again = secret
    del secret
    assert again == b"\xff" * size and not seen, "it is still in use"
    del again
    assert seen == [bytes(size)]


def test_a_view_keeps_a_secret() -> None:
    view = memoryview(Secret(b"\xff" * 32))[8:16]
    assert view == b"\xff" * 8


def test_what_is_taken_over_is_wiped() -> None:
    source = os.urandom(32)
    copy = bytearray(source)
    assert Secret.taken(source) == copy
    assert source == bytes(32)


@pytest.mark.parametrize("size", [0, 1])
def test_bytes_that_the_interpreter_shares_stay(size: int) -> None:
    wipe(b"\xff" * size)
    assert bytes([255]) == b"\xff" and len(b"") == 0


def test_only_bytes_are_wiped() -> None:
    """Another object has something else where its bytes would be."""
    other = bytearray(b"\xff" * 32)
    assert Secret.taken(other) == other == b"\xff" * 32  # type: ignore[arg-type]


def test_joined() -> None:
    assert joined() == b""
    whole = joined(b"ab", Secret(b"cd"), b"", bytearray(b"e"))
    assert whole == b"abcde" and isinstance(whole, Secret)


def test_what_a_library_freed_is_overwritten() -> None:
    """As HPKE leaves its keys: many, made and freed in a library, of which nobody is told."""
    keys = [os.urandom(32) for _ in range(8)]
    copies, places = [bytearray(key) for key in keys], [id(key) + bytes.__basicsize__ - 1 for key in keys]
    del keys
    overwrite_freed()
    for copy, where in zip(copies, places, strict=True):
        left = ctypes.string_at(where, 32)
        assert left[:16] != copy[:16] and left[16:] != copy[16:]
