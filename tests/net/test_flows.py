"""Flows: who sends datagrams gets answers, from where they were sent to, and silence and ends are seen."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.net.flows import Entry, Flows, Sender
from nitrosocks_lib.net.listener import DATAGRAM, bind, bind_all
from nitrosocks_lib.net.turns import Turns

BOUND = 20.0


class Running(ExitStack):
    """Flows with a thread. `far` are the ends that streams would carry, in the order in which they began."""

    def __init__(self, host: str = "127.0.0.1", most: int = 8, early: bytes = b"") -> None:
        """`early` comes from `first` before there is an entry."""
        super().__init__()
        self.turns = Turns()
        self.flows = Flows(self.turns, most)
        self.far: list[socket.socket] = []
        self.senders: list[Sender] = []
        self.open, self.came = True, threading.Event()
        self._came = threading.Condition()
        sock = bind(host, 0, kind=DATAGRAM)
        self.port = int(sock.getsockname()[1])
        if early:
            self.first = self.sender()
            self.first.send(early)
        self.entry = Entry(self.flows, sock, self._begin, self._is_open)
        self._thread = threading.Thread(target=self.turns.run)
        self._thread.start()
        self.callback(self._end)

    def _end(self) -> None:
        self.turns.stop()
        self._thread.join(BOUND)
        assert not self._thread.is_alive() and not self.flows.live
        self.turns.close()
        for far in self.far:
            far.close()

    def _is_open(self) -> bool:
        is_open = self.open
        self.came.set()
        return is_open

    def _begin(self, far: socket.socket, sender: Sender) -> None:
        with self._came:
            far.settimeout(BOUND)
            self.far.append(far)
            self.senders.append(sender)
            self._came.notify_all()

    def begun(self, count: int) -> socket.socket:
        """Waits for so many; the last of them."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.far) >= count, BOUND)
            return self.far[count - 1]

    def sender(self, host: str = "127.0.0.1") -> socket.socket:
        """Who sends to this address of the entry, and takes answers from there alone."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.settimeout(BOUND)
        sock.connect((host, self.port))
        return sock


def scarce(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.fixture
def running() -> Iterator[Running]:
    with Running() as made:
        yield made


def test_each_sender_is_a_flow_and_gets_its_own_answers(running: Running) -> None:
    senders = [running.sender() for _ in range(3)]
    for i, sender in enumerate(senders, 1):
        sender.send(b"%d" % i)
        assert running.begun(i).recv(100) == b"%d" % i
    for size in (1, 1_200, 65_507):
        for sender, far in zip(senders, running.far, strict=True):
            sender.send(bytes(size))
            assert far.recv(1 << 16) == bytes(size)
            far.send(bytes(size))
            assert sender.recv(1 << 16) == bytes(size)
    assert len(running.far) == 3 and [each.address for each in running.senders] == [s.getsockname() for s in senders]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_an_answer_comes_from_the_address_that_was_asked(host: str) -> None:
    with Running("") as running:  # all interfaces: a kernel would pick one of its addresses
        sender = running.sender(host)
        sender.send(b"asked")
        far = running.begun(1)
        far.send(b"answer")
        assert far.recv(100) == b"asked" and sender.recv(100) == b"answer"


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_who_sent_before_there_was_an_entry_is_the_same_sender_behind_it(host: str) -> None:
    with Running(host, early=b"early") as running:
        far = running.begun(1)
        running.first.send(b"late")
        assert (far.recv(100), far.recv(100)) == (b"early", b"late")
        far.send(b"answer")
        assert running.first.recv(100) == b"answer" and len(running.far) == 1


def test_a_stream_that_ended_gives_way_to_a_new_one(running: Running) -> None:
    sender = running.sender()
    sender.send(b"one")
    first = running.begun(1)
    assert first.recv(100) == b"one"
    first.shutdown(socket.SHUT_RD)  # END was sent, and none has come
    sender.send(b"two")
    second = running.begun(2)
    assert second.recv(100) == b"two"
    second.close()
    sender.send(b"three")
    assert running.begun(3).recv(100) == b"three"


def test_the_one_silent_longest_gives_way(running: Running) -> None:
    senders = [running.sender() for _ in range(9)]
    for i, sender in enumerate(senders[:8], 1):
        sender.send(b"one")
        assert running.begun(i).recv(100) == b"one"
    running.far[0].send(b"answer")
    assert senders[0].recv(100) == b"answer"  # now the second is
    senders[8].send(b"one")
    running.begun(9)
    assert running.far[1].recv(100) == b"" and len(running.flows.live) == 8
    senders[0].send(b"two")
    assert running.far[0].recv(100) == b"two"


def test_new_senders_wait_until_those_that_gave_way_are_over(running: Running) -> None:
    senders = [running.sender() for _ in range(10)]
    for i, sender in enumerate(senders[:9], 1):
        sender.send(b"one")
        assert running.begun(i).recv(100) == b"one"
    assert running.far[0].recv(100) == b"" and len(running.flows.ending) == 1
    senders[9].send(b"dropped")  # it would make one more end, and one of eight may
    senders[8].send(b"two")
    assert running.far[8].recv(100) == b"two" and len(running.far) == 9
    running.far[0].send(b"late")
    assert senders[0].recv(100) == b"late" and len(running.flows.live) == 8
    running.far[0].close()
    for _ in range(1_000):  # that it is over is seen in another turn
        senders[9].send(b"again")
        senders[8].send(b"next")
        running.far[8].recv(100)
        if len(running.far) == 10:
            break
    assert running.begun(10).recv(100) == b"again" and len(running.flows.live) == 8


def test_without_descriptors_it_is_said_once(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = running.sender()
    known.send(b"one")
    assert running.begun(1).recv(100) == b"one"
    monkeypatch.setattr(socket, "socketpair", scarce)
    for sender in (running.sender(), running.sender()):
        sender.send(b"dropped")
    known.send(b"two")
    assert running.far[0].recv(100) == b"two"
    assert caplog.messages == ["datagrams of new senders are dropped: Too many open files"]


def test_more_than_the_stream_takes_is_dropped_and_the_thread_goes_on(running: Running) -> None:
    sender, other = running.sender(), running.sender()
    sender.send(b"first")
    far = running.begun(1)
    for _ in range(200):
        sender.send(bytes(60_000))
    other.send(b"other")
    assert running.begun(2).recv(100) == b"other" and far.recv(100) == b"first"


def test_what_comes_while_it_is_not_open_is_dropped(running: Running) -> None:
    sender = running.sender()
    running.open = False
    sender.send(b"dropped")
    assert running.came.wait(BOUND)
    running.open = True
    sender.send(b"")
    sender.send(b"passed on")
    assert running.begun(1).recv(100) == b"passed on"


def test_two_programs_do_not_share_a_port() -> None:
    with bind("127.0.0.1", 0, kind=DATAGRAM) as sock, pytest.raises(CannotCreate, match="cannot listen on"):
        bind("127.0.0.1", sock.getsockname()[1], kind=DATAGRAM)


def test_all_addresses_of_a_name_have_one_port() -> None:
    socks = bind_all("localhost", 0, kind=DATAGRAM)
    assert len({sock.getsockname()[1] for sock in socks}) == 1 and all(s.type == socket.SOCK_DGRAM for s in socks)
    for sock in socks:
        sock.close()
