"""trace: at -vvv each frame has a line with its type and size and nothing else; without it, nothing is in the way."""

from __future__ import annotations

import logging

import pytest
from logged import here, messages

from nitrosocks_lib.crypto.schedule import CLIENT_TO_SERVER, FrameKeys, frame_keys
from nitrosocks_lib.crypto.seal import Opener, Sealer
from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.levels import FRAMES
from nitrosocks_lib.facts.wire import EncryptType, Frame
from nitrosocks_lib.session import trace


def keys() -> FrameKeys:
    return frame_keys(Secret(bytes(wire.HASH)), CLIENT_TO_SERVER, EncryptType.AES_256_GCM)


def carried(plain: bytes) -> bytes:
    """Through a sealer and an opener."""
    sealed, opened = memoryview(bytearray(1_000)), memoryview(bytearray(1_000))
    size = trace.sealer(keys()).seal(plain, sealed)
    opener = trace.opener(keys())
    assert opener.frame_size(sealed[: wire.LENGTH]) == size
    return bytes(opened[: opener.open(sealed[:size], opened)])


@pytest.mark.parametrize(("kind", "name"), [(Frame.DATA, "DATA"), (Frame.PING, "PING"), (0xEE, "of type 0xee")])
def test_a_frame_has_its_line(kind: int, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(FRAMES)
    assert carried(bytes([kind]) + b"secret") == bytes([kind]) + b"secret"
    assert messages(here(caplog)) == [f"sent {name}, 6 bytes", f"received {name}, 6 bytes"]
    assert {each.levelno for each in here(caplog)} == {FRAMES}


def test_who_does_not_ask_has_the_plain_ones(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert type(trace.sealer(keys())) is Sealer and type(trace.opener(keys())) is Opener
    assert carried(b"\x01secret") == b"\x01secret" and messages(here(caplog)) == []
