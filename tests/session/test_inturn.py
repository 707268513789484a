"""A server's half whose client is held to a rate: what it reads of targets, over a real link and real sockets."""

from __future__ import annotations

import threading

from plains import PING, RESET
from rated import BURST, FAST, SAID, SLOW, rated, use_up

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Frame, Kind
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.bucket import burst_of
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.session.inturn import InTurn
from nitrosocks_lib.session.rate import FREE, Rate
from nitrosocks_lib.session.streams import Ending, Stream

BOUND = 60.0


def test_what_is_not_used_is_given_back_and_one_that_waits_is_posted() -> None:
    posted = list[Stream]()
    rate, in_turn = Rate(SLOW), InTurn(posted.append)
    first, second = (Stream(Target(Kind.TCP, "host", 7), None) for _ in range(2))
    assert in_turn.spend(rate, first, 1 << 16, 1 << 16, lambda most: 1) == 1
    assert in_turn.passes(rate, second, BURST - 1) and not in_turn.passes(rate, second, BURST)
    assert in_turn.spend(rate, first, 1 << 16, 1 << 16, lambda most: most) == 0 and in_turn.parked == {first}
    rate.change(0)
    assert posted == [first] and in_turn.passes(rate, first, 1 << 30)
    in_turn.leave(rate, first)
    in_turn.leave(FREE, second)
    assert not in_turn.parked and not in_turn._turns


def test_no_more_is_read_than_the_rate_gives_and_frames_of_the_session_pass() -> None:
    with rated(down=SLOW) as half:
        began, far = now(), half.reached(1)
        far.setblocking(False)
        sent = far.send(SAID)
        got = half.gather(1, BURST - limits.RATE_TURN_LEAST)
        half.send(PING())
        while (plain := half.next())[0] != Frame.PONG:
            got += plain[wire.DATA_HEAD :]
        (stream,) = half.tunnel.state.streams.all()
        assert stream.sent <= BURST + SLOW * (now() - began)
        half.tunnel.state.down.change(0)
        assert got + half.gather(1, sent - len(got)) == SAID[:sent]


def test_streams_share_it_and_none_is_left_out() -> None:
    with rated(down=FAST) as half:
        began, size = now(), 120_000
        fars = {number: half.reached(number) for number in (1, 3, 5, 7)}
        for far in fars.values():
            half.threads.start(far.sendall, bytes(size))
        left, got = dict.fromkeys(fars, size), 0
        while any(left.values()):
            payload = half.until(Frame.DATA)
            number = wire.STREAM.unpack_from(payload)[0]
            left[number] -= len(payload) - wire.STREAM.size
            got += len(payload) - wire.STREAM.size
            assert got <= FAST * (now() - began) + burst_of(FAST)
            half.ack()


def test_an_end_that_waits_for_its_turn_comes() -> None:
    with rated(down=FAST) as half:
        far = half.reached(1)
        use_up(half.tunnel.state.down)
        far.sendall(b"last words")
        far.close()
        assert half.gather(1, 10) == b"last words" and half.until(Frame.END)


def test_a_reset_of_a_stream_that_waits_ends_it() -> None:
    with rated(down=SLOW) as half:
        far = half.reached(1)
        use_up(half.tunnel.state.down)
        far.sendall(SAID[:5_000])
        half.send(RESET(1))
        assert half.gone().ending is Ending.RESET_THERE


def test_behind_the_end_of_a_session_nobody_waits_for_its_streams() -> None:
    with rated(down=SLOW) as half:
        rate, held = half.tunnel.state.down, threading.Semaphore(0)
        fars = [half.reached(number) for number in (1, 3, 5)]
        use_up(rate)
        rate._held = held.release
        for far in fars:
            far.sendall(SAID[:20_000])
        for _ in fars:
            assert held.acquire(timeout=BOUND)
        half.leave()
        half.dispose("over")
        assert rate._fair.next(now() + 1e6) is None
