"""Registry, where two threads want one session at the same time, or there is no thread for its end."""

from __future__ import annotations

import threading

import pytest
from links import Pairs, Threads
from registries import empty, entry
from scarce import no_threads
from world import BOUND

from nitrosocks_lib.facts.errors import NetworkError, ProtocolError, Refused
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.server import registry as module
from nitrosocks_lib.server.entry import Entry
from nitrosocks_lib.server.registry import Registry
from nitrosocks_lib.session.state import Outcome


def test_a_session_that_was_forgotten_meanwhile_cannot_be_claimed() -> None:
    """Its RESUME was being read when it expired, or made room."""
    registry = Registry()
    with Pairs() as pairs:
        session = entry(registry)
        registry.add(session, pairs.make()[1])
        registry.leave(session, Outcome.LOST)
        registry.forget(session, "it made room for a newer session")
        with pytest.raises(Refused) as refused:
            registry.claim(session, 1, pairs.make()[1])
        assert refused.value.reason is Refusal.UNKNOWN_SESSION and session.owner is None


def test_who_leaves_does_not_let_a_moved_session_expire() -> None:
    """Once it has no owner another thread may claim and move it: then nothing is left to be detached."""
    moved = threading.Event()

    class Late(Registry):
        """Another connection wants the session as soon as it may have it; it gets a moment's start."""

        def _detach(self, session: Entry) -> None:
            if session.owner is None:
                threads.start(claim)
                moved.wait(0.2)
            super()._detach(session)

    registry = Late()
    with Pairs() as pairs, Threads() as threads:
        session, link = entry(registry), pairs.make()[1]
        registry.add(session, pairs.make()[1])

        def claim() -> None:
            registry.claim(session, 1, link)
            registry.moved(session)
            moved.set()

        registry.leave(session, Outcome.LOST)
        assert moved.wait(BOUND) and session.expiry is None
    session.owner = None
    registry.forget(session, "enough")


def test_who_lost_the_session_to_a_later_attempt_does_not_detach_it() -> None:
    """The later one may have moved it by then."""
    registry, later = Registry(), threading.Thread()

    class Previous:
        """The owner; while it is joined a greater j comes."""

        def join(self) -> None:
            session.owner = later

    with Pairs() as pairs:
        session = entry(registry)
        registry.add(session, pairs.make()[1])
        session.owner = Previous()  # type: ignore[assignment]
        registry.claim(session, 1, pairs.make()[1])
        assert session.owner is later and session.expiry is None
        session.owner = None
        registry.forget(session, "enough")


def test_no_thread_for_an_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.01)
    registry = Registry()
    with Pairs() as pairs:
        session = entry(registry, resume=0)
        registry.add(session, pairs.make()[1])
        with no_threads("expiry") as wanted:
            registry.leave(session, Outcome.LOST)
            assert wanted.wait(BOUND) and len(registry) == 1
        assert empty(registry)


def test_a_resume_while_the_session_is_being_forgotten() -> None:
    """Its connection ended, and it is over; a RESUME claims it before it is forgotten. Both end."""
    claiming, claimed = threading.Event(), []
    registry = Registry()
    with Pairs() as pairs, Threads() as threads:
        session, link = entry(registry), pairs.make()[1]
        registry.add(session, pairs.make()[1])
        session.tunnel.state.outcome = Outcome.OVER
        real = registry.forget

        def forget(each: Entry, reason: str) -> None:
            if not claiming.is_set():
                claiming.set()
                threads.start(claim).join(BOUND)
            real(each, reason)

        def claim() -> None:
            try:
                registry.claim(session, 1, link)
            except Refused as refused:
                claimed.append(refused.reason)

        registry.forget = forget  # type: ignore[method-assign]
        registry.leave(session, Outcome.OVER)
    assert claimed == [Refusal.UNKNOWN_SESSION] and len(registry) == 0 and not registry._per_client


def test_many_resumes_at_once() -> None:
    """The greatest j has the session in the end; every other one was told so, or was ended by a greater one."""
    registry, ended = Registry(), []
    with Pairs() as pairs, Threads() as threads:
        session = entry(registry)
        registry.add(session, pairs.make()[1])
        registry.leave(session, Outcome.LOST)
        meeting, links = threading.Barrier(8), [pairs.make()[1] for _ in range(8)]

        def attempt(number: int) -> None:
            meeting.wait(BOUND)
            try:
                registry.claim(session, number, links[number - 1])
                if number == 8:
                    registry.moved(session)
                    return
                with pytest.raises(NetworkError):
                    links[number - 1].read_exactly(1, now() + BOUND)
                registry.leave(session, Outcome.LOST)
            except ProtocolError:
                pass
            ended.append(number)

        for number in range(1, 9):
            threads.start(attempt, number)
        threads.join()
        assert session.attempt == 8 and session.link is links[7] and session.expiry is None
        assert sorted(ended) == list(range(1, 8))
        session.owner = None
        registry.forget(session, "enough")
