"""Direct: targets are dialled from here without a wait, and who asked is led there, or told why not."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from loopback import read_all, read_exactly, reset, unused_port

from nitrosocks_lib.client import direct as module
from nitrosocks_lib.client.direct import Anywhere, Direct
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.net.sockets import tcp_pair
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.session.dials import Reach
from nitrosocks_lib.session.resolvers import Resolvers
from nitrosocks_lib.session.streams import Request

BOUND = 20.0
V4 = socket.AF_INET


class Led(ExitStack):
    """A Direct whose names are found by `find`, which waits for `found` where a name is "slow"."""

    def __init__(self) -> None:
        super().__init__()
        self.found, self.asked = threading.Event(), threading.Event()
        self.failed: queue.Queue[tuple[int, str]] = queue.Queue()
        self.direct = Direct(Reach(Resolvers(self.find)))
        self.callback(self.direct.stop)
        self.callback(self.found.set)

    def find(self, host: str, port: int) -> list[Place]:
        self.asked.set()
        if host == "slow":
            self.found.wait(BOUND)
        if host == "nowhere":
            raise OSError("no such name")
        return [(V4, ("127.0.0.1", port))]

    def open(self, host: str, port: int, early: bytes = b"") -> socket.socket:
        """What asks for a target; `failed` hears why it is not led there."""
        near, far = tcp_pair()
        near.settimeout(BOUND)
        self.callback(near.close)
        self.direct.open(Target(Kind.TCP, host, port), far, Request(early, opened, self.fail))
        return near

    def fail(self, local: socket.socket, code: int, reason: str) -> None:
        local.close()
        self.failed.put((code, reason))


def opened(at: Address) -> bytes:
    return f"{at.host} {at.port}\n".encode()


@pytest.fixture
def led() -> Iterator[Led]:
    with Led() as made:
        yield made


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(BOUND)
        yield made


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "name"])
def test_it_is_told_then_led(led: Led, listener: socket.socket, host: str) -> None:
    near = led.open(host, port_of(listener), b"early")
    with listener.accept()[0] as far:
        far.sendall(b"answer")
        told = b"127.0.0.1 %d\nanswer" % port_of(listener)
        assert read_exactly(near, len(told)) == told
        near.shutdown(socket.SHUT_WR)
        assert read_all(far) == b"early"
    assert near.recv(1) == b""


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", Reply.CONNECTION_REFUSED), ("nowhere", 4)])
def test_it_is_told_why_not(led: Led, host: str, code: int, caplog: pytest.LogCaptureFixture) -> None:
    near = led.open(host, unused_port())
    assert led.failed.get(timeout=BOUND)[0] == code
    assert near.recv(1) == b""
    assert "an application at the server's side: " in caplog.text


def test_a_slow_name_keeps_nobody_waiting(led: Led, listener: socket.socket) -> None:
    slow = led.open("slow", port_of(listener))
    assert led.asked.wait(BOUND)
    quick = led.open("127.0.0.1", port_of(listener))
    assert read_exactly(quick, 5) == b"127.0"
    led.found.set()
    assert read_exactly(slow, 5) == b"127.0"


def test_who_leaves_meanwhile_is_given_up(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.02)
    near = led.open("slow", 1)
    assert led.asked.wait(BOUND)
    reset(near)
    emptied = threading.Event()

    def look() -> None:
        if led.direct._asked:
            threading.Timer(0.01, lambda: led.direct._turns.call(look)).start()
        else:
            emptied.set()

    led.direct._turns.call(look)
    assert emptied.wait(BOUND)
    assert not led.direct._turns.live - {led.direct}


def test_who_left_before_the_target_was_there(led: Led, listener: socket.socket) -> None:
    """It is noticed with the answer at the latest, and the target is reset."""
    near = led.open("slow", port_of(listener))
    assert led.asked.wait(BOUND)
    reset(near)
    led.found.set()
    with listener.accept()[0] as far:
        far.settimeout(BOUND)
        with pytest.raises(ConnectionResetError):
            far.recv(1)


def test_too_many_are_refused(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS", 1)
    led.open("slow", 1)
    assert led.asked.wait(BOUND)
    led.open("slow", 1)
    assert led.failed.get(timeout=BOUND) == (Reply.GENERAL, "too many targets are being dialled")


def test_a_target_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIAL_TARGET", 0.05)
    with Led() as led:
        near = led.open("slow", 1)
        assert led.failed.get(timeout=BOUND)[0] == Reply.EXPIRED
        assert near.recv(1) == b""


def test_stopping_ends_what_waits_and_takes_nothing_more(led: Led) -> None:
    near = led.open("slow", 1)
    assert led.asked.wait(BOUND)
    led.direct.stop()
    assert near.recv(1) == b""
    assert led.open("127.0.0.1", 1).recv(1) == b""
    led.found.set()  # a name that is found behind the end is nobody's


def test_a_fault_costs_one(
    led: Led, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    near = led.open("127.0.0.1", port_of(listener))
    told = b"127.0.0.1 %d\n" % port_of(listener)

    def spoilt(*_: object) -> None:
        raise RuntimeError("spoilt")

    with listener.accept()[0] as far:
        far.sendall(b"led")
        assert read_exactly(near, len(told) + 3) == told + b"led"
        with monkeypatch.context() as patch:
            patch.setattr(module, "Splice", spoilt)
            assert read_all(led.open("name", port_of(listener))) == b""
        with listener.accept()[0] as spoilt_far, pytest.raises(ConnectionResetError):
            spoilt_far.settimeout(BOUND)
            spoilt_far.recv(1)
        far.sendall(b"goes on")
        assert read_exactly(near, 7) == b"goes on"
    assert "internal error" in caplog.text


def test_anywhere() -> None:
    assert Anywhere(Target(Kind.UNIX, "/run/a.sock", 0)).place() == [(socket.AF_UNIX, b"/run/a.sock")]
    assert Anywhere(Target(Kind.TCP, "127.0.0.1", 1)).place() == [(V4, ("127.0.0.1", 1))]
    assert Anywhere(Target(Kind.TCP, "name", 1)).place() is None
