"""TlsLink: two threads on one TLS connection, wakes and ends; nothing ever leaves it outside TLS."""

from __future__ import annotations

import math
import os
import select
import sys

import pytest
from links import BOUND, Pairs, Threads, each_version, exchange, fill, receive, send

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait

SHORT = 1_500  # connections of each TLS version


@each_version
def test_thousands_of_short_full_duplex_connections(version: str) -> None:
    with Pairs(version) as pairs:
        for seed in range(SHORT):
            near, far = pairs.run(pairs.dial, pairs.accept)
            try:
                exchange(pairs, near, far, seed)
            finally:
                near.close()
                far.close()


@each_version
def test_full_kernel_buffers_in_both_directions(version: str) -> None:
    with Pairs(version, buffer=4_096) as pairs:
        near, far = pairs.make()
        up, down = os.urandom(1 << 20), os.urandom(1 << 20)
        got = pairs.run(
            lambda: send(near, up, 1),
            lambda: send(far, down, 2),
            lambda: receive(far, len(up), 3),
            lambda: receive(near, len(down), 4),
        )
        assert got[2:] == [up, down]


# -- would-block ------------------------------------------------------------------------------------------------------


@each_version
def test_a_write_that_would_block_goes_on_with_the_same_bytes(version: str) -> None:
    data = os.urandom(32 << 20)
    with Pairs(version) as pairs, Threads() as threads:
        near, far = pairs.make()
        at = fill(near, data)
        assert near.write_some(memoryview(data)[at : at + 65_536]) == 0, "and again"
        assert near.write_wants == select.POLLOUT
        got: list[bytes] = []
        threads.start(lambda: got.append(receive(far, len(data), 5)))
        near.write_all(data[at:], now() + BOUND)
        threads.join()
        assert got == [data]


def test_other_bytes_after_a_would_block_end_the_connection() -> None:
    with Pairs() as pairs:
        near, _ = pairs.make()
        fill(near, bytes(32 << 20))
        with pytest.raises(NetworkError, match="BAD_LENGTH"):
            near.write_some(memoryview(b"an ACK, too soon"))


def test_reading_goes_on_while_a_write_is_blocked() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        fill(near, bytes(32 << 20))
        far.write_all(b"still here", now() + BOUND)
        assert near.read_exactly(10, now() + BOUND) == b"still here"


def test_a_read_without_data_says_what_to_poll_for() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        room = memoryview(bytearray(100))
        assert near.read_some(room) == 0 and near.read_wants == select.POLLIN
        far.write_all(b"12345", now() + BOUND)
        assert wait({near.fd: near.read_wants}, BOUND)
        assert near.read_some(room, 5) == 5 and bytes(room[:5]) == b"12345"


def test_enough_reads_over_the_ends_of_records() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        far.write_all(bytes(16_384), now() + BOUND)
        far.write_all(bytes(16_384), now() + BOUND)
        got, room = 0, memoryview(bytearray(40_000))
        while (got := got + near.read_some(room[got:], 32_768 - got)) < 32_768:
            assert wait({near.fd: near.read_wants}, BOUND)


def test_the_certificate_of_the_peer() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        assert len(near.certificate()) > 100 and any(near.certificate_hash())
        assert far.certificate() == b"" and far.certificate_hash() == bytes(32)
        assert near.fd != far.fd


def test_the_kernel_tells_when_the_last_byte_came() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        send(far, b"x", 1)
        receive(near, 1, 2)
        told = near.silent()
        assert 0 <= told < BOUND or (sys.platform != "linux" and told == math.inf)
        near.close()
        assert near.silent() == math.inf
