"""Registry: what all sessions hold is bounded, and so is what those hold that are over."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from held import pair
from links import Pairs
from plains import OPEN
from registries import empty, entry
from roles import receive, receive_data
from world import BOUND

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.net.timers import Timer
from nitrosocks_lib.protocol.frames import Address
from nitrosocks_lib.server import registry as module
from nitrosocks_lib.server.entry import Entry
from nitrosocks_lib.server.registry import Registry
from nitrosocks_lib.server.tunnel import ServerTunnel
from nitrosocks_lib.session.dialling import NoDialling, Reached
from nitrosocks_lib.session.state import Outcome

MOST = 1_000_000
LOOK = limits.HELD_LOOK


class Begins(NoDialling):
    """A dial that is under way as long as the test likes."""

    def begin(self, number: int, target: object) -> None:
        pass


class Bounded:
    """A registry whose timer the test is, and sessions whose targets take nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.TIMERS, "after", lambda *_: Timer(lambda _: None))
        self.registry = Registry(MOST)
        self.pairs = Pairs()
        self.ends: list[socket.socket] = []

    def session(self, client_id: bytes, size: int) -> Entry:
        """One that holds so much, without a connection."""
        made = entry(self.registry, client_id)
        self.registry.add(made, self.pairs.make()[1])
        self.registry.leave(made, Outcome.LOST)
        hold(made.tunnel, size, self.ends)
        assert made.tunnel.held >= size
        return made

    def look(self) -> float | None:
        return self.registry._look_at_held(0.0)

    def close(self) -> None:
        for end in self.ends:
            end.close()
        for each in self.registry.all():
            each.owner = None
            self.registry.forget(each, "the test is over")
        settle()
        self.pairs.close()


def hold(tunnel: ServerTunnel, size: int, ends: list[socket.socket]) -> None:
    tunnel.inbound.dialling = Begins()
    number = 1
    while tunnel.held < size:
        near, far = pair(buffer=4_608)
        far.setblocking(False)
        ends.append(near)
        receive(tunnel, Frame.OPEN, OPEN(number)[1:])
        for _ in range(4):
            receive_data(tunnel, number, bytes(60_000))
        tunnel.inbound.answers.answer(number, Reached(far, Address("", 7)))
        number += 2


def settle() -> None:
    """Waits for the threads that end sessions, and deliver what is left of them."""
    for name in ("expiry", "delivery"):
        for thread in threading.enumerate():
            if thread.name == name:
                thread.join(BOUND)
                assert not thread.is_alive()


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bounded]:
    made = Bounded(monkeypatch)
    yield made
    made.close()


def test_the_bound_and_how_often_it_is_looked_at() -> None:
    assert limits.HELD == 2 << 30 and limits.HELD_LOOK == 0.5


def test_below_the_bound_nothing_ends(bounded: Bounded) -> None:
    sessions = [bounded.session(b"A", 300_000), bounded.session(b"B", 300_000)]
    assert bounded.look() == LOOK and bounded.registry.all() == sessions


def test_of_the_client_that_holds_most_the_largest_session_ends(
    bounded: Bounded, caplog: pytest.LogCaptureFixture
) -> None:
    """B has the largest of all, but A holds more in all."""
    small, large = bounded.session(b"A", 200_000), bounded.session(b"A", 500_000)
    other = bounded.session(b"B", 600_000)
    assert bounded.look() == LOOK
    assert empty(bounded.registry, 2) and set(bounded.registry.all()) == {small, other}
    settle()
    assert large.tunnel.held == 0, "nothing of it is delivered any more"
    assert "alice: all sessions together hold too much; its largest ends" in caplog.text


@pytest.mark.parametrize("reads", [True, False])
def test_a_connected_one_hears_abort_5(reads: bool, bounded: Bounded) -> None:
    session = bounded.session(b"A", MOST + 1)
    tunnel = session.tunnel
    tunnel.state.begin()
    bounded.look()
    assert tunnel.outbox.farewell is not None and tunnel.outbox.farewell[:2] == bytes([Frame.ABORT, Abort.LIMIT])
    assert tunnel.state.outcome is None
    if reads:
        tunnel.state.end(Outcome.OVER, "it went out")
    else:
        bounded.look()
    assert tunnel.state.outcome is Outcome.OVER  # type: ignore[comparison-overlap]


def test_what_sessions_still_deliver_that_are_over_counts(bounded: Bounded) -> None:
    over, live = bounded.session(b"A", 700_000), bounded.session(b"A", 400_000)
    bounded.registry.forget(over, "its client is gone")
    assert bounded.registry.all() == [live] and over.tunnel.held >= 650_000
    bounded.look()
    settle()
    assert over.tunnel.held == over.tunnel.load == 0 and bounded.registry.all() == [live]
    assert bounded.look() == LOOK and live.tunnel.outbox.farewell is None


def test_the_look_goes_on_while_there_is_something_to_deliver(bounded: Bounded) -> None:
    session = bounded.session(b"A", 1)
    bounded.registry.forget(session, "over")
    assert bounded.look() == LOOK
    session.tunnel.drop()
    settle()
    assert bounded.look() is None


def test_so_many_of_one_client_deliver_at_most(bounded: Bounded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERING", 3)
    tunnels = []
    for client_id in (b"A", b"B", b"A", b"A", b"A"):
        session = bounded.session(client_id, 1)
        tunnels.append(session.tunnel)
        bounded.registry.forget(session, "over")
    assert [tunnel.inbound.delivery.dropped for tunnel in tunnels] == [True, False, False, False, False]
    for tunnel in tunnels[1:]:
        tunnel.drop()
    settle()
    assert not any(tunnel.load or tunnel.held for tunnel in tunnels)


def test_of_all_that_deliver_the_client_with_most_pays(bounded: Bounded) -> None:
    bounded.registry._shared.most = 4
    tunnels = []
    for client_id in (b"B", b"A", b"A", b"A", b"C"):
        session = bounded.session(client_id, 1)
        tunnels.append(session.tunnel)
        bounded.registry.forget(session, "over")
    assert [tunnel.inbound.delivery.dropped for tunnel in tunnels] == [False, True, False, False, False]
    for tunnel in tunnels:
        tunnel.drop()


def test_what_keeping_costs_counts(bounded: Bounded) -> None:
    """Refusals that nobody acknowledges are small, and many."""
    resend = bounded.session(b"A", 1).tunnel.outbound.resend
    before = bounded.registry.all()[0].tunnel.held
    for _ in range(1_000):
        resend.append(bytes(30))
    assert bounded.registry.all()[0].tunnel.held - before == 1_000 * (30 + limits.KEPT_COST)


def test_what_is_not_acknowledged_is_forgotten_with_the_session(bounded: Bounded) -> None:
    session = bounded.session(b"A", 1)
    session.tunnel.outbound.resend.append(bytes(100_000))
    bounded.registry.forget(session, "over")
    assert session.tunnel.outbound.resend.kept_bytes == 0 and not session.tunnel.acknowledged
