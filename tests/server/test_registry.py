"""Registry: who owns a session's connection, when it is forgotten, and what all sessions may hold together."""

from __future__ import annotations

import threading

import pytest
from links import Pairs, Threads
from registries import MIB, empty, hosted
from world import BOUND, Opened, World, echo, read_all

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import ProtocolError, Refused
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server.registry import Hosted, Registry
from nitrosocks_lib.session.streams import Stream
from nitrosocks_lib.session.tunnel import Outcome


class Connection:
    """A session's connection, served by a thread as reception does it."""

    def __init__(self, registry: Registry, session: Hosted, pairs: Pairs, threads: Threads) -> None:
        self.near, self.link = pairs.make()
        self.registry, self.session, self.running = registry, session, threading.Event()
        self.outcome: Outcome | None = None
        self.thread = threads.start(self._serve)
        assert self.running.wait(BOUND)

    def _serve(self) -> None:
        if self.registry.find(self.session.tunnel.terms.session_id) is None:
            self.registry.add(self.session, self.link)
        self.running.set()
        self.outcome = self.session.tunnel.run(self.link)
        self.registry.leave(self.session, self.outcome)


# -- claim, leave, forget ---------------------------------------------------------------------------------------------


def test_a_session_is_found_until_it_is_forgotten() -> None:
    registry = Registry()
    one, two = hosted(registry), hosted(registry)
    with Pairs() as pairs:
        registry.add(one, pairs.make()[1])
        assert registry.find(one.tunnel.terms.session_id) is one and registry.all() == [one] and len(registry) == 1
        assert registry.find(two.tunnel.terms.session_id) is None
        registry.forget(one, "over")
        registry.forget(one, "again")
        assert registry.find(one.tunnel.terms.session_id) is None and registry.all() == []


def test_a_lost_connection_detaches_and_a_release_forgets() -> None:
    registry = Registry()
    with Pairs() as pairs, Threads() as threads:
        session = hosted(registry)
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
        session = hosted(registry)
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
        session = hosted(registry)
        registry.add(session, pairs.make()[1])
        registry.leave(session, Outcome.LOST)
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
        session = hosted(registry)
        registry.add(session, pairs.make()[1])
        session.tunnel.outcome = Outcome.OVER
        session.owner = None
        with pytest.raises(Refused) as refused:
            registry.claim(session, 1, pairs.make()[1])
        assert refused.value.reason is Refusal.UNKNOWN_SESSION and len(registry) == 0


def test_forget_ends_a_connection_and_its_stream() -> None:
    with World() as world:
        opened = Opened(world.pool(), world.target(echo))
        opened.near.sendall(b"x")
        assert opened.near.recv(1) == b"x"
        (session,) = world.registry.all()
        world.registry.forget(session, "for a test")
        assert session.tunnel.stream.closed and session.tunnel.stream.lost == "for a test"
        with opened.near:
            assert opened.end().lost and read_all(opened.near) == b""


@pytest.mark.parametrize("attempts", [0, 2])
def test_a_session_that_is_not_resumed_expires(attempts: int) -> None:
    registry = Registry()
    with Pairs() as pairs:
        session = hosted(registry, resume=1)
        registry.add(session, pairs.make()[1])
        registry.leave(session, Outcome.LOST)
        for number in range(attempts):
            registry.claim(session, number + 1, pairs.make()[1])
            registry.leave(session, Outcome.LOST)
        assert empty(registry)


def test_a_session_that_moved_does_not_expire() -> None:
    registry = Registry()
    with Pairs() as pairs:
        one, two = hosted(registry, resume=0), hosted(registry, resume=1)
        for session in (two, one):
            registry.add(session, pairs.make()[1])
            registry.leave(session, Outcome.LOST)
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
        session = hosted(registry)
        connection = Connection(registry, session, pairs, threads)
        waits, over = threading.Event(), []

        def busy(each: Hosted) -> bool:
            waits.set()
            return each.owner is not None

        threads.start(lambda: over.append(registry.wait_empty(busy, 10.0)))
        assert waits.wait(BOUND)
        connection.near.abort()
        threads.join()
        assert over == [True]
        registry.forget(session, "enough")


# -- budget -----------------------------------------------------------------------------------------------------------


BUDGET = 2 * limits.BUDGET_SHARE * MIB  # the first session may have a window of 1 MiB


def test_windows_shrink_as_the_budget_is_used_and_come_back() -> None:
    registry, shares = Registry(BUDGET), []
    with pytest.raises(Refused) as refused:
        while True:
            shares.append(registry.reserve(b"%d" % len(shares), 4 * MIB))
    assert refused.value.reason is Refusal.FULL
    assert shares[0] == MIB and shares[-1] >= limits.WINDOW_MIN and shares == sorted(shares, reverse=True)
    assert sum(2 * share for share in shares) <= BUDGET and len(shares) > limits.SESSIONS_PER_CLIENT
    for n, share in enumerate(shares):
        registry.give_back(b"%d" % n, share)
    assert registry.reserve(b"A", 4 * MIB) == MIB


def test_a_small_window_is_not_made_larger() -> None:
    assert Registry(BUDGET).reserve(b"A", limits.WINDOW_MIN) == limits.WINDOW_MIN


def test_a_session_gives_its_share_back() -> None:
    registry = Registry(BUDGET)
    with Pairs() as pairs:
        for _ in range(100):
            session = hosted(registry)
            registry.add(session, pairs.make()[1])
            registry.forget(session, "over")
    assert registry.reserve(b"A", 4 * MIB) == MIB


def test_the_budget_reaches_the_client() -> None:
    with World() as world:
        world.server.reception.registry = Registry(BUDGET)
        pool, port = world.pool(), world.target(echo)
        opened = [Opened(pool, port) for _ in range(4)]
        assert [each.ask(b"x" * 300_000) for each in opened] == [b"x" * 300_000] * 4
        windows = sorted(session.tunnel.terms.window for session in world.registry.all())
        assert len(set(windows)) == len(windows) and windows[-1] == MIB


# -- the number of sessions of one client -----------------------------------------------------------------------------


def full(registry: Registry, pairs: Pairs) -> list[Hosted]:
    """All the sessions that client A may have, each connected."""
    sessions = []
    for _ in range(limits.SESSIONS_PER_CLIENT):
        sessions.append(hosted(registry, window=limits.WINDOW_MIN))
        registry.add(sessions[-1], pairs.make()[1])
    return sessions


def test_the_oldest_detached_idle_session_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.SESSIONS_PER_CLIENT == 256
    monkeypatch.setattr(limits, "SESSIONS_PER_CLIENT", 8)
    registry = Registry()
    with Pairs() as pairs:
        sessions = full(registry, pairs)
        with pytest.raises(Refused) as refused:
            registry.reserve(b"A", MIB)
        assert refused.value.reason is Refusal.FULL, "all are connected"
        assert registry.reserve(b"B", MIB), "another client is not concerned"
        stream = Stream(Target(1, "host", 1), None)
        sessions[2].tunnel.stream = stream  # as while it carries one
        for session in sessions[2:5]:
            registry.leave(session, Outcome.LOST)
        assert registry.reserve(b"A", MIB)
        assert registry.all() == [each for each in sessions if each is not sessions[3]]
        stream.own_ended = stream.peer_over = True  # over, so now it is the oldest
        assert registry.reserve(b"A", MIB)
        assert sessions[2] not in registry.all()
        assert registry.reserve(b"A", MIB)
        assert sessions[4] not in registry.all() and len(registry) == 5
        with pytest.raises(Refused):
            registry.reserve(b"A", MIB)
