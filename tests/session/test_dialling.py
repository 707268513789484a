"""Dialling: what inbound asks of it and when, whatever reaches the targets; and the side that dials nothing."""

from __future__ import annotations

import socket
import threading

import pytest
from half import Half
from held import Held, pair
from links import BOUND
from loopback import is_silent, read_exactly, was_reset
from plains import DATA, END, OPEN, OPENED, REFUSED, RESET
from roles import Roles, receive

from nitrosocks_lib.facts.wire import Frame, Kind, Reply
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import Waiter
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.session.dialling import Dialling, NoDialling, Reached, Unreached
from nitrosocks_lib.session.streams import Ending

AT = Address("10.0.0.1", 7)


def test_a_side_that_dials_nothing() -> None:
    none: Dialling = NoDialling()
    assert (len(none), none.left, none.due(0.0), none.take()) == (0, 0, None, [])
    none.fired(1, 0.0)
    none.stop(1)
    none.close()
    with pytest.raises(AssertionError, match="nobody opens streams here"):
        none.begin(1, Target(Kind.TCP, "host", 7))


def test_a_client_dials_nothing() -> None:
    roles = Roles()
    assert isinstance(roles.client.inbound.dialling, NoDialling)
    roles.close()


def test_streams_are_dialled_in_their_order_and_answered_as_they_are_decided() -> None:
    with Half(True, held=True) as half:
        half.send(*[OPEN(number, port) for port, number in enumerate((1, 3, 5), 1)])
        assert half.seen() == [] and list(half.dials.under_way.items()) == [
            (number, Target(Kind.TCP, "host", port)) for port, number in enumerate((1, 3, 5), 1)
        ]
        half.dials.decide(5, Unreached(Reply.EXPIRED, "no answer in time"))
        assert half.next() == REFUSED(5, Reply.EXPIRED, "no answer in time")
        half.reach(3)
        assert half.next() == OPENED(3)
        half.reach(1)
        assert half.next() == OPENED(1)


def test_one_that_waits_delays_no_other() -> None:
    with Half(True, held=True) as half:
        half.send(OPEN(1), DATA(1, b"early"))
        far = half.reached(3)
        half.send(DATA(3, b"x"))
        assert read_exactly(far, 1) == b"x"
        far.sendall(b"y")
        assert half.gather(3, 1) == b"y"
        late = half.reach(1)
        assert half.until(Frame.OPENED) and read_exactly(late, 5) == b"early"


class Decided(Held):
    """What is begun is decided at once, in the same call."""

    def begin(self, number: int, target: Target) -> None:
        super().begin(number, target)
        self.ends[number], far = pair()
        far.setblocking(False)
        self.decide(number, Reached(far, AT))

    def __init__(self, waiter: Waiter) -> None:
        super().__init__(waiter)
        self.ends: dict[int, socket.socket] = {}


def test_what_is_decided_at_once_is_answered_before_the_next_frame() -> None:
    roles = Roles()
    roles.server.inbound.dialling = dials = Decided(roles.server.state.inbox.waiter)
    receive(roles.server, Frame.OPEN, OPEN(1)[1:])
    stream = roles.server.state.streams.by_number[1]
    assert stream.answer == OPENED(1) and stream.local is not None
    receive(roles.server, Frame.RESET, RESET(1)[1:])
    roles.server.outbound._take_mail()
    assert not roles.server.outbound.resend.waits, "behind RESET it is not answered"
    roles.server.inbound._take_mail()
    assert stream.local is None and was_reset(dials.ends[1])
    dials.ends[1].close()
    roles.close()


@pytest.mark.parametrize("over", ["reset", "session"])
def test_what_is_reached_too_late_is_closed(over: str) -> None:
    with Half(True, held=True) as half:
        half.send(OPEN(1), DATA(1, b"early"))
        assert half.seen() == []
        if over == "reset":
            half.send(RESET(1))
            half.gone()
            assert half.dials.stopped == [1]
            far = half.reach(1)
        else:
            far, near = half.pair()
            half.leave()
            half.dispose("over")
            half.tunnel.inbound.answers.answer(1, Reached(near, AT))
        assert not is_silent(far)
        assert half.gone().ending is Ending.LOST if over == "session" else half.seen() == []


def test_a_session_that_is_over_gives_its_dials_up(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(Held, "close", lambda _: closed.append(True))
    with Half(True, held=True) as half:
        half.send(OPEN(1))
        assert half.seen() == []
        half.leave()
        half.dispose("over")
        assert closed == [True] and half.gone().ending is Ending.LOST


def test_a_dial_goes_on_over_a_reconnection() -> None:
    with Half(True, held=True) as half:
        half.send(OPEN(1), DATA(1, b"early"), END(1))
        assert half.seen() == []
        half.leave()
        far = half.reach(1)  # decided while there is no connection
        half.again()
        assert half.until(Frame.OPENED) and read_exactly(far, 5) == b"early" and far.recv(1) == b""


def test_it_is_asked_at_the_times_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """And told which of its descriptors are ready; what it decides then is answered."""
    asked = threading.Event()

    class Timed(Held):
        ready: list[int] = []

        def due(self, at: float) -> float | None:
            if 3 not in self.under_way:
                return None
            if not asked.is_set():
                asked.set()
                return now() + 0.01
            self.decide(3, Unreached(Reply.EXPIRED, "late"))
            return None

        def fired(self, number: int, at: float) -> None:
            self.ready.append(number)
            self._waiter.forget(far.fileno())
            self.decide(number, Reached(far, AT))

    near, far = pair()
    far.setblocking(False)
    with near, Half(True, held=True) as half:
        half.dials.__class__ = Timed
        half.send(OPEN(1), OPEN(3))
        assert half.until(Frame.REFUSED) == REFUSED(3, Reply.EXPIRED, "late")[1:]
        assert asked.wait(BOUND)
        half.tunnel.state.inbox.waiter.watch(far.fileno(), 2, ("dial", 1))
        half.tunnel.state.inbox.waiter.set()
        assert half.until(Frame.OPENED) == OPENED(1)[1:] and half.dials.ready == [1]  # type: ignore[attr-defined]
        near.sendall(b"x")
        assert half.gather(1, 1) == b"x"
