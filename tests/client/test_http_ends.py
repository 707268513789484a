"""How a carrier http of a client ends, and what it is bounded by; tests/client/test_http.py is what it carries."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest
from carrying import BOUND, FIRST, end_of, exchange, world
from links import Threads, receive, send
from spoiling import PORTAL, Carrier, Spoil

from nitrosocks_lib.client import exchanges as module
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now

SIZE = 3 << 20

# -- ends -------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_fails_as_a_dial_does() -> None:
    with world() as here:
        here.server.unplug()
        with pytest.raises(NetworkError, match="cannot reach 127.0.0.1"):
            here.open()


def test_a_server_that_goes_ends_the_carrier() -> None:
    with world() as here:
        link, _ = here.begin()
        here.server.unplug()
        end_of(link)
        link.close()


def test_connections_that_are_cut_do_not_end_it() -> None:
    with world() as here:
        link, carrier = here.begin()
        for sock in list(here.server.socks):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        exchange(link, carrier, SIZE)
        link.close()


def test_what_fails_four_times_ends_the_carrier() -> None:
    with world() as here:
        link, carrier = here.begin()
        begun = here.server.requests
        here.server.spoil = Spoil(lambda _: True, answer=PORTAL)
        send(link, b"key", 1)
        end_of(link)
        assert begun < here.server.requests <= begun + 4 + 4 * limits.DOWNS
        assert not carrier.received
        link.close()


def test_a_web_server_that_answers_up_0_is_heard_as_on_raw() -> None:
    decoy = b"HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 4\r\n\r\nnope"
    with world(Spoil(lambda _: True, answer=decoy)) as here:
        link = here.open()
        send(link, os.urandom(FIRST), 1)
        assert end_of(link) == decoy[:-4]
        assert here.server.requests == 4
        link.close()


def test_the_servers_end_comes_behind_its_last_byte() -> None:
    with world() as here:
        link, carrier = here.begin()
        data = os.urandom(SIZE)
        carrier.send(data)
        carrier.finish()
        assert receive(link, SIZE, 1) == data
        assert end_of(link) == b""
        link.close()


def test_what_the_session_said_last_arrives_and_answers_still_come() -> None:
    with world() as here:
        link, carrier = here.begin()
        data = os.urandom(SIZE)
        send(link, data, 1)
        with Threads() as threads:
            threads.start(link.say_goodbye, now() + BOUND)
            carrier.wait(lambda: carrier.ended)
            carrier.finish()
        assert bytes(carrier.received) == data
        link.close()


def test_a_session_that_closes_at_once_leaves_nothing_behind() -> None:
    with world() as here:
        link, carrier = here.begin()
        send(link, b"the last words", 1)
        link.close()
        carrier.wait(lambda: carrier.ended)
        assert bytes(carrier.received) == b"the last words"
        here.server.wait(lambda: not here.server.socks)


def test_a_session_that_aborts_before_it_began_asks_for_nothing() -> None:
    with world() as here:
        link = here.open()
        send(link, b"half a knock", 1)
        link.abort()
        end_of(link)
        link.close()
        assert not here.server.requests


def test_an_end_that_nobody_answers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELEASE", 0.2)
    with world() as here:
        link, _ = here.begin()
        here.server.spoil = Spoil(lambda _: True, "mute")
        link.say_goodbye(now() + BOUND)
        end_of(link)
        link.close()


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_who_does_not_read_is_not_asked_for_more() -> None:
    with world() as here:
        link, carrier = here.begin()
        data = os.urandom(12 << 20)
        carrier.send(data)
        for count in range(1, 100):  # it goes on being answered meanwhile
            send(link, b"k", count)
            carrier.wait(lambda count=count: len(carrier.received) == count)
        assert carrier.next_down <= 8, "4 MiB: what the pipe and the carrier hold"
        assert receive(link, len(data), 1) == data
        link.close()


def test_a_request_without_an_answer_is_repeated_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UP_ANSWER", 0.2)
    monkeypatch.setattr(limits, "DOWN_ANSWER", 0.4)
    with world(Spoil(lambda number: number % 5 == 0, "mute")) as here:
        link, carrier = here.begin()
        exchange(link, carrier, SIZE)
        link.close()


def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXCHANGE_IDLE", 0.1)
    monkeypatch.setattr(limits, "EXCHANGE_UNUSED", 0.1)
    with world() as here:
        link, carrier = here.begin()
        exchange(link, carrier, SIZE)
        here.server.wait(lambda: len(here.server.socks) == limits.DOWNS)
        exchange(link, carrier, SIZE)
        link.close()


def test_a_fault_in_one_carrier_does_not_touch_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> int:
        raise ZeroDivisionError

    with world() as here:
        link, carrier = here.begin()
        broken = here.open(fault)
        send(broken, os.urandom(FIRST), 1)
        end_of(broken)
        broken.close()
        exchange(link, carrier, SIZE)
        link.close()
    assert "the http carrier failed" in caplog.text


def test_threads_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("can't start new thread")

    with world() as here:
        link, carrier = here.begin()
        monkeypatch.setattr(module, "threading", SimpleNamespace(Thread=fail))
        for _ in range(20):
            exchange_alone(link, carrier)
        monkeypatch.undo()
        link.close()


def exchange_alone(link: Link, carrier: Carrier) -> None:
    """Both ways, without a thread."""
    send(link, b"key", 1)
    carrier.wait(lambda: bytes(carrier.received) == b"key")
    carrier.received.clear()
    carrier.send(b"echo")
    assert link.read_exactly(4, now() + BOUND) == b"echo"


def test_after_the_end_nothing_is_opened() -> None:
    with world() as here:
        here.http.stop()
        with pytest.raises(NetworkError):
            here.open()
        here.http = type(here.http)()
