"""Resolvers: few threads, turns for all who ask, bounds; names that hang cost no more than their share."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from hanging import Hanging
from scarce import no_threads

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Reply
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.session.dialling import Unreached
from nitrosocks_lib.session.resolvers import Lookup, Resolvers

BOUND = 20.0
SHARE = limits.RESOLVERS // 2  # of one client alone
FOUND: list[Place] = [(socket.AF_INET, ("192.0.2.1", 7))]
Done = SimpleQueue[Lookup]


def ask(resolvers: Resolvers, done: Done, host: str = "name", asker: object = "a") -> Lookup:
    lookup = Lookup(asker, host, 7, done.put)
    assert resolvers.ask(lookup) is None
    return lookup


@contextmanager
def hanging() -> Iterator[tuple[Hanging, Resolvers, Done]]:
    with Hanging() as names:
        yield names, Resolvers(names.resolve), SimpleQueue()


def resolver_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "resolver"}


def test_a_name_is_looked_up() -> None:
    done: Done = SimpleQueue()
    resolvers = Resolvers(lambda host, port: [(socket.AF_INET, (host, port))])
    asked = ask(resolvers, done, "192.0.2.7")
    assert done.get(timeout=BOUND) is asked and asked.found == [(socket.AF_INET, ("192.0.2.7", 7))]
    assert len(resolvers) == 0


ERRORS = {
    "cannot find name: Name or service not known": socket.gaierror(-2, "Name or service not known"),
    "cannot find name: not a host name": UnicodeError("label too long"),
    "an internal error": ZeroDivisionError("a fault of ours"),
    "cannot find name: Too many open files": OSError(errno.EMFILE, "Too many open files"),
}


@pytest.mark.parametrize(("told", "error"), ERRORS.items())
def test_a_name_that_is_not_found(told: str, error: Exception) -> None:
    def fail(*_: object) -> list[Place]:
        raise error

    done: Done = SimpleQueue()
    resolvers = Resolvers(fail)
    for _ in range(limits.RESOLVERS + 1):  # the thread lives on
        ask(resolvers, done)
        found = done.get(timeout=BOUND).found
        assert isinstance(found, Unreached) and found.text == told


def test_one_asker_has_its_share_of_the_threads() -> None:
    """Its other names wait, and another asker's do not."""
    with hanging() as (names, resolvers, done):
        for n in range(30):
            ask(resolvers, done, f"dead{n}")
        assert set(names.begun(SHARE)) == {f"dead{n}" for n in range(SHARE)}
        names.let_go("good")
        assert ask(resolvers, done, "good", "b") is done.get(timeout=BOUND)
        assert names.begun(SHARE + 1)[-1] == "good" and len(resolvers) == 30
        names.let_go("dead0")
        assert done.get(timeout=BOUND).host == "dead0"
        assert names.begun(SHARE + 2)[-1] == f"dead{SHARE}"


def test_askers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked for many names first does not keep others waiting for all of them."""
    monkeypatch.setattr(limits, "RESOLVERS", 1)
    with hanging() as (names, resolvers, done):
        for n in range(4):
            ask(resolvers, done, f"a{n}")
        names.begun(1)
        ask(resolvers, done, "b0", "b")
        names.let_all_go()
        assert names.begun(5) == ["a0", "a1", "b0", "a2", "a3"]
        for _ in range(5):
            done.get(timeout=BOUND)


def test_there_are_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolver_threads()
    with hanging() as (names, resolvers, done):
        for n in range(50):
            ask(resolvers, done, f"dead{n}", n)
        names.begun(limits.RESOLVERS)
        assert len(resolver_threads() - before) == limits.RESOLVERS
        names.let_all_go()
        assert len({done.get(timeout=BOUND).host for _ in range(50)}) == 50


def test_a_thread_without_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESOLVERS_IDLE", 0.01)
    before, done = resolver_threads(), SimpleQueue()
    resolvers = Resolvers(lambda *_: FOUND)
    for _ in range(20):
        ask(resolvers, done)
        assert done.get(timeout=BOUND).found == FOUND
        for thread in resolver_threads() - before:
            thread.join(BOUND)
            assert not thread.is_alive()


def test_what_waits_can_be_dropped() -> None:
    with hanging() as (names, resolvers, done):
        running = [ask(resolvers, done, f"dead{n}") for n in range(SHARE)]
        names.begun(len(running))
        waiting = ask(resolvers, done, "waiting")
        assert resolvers.drop(waiting) and not resolvers.drop(waiting) and len(resolvers) == len(running)
        assert not any(map(resolvers.drop, running))
        names.let_all_go()
        assert {done.get(timeout=BOUND) for _ in running} == set(running)
        assert done.empty() and "waiting" not in names.begun(len(running))


def test_five_that_ask_for_dead_names_leave_threads_for_others() -> None:
    with hanging() as (names, resolvers, done):
        for asker in range(5):
            for n in range(40):
                ask(resolvers, done, f"dead{asker}.{n}", asker)
        names.let_go("good")
        assert ask(resolvers, done, "good", "b") is done.get(timeout=BOUND)


def test_the_bound_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """One alone gets half, and the last place is another's."""
    monkeypatch.setattr(limits, "LOOKUPS", 3)
    with hanging() as (names, resolvers, done):
        for n in range(2):
            ask(resolvers, done, f"dead{n}")
        assert _refused(resolvers, done, "a")
        ask(resolvers, done, "dead2", "b")
        assert _refused(resolvers, done, "c")
        names.let_go("dead1")
        done.get(timeout=BOUND)
        ask(resolvers, done, "name", "c")


def _refused(resolvers: Resolvers, done: Done, asker: object) -> bool:
    refused = resolvers.ask(Lookup(asker, "name", 7, done.put))
    return refused == Unreached(Reply.GENERAL, "too many names are being looked up")


def test_there_is_no_thread() -> None:
    done: Done = SimpleQueue()
    resolvers = Resolvers(lambda *_: FOUND)
    with no_threads("resolver"):
        refused = resolvers.ask(Lookup("a", "name", 7, done.put))
        assert refused is not None and refused.text == "there are no threads left to look it up" and len(resolvers) == 0
    ask(resolvers, done)
    assert done.get(timeout=BOUND).found == FOUND


def test_one_thread_does_for_all_when_there_are_no_more() -> None:
    with hanging() as (names, resolvers, done):
        ask(resolvers, done, "first")
        names.begun(1)
        with no_threads("resolver"):
            ask(resolvers, done, "second")
        names.let_all_go()
        assert [done.get(timeout=BOUND).host for _ in range(2)] == ["first", "second"]


def test_many_ask_at_once() -> None:
    """Each is answered once, whoever asks and drops meanwhile."""
    resolvers, done = Resolvers(lambda host, port: [(socket.AF_INET, (host, port))]), SimpleQueue()
    dropped: list[Lookup] = []

    def use(asker: int) -> None:
        for n in range(200):
            lookup = ask(resolvers, done, f"{asker}.{n}", asker)
            if n % 3 == 0 and resolvers.drop(lookup):
                dropped.append(lookup)

    threads = [threading.Thread(target=use, args=(asker,)) for asker in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    answered = [done.get(timeout=BOUND).host for _ in range(1_000 - len(dropped))]
    assert len(set(answered)) == len(answered) and not {lookup.host for lookup in dropped} & set(answered)
    assert len(resolvers) == 0 and not resolvers._running and not resolvers._waiting
