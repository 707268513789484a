"""dial where a server's name has several addresses: some dead, some that hang or fail in TLS (RFC 8305)."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from links import BOUND, Pairs, Threads
from loopback import unused_port
from targets import unanswering

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.connect import REMEMBERED, client_context, dial
from nitrosocks_lib.net.race import Remembered
from nitrosocks_lib.net.timers import now


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def names(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Every name has these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)


def call(port: int, seconds: float = BOUND, remembered: Remembered = REMEMBERED):
    return dial(("localhost", port), client_context(False), socket.AF_INET, seconds, remembered)


def test_a_dead_first_address_costs_little_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It swallows what comes. The second is tried beside it, and first from then on, by who uses the same memory."""
    monkeypatch.setattr(limits, "STAGGER", 0.01)
    known = Remembered()
    with Pairs() as pairs, unanswering() as dead:
        good = "127.0.0.1", pairs.port
        names(monkeypatch, dead, good)
        for _ in range(2):
            _, far = pairs.run(lambda: call(1, remembered=known).close(), pairs.accept)
            far.close()
            monkeypatch.setattr(limits, "STAGGER", 10 * BOUND)  # were it still the first, this would be too long
        places = [(socket.AF_INET, address) for address in (dead, good)]
        assert known.order("localhost", 1, places, now()) == places[::-1]
        assert REMEMBERED.order("localhost", 1, places, now()) == places


def test_tls_that_fails_at_one_address_goes_on_at_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once."""
    monkeypatch.setattr(limits, "STAGGER_TLS", 10 * BOUND)
    with Pairs() as pairs, listener() as web, Threads() as threads:

        def answer() -> None:
            with web.accept()[0] as sock:
                sock.recv(4_096)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threads.start(answer)
        names(monkeypatch, web.getsockname(), ("127.0.0.1", pairs.port))
        _, far = pairs.run(lambda: call(1).close(), pairs.accept)
        far.close()


def test_tls_that_hangs_at_one_address_gets_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """And may still be the one that is done."""
    monkeypatch.setattr(limits, "STAGGER_TLS", 0.01)
    with Pairs() as pairs, listener() as silent:
        names(monkeypatch, silent.getsockname(), ("127.0.0.1", pairs.port))
        _, far = pairs.run(lambda: call(1).close(), pairs.accept)
        far.close()
        names(monkeypatch, ("127.0.0.1", pairs.port), silent.getsockname())
        with ThreadPoolExecutor(1) as thread:
            near = thread.submit(call, 1)
            with silent.accept()[0]:  # so the first has not had an answer, and the second neither
                pairs.accept().close()
                near.result(BOUND).close()


def test_who_is_connected_gets_time_for_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next address is not bothered meanwhile."""
    monkeypatch.setattr(limits, "STAGGER", 0.0)
    with Pairs() as pairs, listener() as other:
        names(monkeypatch, ("127.0.0.1", pairs.port), other.getsockname())
        _, far = pairs.run(lambda: call(1).close(), pairs.accept)
        far.close()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_all_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, so it takes no longer than one."""
    monkeypatch.setattr(limits, "STAGGER_TLS", 0.01)
    with listener() as silent, unanswering() as dead:
        names(monkeypatch, dead, silent.getsockname())
        with pytest.raises(NetworkError) as failure:
            call(443, 0.5)
    assert "(127.0.0.1: no answer in time; 127.0.0.1: the TLS handshake timed out)" in str(failure.value)


def test_no_descriptor_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STAGGER", 0.01)
    monkeypatch.setattr(limits, "STAGGER_TLS", 0.01)
    with Pairs() as pairs, listener() as silent, unanswering() as dead:
        names(monkeypatch, dead, silent.getsockname(), ("127.0.0.1", pairs.port))
        before = len(os.listdir("/proc/self/fd"))
        _, far = pairs.run(lambda: call(1, remembered=Remembered()).close(), pairs.accept)
        far.close()
        names(monkeypatch, dead, silent.getsockname(), ("127.0.0.1", unused_port()))
        with pytest.raises(NetworkError):
            call(1, 0.2)
        assert len(os.listdir("/proc/self/fd")) <= before
