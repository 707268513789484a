"""WebSocketLink: a stream in binary messages, both sides; what ends it is in test_websocket_ends.py."""

from __future__ import annotations

import os
import random
import select

import pytest
from links import BOUND, Pairs, Threads, exchange, fill, receive, send
from websockets.protocol import CLIENT, SERVER, Protocol, Side, State
from websockets_links import BINARY, CONT, PING, PONG, WebSocketPairs, frame, stream

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait
from nitrosocks_lib.net.websocket import Messages, WebSocketLink

both_sides = pytest.mark.parametrize("serving", [False, True], ids=["client", "server"])


def one_end(pairs: Pairs, serving: bool, unread: bytes = b"") -> tuple[WebSocketLink, Link]:
    """A WebSocketLink of this side, and the bare link at the other end."""
    client, server = pairs.make()
    if serving:
        return WebSocketLink(server, True, unread), client
    return WebSocketLink(client, False, unread), server


# -- both ends ---------------------------------------------------------------------------------------------------------


def test_short_full_duplex_exchanges() -> None:
    with WebSocketPairs() as pairs:
        near, far = pairs.make()
        for seed in range(100):
            exchange(pairs, near, far, seed)


def test_full_kernel_buffers_in_both_directions() -> None:
    with WebSocketPairs(buffer=4_096) as pairs:
        near, far = pairs.make()
        up, down = os.urandom(1 << 20), os.urandom(1 << 20)
        got = pairs.run(
            lambda: send(near, up, 1),
            lambda: send(far, down, 2),
            lambda: receive(far, len(up), 3),
            lambda: receive(near, len(down), 4),
        )
        assert got[2:] == [up, down]


def test_a_write_that_would_block_goes_on_with_the_rest() -> None:
    data = os.urandom(32 << 20)
    with WebSocketPairs() as pairs, Threads() as threads:
        near, far = pairs.make()
        at = fill(near, data)
        assert near.write_some(memoryview(data)[at:]) == 0, "and again"
        assert near.write_wants == select.POLLOUT
        got: list[bytes] = []
        threads.start(lambda: got.append(receive(far, len(data), 5)))
        near.write_all(data[at:], now() + BOUND)
        threads.join()
        assert got == [data]


@both_sides
def test_what_is_below_answers_for_it(serving: bool) -> None:
    with Pairs() as pairs:
        client, server = pairs.make()
        below = server if serving else client
        link = WebSocketLink(below, serving)
        assert link.fd == below.fd and link.certificate_hash() == below.certificate_hash()
        assert link.remote() == "127.0.0.1" == below.remote()
        link.write_all(b"acknowledged, soon", now() + BOUND)
        assert link.queued()[2] == below.queued()[2] and link.unacknowledged() <= 10_000
        assert 0 <= link.silent() <= BOUND or link.silent() == below.silent()


# -- against the library's own halves ----------------------------------------------------------------------------------


def half(side: Side) -> Protocol:
    """The library's, with the upgrade behind it."""
    return Protocol(side, state=State.OPEN)


def feed(peer: Protocol, link: Link, until: int) -> list[bytes]:
    """What the peer has received, message by message, until so many bytes are there."""
    got: list[bytes] = []
    room = memoryview(bytearray(70_000))
    while sum(map(len, got)) < until:
        if n := link.read_some(room):
            peer.receive_data(bytes(room[:n]))
            got += [bytes(event.data) for event in peer.events_received()]  # type: ignore[union-attr]
            assert peer.parser_exc is None
        elif link.dry:
            assert wait({link.fd: link.read_wants}, BOUND)
    return got


@both_sides
def test_the_library_understands_what_it_sends(serving: bool) -> None:
    data = os.urandom(700_000)
    with Pairs() as pairs, Threads() as threads:
        link, far = one_end(pairs, serving)
        threads.start(link.write_all, data[:1_000], now() + BOUND)
        threads.join()
        threads.start(link.write_all, data[1_000:], now() + BOUND)
        peer = half(CLIENT if serving else SERVER)
        messages = feed(peer, far, len(data))
        assert b"".join(messages) == data
        assert len(messages[0]) == 1_000, "the first message carries all of the first write, so the knock (CA2)"
        assert max(map(len, messages)) <= limits.MESSAGE_PIECE


@both_sides
def test_it_understands_what_the_library_sends(serving: bool) -> None:
    peer, data = half(CLIENT if serving else SERVER), os.urandom(300_000)
    peer.send_binary(data[:7], fin=False)
    peer.send_ping(b"amid a message")
    peer.send_continuation(data[7:100], fin=False)
    peer.send_continuation(data[100:], fin=True)
    with Pairs() as pairs, Threads() as threads:
        link, far = one_end(pairs, serving)
        threads.start(far.write_all, b"".join(peer.data_to_send()), now() + BOUND)
        assert receive(link, len(data), 3) == data
        (pong,) = feed(peer, far, 1)
        assert pong == b"amid a message"


# -- what comes --------------------------------------------------------------------------------------------------------


@both_sides
@pytest.mark.parametrize("seed", range(40))
def test_any_fragments_in_any_pieces_are_the_same_bytes(serving: bool, seed: int) -> None:
    source, got = random.Random(seed), bytearray()
    data = source.randbytes(200_000)
    wire, messages = stream(data, serving, source), Messages(serving)
    at = 0
    while at < len(wire):
        size = source.choice((1, 2, source.randrange(1, 20), source.randrange(1, 300_000)))
        room = memoryview(bytearray(wire[at : at + size]))
        n = messages.take(room)
        assert messages.fault is None
        got += room[:n]
        at += size
    assert got == data


