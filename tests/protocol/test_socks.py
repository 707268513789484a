"""What both sides of SOCKS share: addresses, and the reader."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.protocol import socks
from nitrosocks_lib.protocol.socks import Reader


@pytest.mark.parametrize(
    ("host", "bytes_"),
    [("10.0.0.1", b"\1\x0a\0\0\1"), ("::1", b"\4" + bytes(15) + b"\1"), ("a", b"\3\1a"), ("ü", b"\3\x07xn--tda")],
)
def test_addresses(host: str, bytes_: bytes) -> None:
    assert socks.address(host) == bytes_


@pytest.mark.parametrize("host", ["", "a" * 256, "ü" * 99])
def test_what_is_no_address(host: str) -> None:
    with pytest.raises(NetworkError):
        socks.address(host)


def test_an_end_is_an_end_and_nothing_new_is_none() -> None:
    with pytest.raises(NetworkError):
        (taking := Reader().take(1)).send(None), taking.send(b"")
    early = Reader(early=True)
    taking = early.take(1)
    assert [next(taking), taking.send(b"")] == [b"", b""]
    with pytest.raises(StopIteration) as ended:
        taking.send(b"xy")
    assert (ended.value.value, early.held) == (b"x", b"y")


def test_what_is_sent_goes_out_before_more_is_taken() -> None:
    reader = Reader(early=True)
    reader.held = b"abc"
    reader.send(b"hello")
    taking = reader.see(2)
    assert next(taking) == b"hello"
    with pytest.raises(StopIteration) as ended:
        taking.send(b"")
    assert (ended.value.value, reader.held) == (b"ab", b"abc")
