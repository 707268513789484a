"""Registry: who owns a session's connection, when it is forgotten, and how many one client may have."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext

import pytest
from links import Pairs, Threads
from pools import begun
from registries import empty, entry
from world import BOUND, World, echo, read_all

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import ProtocolError, Refused, Unanswered
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.server.entry import Entry
from nitrosocks_lib.server.registry import Registry
from nitrosocks_lib.session.shares import Shares
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending


class Connection:
    """A session's connection, served by a thread as the server does it."""

    def __init__(self, registry: Registry, session: Entry, pairs: Pairs, threads: Threads) -> None:
        self.near, self.link = pairs.make()
        self.registry, self.session, self.running = registry, session, threading.Event()
        self.outcome: Outcome | None = None
        self.thread = threads.start(self._serve)
        assert self.running.wait(BOUND)

    def _serve(self) -> None:
        if self.registry.find(self.session.tunnel.state.terms.session_id) is None:
            self.registry.add(self.session, self.link)
        self.running.set()
        self.outcome = self.session.tunnel.run(self.link)
        self.registry.leave(self.session, self.outcome)


def detached(registry: Registry, pairs: Pairs, **options) -> Entry:
    """A session that has lost its connection."""
    session = entry(registry, **options)
    registry.add(session, pairs.make()[1])
    registry.leave(session, Outcome.LOST)
    return session


# -- claim, leave, forget ---------------------------------------------------------------------------------------------


def test_a_session_is_found_until_it_is_forgotten() -> None:
    registry = Registry()
    one, two = entry(registry), entry(registry)
    with Pairs() as pairs:
        registry.add(one, pairs.make()[1])
        found = one.tunnel.state.terms.session_id
        assert registry.find(found) is one and registry.all() == [one] and len(registry) == 1
        assert registry.find(two.tunnel.state.terms.session_id) is None
        registry.forget(one, "over")
        registry.forget(one, "again")
        assert registry.find(found) is None and registry.all() == []
        two.tunnel.dispose("over")


def test_a_lost_connection_detaches_and_a_release_forgets() -> None:
    registry = Registry()
    with Pairs() as pairs, Threads() as threads:
        session = entry(registry)
        Connection(registry, session, pairs, threads).near.abort()
        threads.join()
        assert registry.all() == [session] and session.expiry is not None and session.owner is None
        with pytest.raises(ProtocolError):
            registry.claim(session, 0, pairs.make()[1])
        registry.claim(session, 1, pairs.make()[1])
        registry.leave(session, Outcome.OVER)
        assert len(registry) == 0


def test_claim_takes_a_live_session_over() -> None:
    registry = Registry()
    with Pairs() as pairs, Threads() as threads:
        session = entry(registry)
        old = Connection(registry, session, pairs, threads)
        link = pairs.make()[1]
        registry.claim(session, 5, link)
        assert not old.thread.is_alive() and old.outcome is Outcome.LOST
        assert session.owner is threading.current_thread() and session.link is link
        assert session.expiry is not None, "detached from here to the move"
        for attempt in (4, 5):
            with pytest.raises(ProtocolError):
                registry.claim(session, attempt, pairs.make()[1])
        registry.moved(session)
        assert session.expiry is None
        registry.leave(session, Outcome.LOST)
        registry.forget(session, "enough")


def test_a_later_attempt_ends_the_one_before() -> None:
    """Each attempt waits for a first frame that never comes, until the next one takes the session."""
    registry, order = Registry(), []
    with Pairs() as pairs, Threads() as threads:
        session = detached(registry, pairs)
        expiry = session.expiry

        def attempt(number: int, link: Link, claimed: threading.Event) -> None:
            registry.claim(session, number, link)
            claimed.set()
            with pytest.raises(Exception, match="the connection"):
                link.read_exactly(1, now() + BOUND)
            order.append(number)
            registry.leave(session, Outcome.LOST)

        for number in range(1, 6):
            claimed = threading.Event()
            threads.start(attempt, number, pairs.make()[1], claimed)
            assert claimed.wait(BOUND)
        assert session.expiry is expiry, "a further RESUME does not restart the time"
        registry.forget(session, "over")
        assert order == [1, 2, 3, 4, 5]


def test_a_session_that_is_over_cannot_be_claimed() -> None:
    registry = Registry()
    with Pairs() as pairs:
        session = entry(registry)
        registry.add(session, pairs.make()[1])
        session.tunnel.state.outcome = Outcome.OVER
        session.owner = None
        with pytest.raises(Refused) as refused:
            registry.claim(session, 1, pairs.make()[1])
        assert refused.value.reason is Refusal.UNKNOWN_SESSION and len(registry) == 0