def test_a_message_is_handed_out_before_it_is_whole() -> None:
    with Pairs() as pairs:
        link, far = one_end(pairs, True)
        whole = frame(bytes(1 << 20), mask=True)
        far.write_all(whole[:100], now() + BOUND)
        assert link.read_exactly(86, now() + BOUND) == bytes(86)
        far.write_all(whole[100:101], now() + BOUND)
        assert link.read_exactly(1, now() + BOUND) == bytes(1)


@both_sides
def test_bytes_that_came_with_the_upgrade_are_read_first(serving: bool) -> None:
    with Pairs() as pairs:
        second = frame(b"second", serving)
        link, far = one_end(pairs, serving, frame(b"first", serving) + second[:2])
        assert not link.dry, "so it is read before it is polled"
        room = memoryview(bytearray(100))
        assert link.read_some(room) == 5 and bytes(room[:5]) == b"first"
        assert link.read_some(room) == 0 and link.dry
        far.write_all(second[2:], now() + BOUND)
        assert link.read_exactly(6, now() + BOUND) == b"second"


def test_a_read_without_payload_says_that_poll_sees_the_rest() -> None:
    with Pairs() as pairs:
        link, far = one_end(pairs, True)
        room, whole = memoryview(bytearray(1_000)), frame(b"x", True)
        for part in (frame(b"", True), frame(b"", True, PONG), whole[:1], whole[1:6]):
            far.write_all(part, now() + BOUND)
            assert wait({link.fd: link.read_wants}, BOUND)
            assert link.read_some(room) == 0 and link.dry
        far.write_all(whole[6:], now() + BOUND)
        assert link.read_exactly(1, now() + BOUND) == b"x"


# -- pings -------------------------------------------------------------------------------------------------------------


def test_a_ping_amid_a_half_written_message_is_answered_behind_it() -> None:
    data = os.urandom(32 << 20)
    with Pairs() as pairs, Threads() as threads:
        link, far = one_end(pairs, False)
        at = fill(link, data)
        far.write_all(frame(b"1", False, PING) + frame(b"2", False, PING) + frame(b"x", False), now() + BOUND)
        assert link.read_exactly(1, now() + BOUND) == b"x"
        peer = half(SERVER)
        threads.start(link.write_all, data[at:], now() + BOUND)
        got = feed(peer, far, len(data) + 1)
        assert b"".join(each for each in got if each != b"2") == data
        assert got.count(b"2") == 1 and b"1" not in got, "the last ping is answered (RFC 6455, 5.5.3)"


def test_pings_and_both_directions_at_once_tear_nothing() -> None:
    source = random.Random(1)
    up, down = source.randbytes(3 << 20), source.randbytes(3 << 20)
    with Pairs(buffer=8_192) as pairs, Threads() as threads:
        link, far = one_end(pairs, True)
        threads.start(send, link, down, 1)
        threads.start(far.write_all, stream(up, True, source), now() + BOUND)
        got: list[bytes] = []
        threads.start(lambda: got.append(receive(link, len(up), 2)))
        peer, came, room = half(CLIENT), bytearray(), memoryview(bytearray(70_000))
        while len(came) < len(down):
            if n := far.read_some(room):
                peer.receive_data(bytes(room[:n]))
                events = peer.events_received()
                came += b"".join(e.data for e in events if e.opcode in (BINARY, CONT))  # type: ignore[union-attr]
            elif far.dry:
                assert wait({far.fd: far.read_wants}, BOUND)
        threads.join()
        assert peer.parser_exc is None and came == down and got == [up]


def test_an_answer_that_was_cut_is_finished_by_the_next_read() -> None:
    """The kernel took the half of it, and nobody writes."""
    with Pairs() as pairs:
        link, far = one_end(pairs, True)
        below = Grudging(link)
        far.write_all(frame(b"a ping of some bytes", True, PING) + frame(b"x", True), now() + BOUND)
        assert link.read_exactly(1, now() + BOUND) == b"x"
        assert below.calls > 1
        below.shut = False
        far.write_all(frame(b"y", True), now() + BOUND)
        assert link.read_exactly(1, now() + BOUND) == b"y"
        assert far.read_exactly(22, now() + BOUND) == frame(b"a ping of some bytes", False, PONG)


class Grudging:
    """What is below a link; it takes the half of one write, and then nothing while it is `shut`."""

    def __init__(self, link: WebSocketLink) -> None:
        self._below, self.calls = link._below, 0
        self.shut = True
        self._write = self._below.write_some
        link._below = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> object:
        return getattr(self._below, name)

    def write_some(self, data: memoryview) -> int:
        self.calls += 1
        if not self.shut:
            return self._write(data)
        return self._write(data[: len(data) // 2]) if self.calls == 1 else 0


def test_the_rest_and_no_less_is_written() -> None:
    with WebSocketPairs() as pairs:
        near, _ = pairs.make()
        fill(near, bytes(32 << 20))
        with pytest.raises(AssertionError, match="the rest"):
            near.write_some(memoryview(b"an ACK, too soon"))


def test_nothing_of_a_message_is_kept_when_it_is_out() -> None:
    with WebSocketPairs() as pairs:
        near, _ = pairs.make()
        near.write_all(bytes(10_000), now() + BOUND)
        assert near._out.nbytes == 0 and len(near._out.obj) == 0  # type: ignore[attr-defined]


def test_the_end_below_is_the_end() -> None:
    with WebSocketPairs() as pairs:
        near, far = pairs.make()
        far.abort()
        with pytest.raises(NetworkError):
            near.read_exactly(1, now() + BOUND)
