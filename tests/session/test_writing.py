"""Writing: what comes for targets waits for its turn at the rate of the client, over a real link and real sockets."""

from __future__ import annotations

import os
import socket

from held import Held, pair
from links import BOUND
from loopback import is_silent, read_all, read_exactly
from plains import DATA, END, OPEN, PING, RESET
from rated import BURST, FAST, SAID, SLOW, rated, use_up
from ready import readable
from roles import Roles, receive, receive_data

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Frame, Kind, Reset
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.bucket import burst_of
from nitrosocks_lib.session.dialling import Reached
from nitrosocks_lib.session.rate import Rate
from nitrosocks_lib.session.streams import Ending


def test_what_is_beyond_the_rate_is_not_delivered_and_the_link_is_read_all_the_same() -> None:
    with rated(up=SLOW) as half:
        began, far = now(), half.reached(1)
        half.pour(1, SAID)
        half.until_acked()
        assert half.backlog >= len(SAID) - BURST - SLOW * (now() - began)
        half.send(PING())
        half.until(Frame.PONG)
        assert read_exactly(far, BURST - limits.RATE_TURN_LEAST) == SAID[: BURST - limits.RATE_TURN_LEAST]
        half.tunnel.state.up.change(0)
        half.send(END(1))
        assert BURST - limits.RATE_TURN_LEAST + len(read_all(far)) == len(SAID)


def test_the_limit_is_not_raised_for_what_is_not_delivered() -> None:
    with rated(up=SLOW) as half:
        use_up(half.tunnel.state.up)
        half.reached(1)
        half.pour(1, bytes(limits.WINDOW))
        half.until_acked()
        assert half.limits == {}
        half.tunnel.state.up.change(0)
        half.pour(1, b"x")  # waits for the limit


def test_what_was_withheld_is_delivered_though_nothing_more_comes() -> None:
    with rated(up=FAST) as half:
        began, far = now(), half.reached(1)
        said = os.urandom(burst_of(FAST) + 60_000)
        half.pour(1, said)
        got = b""
        while len(got) < len(said):
            got += far.recv(1 << 16)
            assert len(got) <= FAST * (now() - began) + burst_of(FAST)
        assert got == said


def test_a_stream_that_says_little_goes_before_those_that_wait() -> None:
    with rated(up=FAST) as half:
        use_up(half.tunnel.state.up)
        bulk = [half.reached(number) for number in (1, 3, 5)]
        for number in (1, 3, 5):
            half.pour(number, bytes(limits.WINDOW))
        typed = half.reached(7)
        half.send(DATA(7, b"k"))
        assert read_exactly(typed, 1) == b"k"
        assert half.backlog > 0 and not any(map(is_silent, bulk))


def test_what_came_before_a_reset_is_delivered_in_turn() -> None:
    with rated(up=FAST) as half:
        far = half.reached(1)
        use_up(half.tunnel.state.up)
        half.send(DATA(1, SAID[:50_000]), RESET(1, Reset.LOCAL))
        assert read_exactly(far, 50_000) == SAID[:50_000]
        assert half.gone().ending is Ending.RESET_THERE


def test_an_end_that_comes_between_its_turn_and_the_news_of_it() -> None:
    """What is left behind one turn is watched again: no other news comes."""
    roles, (far, near) = Roles(), pair()
    tunnel, waiter = roles.server, roles.server.state.inbox.waiter
    tunnel.state.up = rate = Rate(FAST)
    tunnel.inbound.dialling = Held(waiter)
    near.setblocking(False)
    with far:
        receive(tunnel, Frame.OPEN, OPEN(1)[1:])
        tunnel.inbound.answers.answer(1, Reached(near, frames.Address("10.0.0.1", 7)))
        use_up(rate)
        receive_data(tunnel, 1, SAID[:50_000])
        while not tunnel.state.inbox._streams:  # the timer posts it
            pass
        receive(tunnel, Frame.END, END(1)[1:])
        while tunnel.inbound.delivery.held:
            waiter.clear()
            writable = waiter.select(BOUND)
            assert writable or tunnel.state.inbox._streams, "neither its socket nor its turn tells anything"
            for stream, _ in writable:
                tunnel.inbound.delivery.flush(stream)
            while (told := tunnel.state.inbox.next_stream()) is not None:
                tunnel.inbound.delivery.look(told)
        assert read_exactly(far, 50_000) == SAID[:50_000]
        tunnel.inbound.delivery.finish("over")
        roles.close()


def test_and_behind_the_end_of_the_session() -> None:
    with rated(up=FAST) as half:
        far = half.reached(1)
        use_up(half.tunnel.state.up)
        half.send(DATA(1, SAID[:50_000]), END(1))
        half.until_acked()
        half.leave()
        half.dispose("lost")
        assert read_exactly(far, 50_000) == SAID[:50_000]


def test_a_stream_that_breaks_while_it_waits_is_gone() -> None:
    with rated(up=SLOW) as half:
        far = half.reached(1)
        use_up(half.tunnel.state.up)
        half.send(DATA(1, SAID[:5_000]))
        half.until_acked()
        half.send(RESET(1))
        half.seen()  # it has had its effect
        far.close()
        half.tunnel.state.up.change(0)
        assert half.gone().ending is Ending.RESET_THERE and half.backlog == 0


def test_windows_do_not_grow_beyond_what_passes_at_once() -> None:
    with rated(up=limits.WINDOW) as half:
        far = half.reached(1)
        half.pour(1, bytes(limits.WINDOW))
        read_exactly(far, limits.WINDOW)
        (stream,) = half.tunnel.state.streams.all()
        assert stream.credit is not None and stream.credit.window == limits.WINDOW


def test_a_datagram_beyond_the_rate_is_dropped_and_counts_as_taken() -> None:
    with rated(up=SLOW, down=SLOW) as half:
        half.send(OPEN(1, kind=Kind.UDP))
        far, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.setblocking(False)
        far.settimeout(BOUND)
        half.enter_context(far)
        half.dials.decide(1, Reached(near, frames.Address("10.0.0.1", 7)))
        half.until(Frame.OPENED)
        half.send(DATA(1, b"passes"))
        assert far.recv(100) == b"passes"
        use_up(half.tunnel.state.up)
        use_up(half.tunnel.state.down)
        half.send(DATA(1, bytes(60_000)))  # a minute's worth
        far.send(bytes(60_000))
        while readable(near):  # outbound reads it
            pass
        assert half.seen() == []
        half.tunnel.state.up.change(0)
        half.tunnel.state.down.change(0)
        half.send(DATA(1, b"passes again"))
        assert far.recv(100) == b"passes again"
        far.send(b"too")
        assert half.gather(1, 3) == b"too" and half.seen() == [] and half.backlog == 0
        (stream,) = half.tunnel.state.streams.all()
        assert stream.credit is not None and stream.credit.taken == stream.credit.received
