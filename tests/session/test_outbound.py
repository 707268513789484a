"""Outbound: who sends an ACK, and when it may not leave from inbound; the rest of it is in test_tunnel.py."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

import pytest
from links import BOUND, Pairs
from roles import Roles

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.seal import Sealer
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Abort
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.session.tunnel import Outcome


class Half(contextlib.ExitStack):
    """A server's outbound on a link, one step at a time: no thread, so nothing happens between two lines of a test."""

    def __init__(self) -> None:
        super().__init__()
        roles = Roles()
        self.callback(roles.close)
        self.pairs = self.enter_context(Pairs(buffer=8_192))
        self.tunnel, self._opener = roles.server, roles.client.inbound.opener
        self.outbound, self.inbound = self.tunnel.outbound, self.tunnel.inbound
        self.begin()

    def begin(self) -> None:
        tunnel = self.tunnel
        self.near, self.far = self.pairs.make()
        keys = schedule.frame_keys(tunnel.keys.root, tunnel.sends, tunnel.terms.encrypt_type)
        self._opener.rekey(keys)
        tunnel.link = self.near
        self.outbound.begin(self.near, Sealer(keys))

    def consume(self, count: int) -> None:
        """Inbound has consumed that many frames in all, and acknowledges."""
        self.inbound.receiving.received = self.inbound.receiving.consumed = count
        self.inbound.acknowledge()

    @property
    def woken(self) -> bool:
        return self.outbound.mail.wake.pending

    def read(self) -> bytes:
        return read_frame(self.far, self._opener)


def read_frame(link: Link, opener) -> bytes:
    """Type and payload of the next frame."""
    head = link.read_exactly(wire.LENGTH, now() + BOUND)
    rest = link.read_exactly(opener.frame_size(head) - wire.LENGTH, now() + BOUND)
    plain = memoryview(bytearray(wire.PLAIN_MAX))
    return bytes(plain[: opener.open(memoryview(head + rest), plain)])


@pytest.fixture
def half():
    with Half() as made:
        yield made


def test_an_ack_leaves_from_inbound_while_outbound_waits(half: Half) -> None:
    assert half.outbound._step() == {}
    for count in (1, 5, 6):
        half.consume(count)
        assert half.read() == frames.ack(count) and not half.woken


def test_nothing_new_is_not_acknowledged_again(half: Half) -> None:
    half.outbound._step()
    half.consume(3)
    half.consume(3)
    half.consume(4)
    assert [half.read(), half.read()] == [frames.ack(3), frames.ack(4)]


def busy(half: Half) -> None:
    half.outbound._seat.acquire()
    half.callback(half.outbound._seat.release)


BUSY: dict[str, Callable[[Half], object]] = {
    "a connection that has not begun": lambda half: half.begin(),
    "something posted before": lambda half: half.outbound.mail.wake.set(),
    "outbound at work": busy,
    "a refresh that is due": lambda half: setattr(half.inbound.opener, "volume", limits.REFRESH_BYTES),
    "a farewell": lambda half: half.tunnel.post_abort(Abort.OTHER, ""),
}


@pytest.mark.parametrize("make", BUSY.values(), ids=BUSY)
def test_an_ack_is_posted_where_it_would_overtake(make: Callable[[Half], object], half: Half) -> None:
    half.outbound._step()
    make(half)
    half.consume(2)
    assert half.woken and half.outbound.control.acknowledged == 0
    half.outbound._step()
    assert half.read() == frames.ack(2)


def fill_kernel(link: Link) -> int:
    """Raw bytes beside TLS, until the kernel takes no more; how many."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += socket.socket.send(link._sock, bytes(65_536))
    return sent


def empty_kernel(link: Link, size: int) -> None:
    while size:
        wait({link.fd: select.POLLIN}, BOUND)
        size -= len(socket.socket.recv(link._sock, min(size, 65_536)))


def test_a_link_that_takes_nothing_gets_the_ack_later(half: Half) -> None:
    """Its sealed bytes wait, and outbound finishes them: only the same bytes may be written now."""
    half.outbound._step()
    size = fill_kernel(half.near)
    half.consume(2)
    assert half.woken and half.outbound._step() == {half.near.fd: half.near.write_wants} and half.outbound.stuck_since
    half.consume(3)
    assert half.woken
    empty_kernel(half.far, size)
    wait({half.near.fd: select.POLLOUT}, BOUND)
    assert half.outbound._step() is None and not half.outbound.stuck_since
    half.outbound._step()
    assert [half.read(), half.read()] == [frames.ack(2), frames.ack(3)]


def test_a_link_that_broke_ends_the_connection_but_not_what_inbound_does(half: Half) -> None:
    """Inbound is in the middle of a frame that counts as received: an error there would lose it."""
    half.outbound._step()
    half.tunnel.outcome = None
    half.near.abort()
    half.consume(1)
    assert half.tunnel.outcome is Outcome.LOST and half.woken


def test_the_first_ack_on_a_resumed_connection_does_not_go_back(half: Half) -> None:
    half.outbound._step()
    half.consume(5)
    half.outbound.rewind(0)
    half.begin()
    half.consume(5)
    half.outbound._step()
    half.outbound._step()
    assert half.read() == frames.ack(5)
    half.consume(6)
    assert half.read() == frames.ack(6)
