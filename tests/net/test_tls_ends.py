"""TlsLink: how a connection ends for both threads and for the peer; no byte ever leaves outside TLS."""

from __future__ import annotations

import os
import select
import struct
import threading

import pytest
from faultproxy import FaultProxy
from keyupdate import Flood, library
from links import BOUND, Pairs, Threads, each_version, exchange, fill, receive

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait


def blocked(link: Link, events: int, threads: Threads, call) -> threading.Event:
    """A thread that waits on the link as the pair does; the event is set when it has found the end."""
    waits, ended = threading.Event(), threading.Event()

    def body() -> None:
        with pytest.raises(NetworkError):
            while True:
                if not call():
                    waits.set()
                    assert wait({link.fd: events}, BOUND)
        ended.set()

    threads.start(body)
    assert waits.wait(BOUND)
    return ended


@each_version
def test_abort_by_a_third_thread_wakes_both(version: str) -> None:
    with Pairs(version) as pairs, Threads() as threads:
        near, _ = pairs.make()
        rest = memoryview(bytes(64 << 20))[fill(near, bytes(64 << 20)) :]
        room = memoryview(bytearray(100))
        ends = [
            blocked(near, select.POLLIN, threads, lambda: near.read_some(room)),
            blocked(near, select.POLLOUT, threads, lambda: near.write_some(rest)),
        ]
        near.abort()
        assert all(end.wait(BOUND) for end in ends)
        near.abort()  # again, and after the end
        threads.join()
        near.close()
        near.abort()


@each_version
def test_what_is_broken_off_brings_nothing_more_though_it_is_there(version: str) -> None:
    with Pairs(version) as pairs:
        near, far = pairs.make()
        near.write_all(bytes(50_000), now() + BOUND)
        assert wait({far.fd: select.POLLIN}, BOUND)
        far.break_off()
        with pytest.raises(NetworkError):
            while True:
                assert not far.read_some(memoryview(bytearray(100)))


@pytest.mark.skipif(library() is None, reason="this Python's OpenSSL cannot be called")
def test_a_goodbye_ends_though_records_without_data_come_all_the_while() -> None:
    """OpenSSL looks for the peer's goodbye behind them."""
    stop, made = threading.Event(), threading.Event()

    def run() -> None:
        with Flood(pairs.port) as flood:
            made.set()
            while not stop.is_set() and flood.send():
                pass

    with Pairs() as pairs, Threads() as threads:
        threads.start(run)
        far = pairs.accept()
        try:
            assert made.wait(BOUND) and wait({far.fd: select.POLLIN}, BOUND)
            far.close(now() + 0.1)
        finally:
            stop.set()


ENDS = {
    "close": lambda link: link.close(),
    "close with goodbye": lambda link: link.close(now() + 0.1),
    "abort": lambda link: link.abort(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@each_version
def test_every_end_of_the_peer_is_a_network_error(version: str, end) -> None:
    with Pairs(version) as pairs:
        near, far = pairs.make()
        end(far)
        with pytest.raises(NetworkError, match="the connection (ended|broke)"):
            near.read_exactly(1, now() + BOUND)


def test_calls_after_close_are_network_errors() -> None:
    with Pairs() as pairs:
        near, _ = pairs.make()
        near.close()
        for call in (
            lambda: near.read_exactly(1, now() + BOUND),
            lambda: near.read_first(now() + BOUND),
            lambda: near.write_all(b"x", now() + BOUND),
        ):
            with pytest.raises(NetworkError, match="the connection ended"):
                call()


@each_version
def test_a_goodbye_loses_nothing_at_the_peer(version: str) -> None:
    """Unread bytes at a close make the kernel send RST, which drops what the peer has not read."""
    last = os.urandom(200_000)
    with Pairs(version) as pairs, Threads() as threads:
        near, far = pairs.make()
        far.write_all(bytes(300_000), now() + BOUND)  # nobody reads it
        near.write_all(last, now() + BOUND)
        threads.start(near.close, now() + BOUND)
        assert receive(far, len(last), 6) == last
        with pytest.raises(NetworkError):
            far.read_exactly(1, now() + BOUND)
        far.close()


def test_a_goodbye_to_a_peer_that_stays_ends_in_time() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        near.close(now() + 0.05)
        assert near.fd >= 0
        with pytest.raises(NetworkError):
            far.read_exactly(1, now() + BOUND)


# -- on the wire ------------------------------------------------------------------------------------------------------


def check_records(data: bytes, cut: bool) -> int:
    """Asserts that all of it is TLS records, the last one not whole only if `cut`; how many carry data."""
    at, carry = 0, 0
    while at + 5 <= len(data):
        kind, version, size = struct.unpack_from(">BHH", data, at)
        assert 20 <= kind <= 23 and version in (0x0301, 0x0303) and size <= limits.FIRST_READ + 2_048, f"at {at}"
        carry += kind == 23
        at += 5 + size
    assert at == len(data) or (cut and at > len(data) - 5 - limits.FIRST_READ - 2_048)
    return carry


@pytest.mark.parametrize("end", [*ENDS, "abort while both write"])
@each_version
def test_no_byte_leaves_outside_tls(version: str, end: str) -> None:
    with Pairs(version) as pairs, FaultProxy(("127.0.0.1", pairs.port), keep=8 << 20) as proxy:
        near, far = pairs.make(via=proxy.port)
        exchange(pairs, near, far, 7)
        if end in ENDS:
            pairs.run(lambda: ENDS[end](near), lambda: ENDS[end](far))
        else:
            pairs.run(
                lambda: write_on(near), lambda: write_on(far), lambda: read_on(near), lambda: read_on(far),
                lambda: proxy.wait(lambda: proxy.bytes_up > 1 << 20) and near.abort(),
            )  # fmt: skip
        near.close()
        far.close()
        proxy.wait(lambda: proxy.live == 0)
        recorded = proxy.recorded[0]
        assert check_records(bytes(recorded.up[: proxy.keep]), True) and check_records(bytes(recorded.down), True)


def write_on(link: Link) -> None:
    with pytest.raises(NetworkError):
        while True:
            link.write_all(os.urandom(20_000), now() + BOUND)


def read_on(link: Link) -> None:
    room = memoryview(bytearray(40_000))
    with pytest.raises(NetworkError):
        while True:
            if not link.read_some(room):
                wait({link.fd: link.read_wants}, BOUND)