def test_forget_ends_a_connection_and_its_streams() -> None:
    with World() as world:
        pool, port = world.pool(), world.target(echo)
        opened = [begun(pool, port) for _ in range(3)]
        session = world.entry
        streams = session.tunnel.state.streams.all()
        world.registry.forget(session, "for a test")
        assert [(stream.ending, stream.reason) for stream in streams] == [(Ending.LOST, "for a test")] * 3
        for each in opened:
            with each.near:
                assert each.end().ending is Ending.LOST and read_all(each.near) == b""


@pytest.mark.parametrize("attempts", [0, 2])
def test_a_session_that_is_not_resumed_expires(attempts: int) -> None:
    registry = Registry()
    with Pairs() as pairs:
        session = detached(registry, pairs, resume=1)
        for number in range(attempts):
            registry.claim(session, number + 1, pairs.make()[1])
            registry.leave(session, Outcome.LOST)
        assert empty(registry)


def test_a_session_that_moved_does_not_expire() -> None:
    registry = Registry()
    with Pairs() as pairs:
        two = detached(registry, pairs, resume=1)
        detached(registry, pairs, resume=0)
        registry.claim(two, 1, pairs.make()[1])
        registry.moved(two)
        registry._expired(two)  # a thread that was started when the time was over, and came too late
        assert empty(registry, 1)
        assert registry.all() == [two] and two.expiry is None
        registry.forget(two, "enough")


def test_who_waits_hears_that_a_session_is_detached() -> None:
    """A draining server waits for connected sessions; one whose client vanished is waited for no more."""
    registry = Registry()
    with Pairs() as pairs, Threads() as threads:
        session = entry(registry)
        connection = Connection(registry, session, pairs, threads)
        waits, over = threading.Event(), []

        def busy(each: Entry) -> bool:
            waits.set()
            return each.owner is not None

        threads.start(lambda: over.append(registry.wait_empty(busy, BOUND)))
        assert waits.wait(BOUND)
        connection.near.abort()
        threads.join()
        assert over == [True]
        registry.forget(session, "enough")


# -- the number of sessions of one client -----------------------------------------------------------------------------


def test_64_is_the_number() -> None:
    assert limits.SESSIONS_PER_CLIENT == 64
    registry = Registry()
    for _ in range(64):
        registry.reserve(b"A")
    with pytest.raises(Refused) as refused:
        registry.reserve(b"A")
    assert refused.value.reason is Refusal.FULL
    registry.reserve(b"B")
    registry.give_back(b"A")
    registry.reserve(b"A")


def test_the_one_that_is_longest_without_a_connection_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSIONS_PER_CLIENT", 5)
    registry = Registry()
    with Pairs() as pairs:
        sessions = [entry(registry) for _ in range(5)]
        for session in sessions:
            registry.add(session, pairs.make()[1])
        with pytest.raises(Refused):
            registry.reserve(b"A")
        other = detached(registry, pairs, client_id=b"B")
        for number in (3, 1, 4):
            registry.leave(sessions[number], Outcome.LOST)
        for gone in ([3], [3, 1], [3, 1, 4]):
            registry.reserve(b"A")
            assert [n for n, each in enumerate(sessions) if each not in registry.all()] == sorted(gone)
        with pytest.raises(Refused):
            registry.reserve(b"A")
        assert other in registry.all()
        for each in registry.all():
            each.owner = None
            registry.forget(each, "enough")


def test_the_sessions_of_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes all that he can gets half of them, or gives up one that has no connection."""
    registry = Registry(sessions=Shares(4))
    with Pairs() as pairs:
        sessions = [entry(registry) for _ in range(2)]
        for session in sessions:
            registry.add(session, pairs.make()[1])
        with pytest.raises(Refused) as refused:
            registry.reserve(b"A")
        assert refused.value.reason is Refusal.FULL
        registry.reserve(b"B")
        registry.leave(sessions[1], Outcome.LOST)
        registry.reserve(b"A")
        assert registry.all() == sessions[:1]
        sessions[0].owner = None
        registry.forget(sessions[0], "enough")


def test_places_come_back() -> None:
    registry = Registry()
    with Pairs() as pairs:
        for _ in range(2 * limits.SESSIONS_PER_CLIENT):
            session = entry(registry)
            registry.add(session, pairs.make()[1])
            registry.forget(session, "over")
    assert not registry._per_client and registry._shared.taken == 0


def test_a_resume_that_was_overtaken_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is what a client in doubt does: two attempts, and the later one was quicker."""
    with World() as world, caplog.at_level(logging.INFO):
        made = world.dialler()
        greeting = made.greet()
        greeting.link.close()
        for failure in (nullcontext(), pytest.raises(Unanswered)):
            link = made.connect(greeting.server)
            with failure:
                made.resume(link, greeting.server, greeting.greeted.terms, 1, 0)
            link.close()
    (told,) = [each for each in caplog.records if "older than the last one" in each.getMessage()]
    assert told.levelno == logging.INFO
