"""Attempt: one RESUME in a thread of its own; whoever waits for it may give up, and nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from loopback import unused_port
from scarce import no_threads
from world import BOUND, World

from nitrosocks_lib.client.attempt import Attempt, abort_first
from nitrosocks_lib.client.dialler import Dialler, Greeting
from nitrosocks_lib.facts.errors import NetworkError, Refused
from nitrosocks_lib.facts.wire import Abort, Refusal
from nitrosocks_lib.net.connect import Route
from nitrosocks_lib.net.link import Link


@pytest.fixture
def world() -> Iterator[World]:
    with World(proxy=True) as made:
        yield made


class Resumed:
    """A session without an owner, and attempts to resume it."""

    def __init__(self, world: World) -> None:
        self.world, self.dialler = world, world.dialler()
        self.made: Greeting = self.dialler.greet()
        self.made.link.close()
        self.server_tunnel = world.entry.tunnel
        self.number = 0

    def attempt(self, dialler: Any = None, link: Link | None = None, server: Any = None) -> tuple[Attempt, Any]:
        """One that is begun, and the event of its end."""
        finished = threading.Event()
        attempt = Attempt(dialler or self.dialler, server or self.made.server, link, finished.set)
        self.number += 1
        attempt.start(self.made.greeted.terms, self.number, 0)
        return attempt, finished

    def ended(self) -> str:
        """Why the server's session is over, once it is."""
        assert self.world.registry.wait_empty(lambda _: True, BOUND)
        return self.server_tunnel.state.reason


class Held(Dialler):
    """Waits with what came of `resume`."""

    def __init__(self, world: World) -> None:
        super().__init__(world.credentials(), (), Route())
        self.there, self.go = threading.Event(), threading.Event()

    def resume(self, *arguments: Any) -> Any:
        recovered = super().resume(*arguments)
        self.there.set()
        assert self.go.wait(BOUND)
        return recovered


class Failing(Dialler):
    """Connects, and then fails."""

    def __init__(self, world: World, error: Exception) -> None:
        super().__init__(world.credentials(), (), Route())
        self.error = error

    def resume(self, *_: Any) -> Any:
        raise self.error


def test_it_dials_and_resumes(world: World) -> None:
    resumed = Resumed(world)
    attempt, finished = resumed.attempt()
    assert finished.wait(BOUND) and attempt.done and attempt.error is None
    assert attempt.link is not None and attempt.recovered is not None and attempt.recovered.received == 0
    attempt.link.close()


def test_it_resumes_on_a_link_that_is_there(world: World) -> None:
    resumed = Resumed(world)
    link = resumed.dialler.connect(resumed.made.server)
    before = world.proxy.connections if world.proxy else 0
    attempt, finished = resumed.attempt(link=link)
    assert finished.wait(BOUND) and attempt.error is None and attempt.link is link
    assert world.proxy is not None and world.proxy.connections == before
    link.close()


def test_a_server_out_of_reach(world: World) -> None:
    attempt, finished = Resumed(world).attempt(server=("127.0.0.1", unused_port()))
    assert finished.wait(BOUND) and isinstance(attempt.error, NetworkError)
    assert "cannot reach" in str(attempt.error) and attempt.link is None


def test_a_refusal(world: World) -> None:
    resumed = Resumed(world)
    world.registry.forget(world.entry, "over")
    attempt, finished = resumed.attempt()
    assert finished.wait(BOUND) and isinstance(attempt.error, Refused)
    assert attempt.error.reason is Refusal.UNKNOWN_SESSION
    assert world.proxy is not None and world.proxy.wait(lambda: world.proxy.live == 0, BOUND), "it is closed"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(24, "Too many open files"), "no attempt can be made: [Errno 24] Too many open files"),
        (MemoryError(), "no attempt can be made: MemoryError"),
        (NetworkError("cut"), "cut"),
    ],
    ids=["OSError", "MemoryError", "NetworkError"],
)
def test_what_is_lacking_ends_this_attempt_alone(error: Exception, told: str, world: World) -> None:
    """It may be there again at the next."""
    resumed = Resumed(world)
    attempt, finished = resumed.attempt(Failing(world, error))
    assert finished.wait(BOUND) and isinstance(attempt.error, NetworkError) and str(attempt.error) == told
    again, finished = resumed.attempt()
    assert finished.wait(BOUND) and again.error is None and again.link is not None
    again.link.close()


def test_no_thread_is_left(world: World) -> None:
    resumed = Resumed(world)
    link = resumed.dialler.connect(resumed.made.server)
    with no_threads("attempt"):
        attempt, _ = resumed.attempt(link=link)
        assert attempt.done and isinstance(attempt.error, NetworkError)
    with pytest.raises(NetworkError):
        link.read_first(0.0)  # it is closed


def test_abandoned_it_ends_the_session_that_it_resumed(world: World) -> None:
    resumed, held = Resumed(world), Held(world)
    attempt, finished = resumed.attempt(held)
    assert held.there.wait(BOUND)
    attempt.abandon()
    held.go.set()
    assert finished.wait(BOUND) and resumed.ended() == "the other side ended the session"
    assert world.proxy is not None and world.proxy.wait(lambda: world.proxy.live == 0, BOUND)


def test_abandoned_when_it_was_done_it_does_the_same(world: World) -> None:
    resumed = Resumed(world)
    attempt, finished = resumed.attempt()
    assert finished.wait(BOUND)
    attempt.abandon()
    assert resumed.ended() == "the other side ended the session"
    attempt.abandon()  # once


def test_abandoned_it_may_fail(world: World) -> None:
    resumed, held = Resumed(world), Held(world)
    attempt, finished = resumed.attempt(held)
    assert held.there.wait(BOUND) and world.proxy is not None
    world.proxy.cut()
    attempt.abandon()
    held.go.set()
    assert finished.wait(BOUND)
    again, finished = resumed.attempt()
    assert finished.wait(BOUND) and again.error is None, "RECOVERED alone moves nothing"
    assert again.link is not None
    again.link.close()


def test_abort_as_the_first_frame(world: World) -> None:
    resumed = Resumed(world)
    attempt, finished = resumed.attempt()
    assert finished.wait(BOUND) and attempt.link is not None and attempt.recovered is not None
    abort_first(attempt.link, attempt.recovered.keys, resumed.made.greeted.terms.encrypt_type, Abort.VIOLATION)
    assert resumed.ended() == "the other side ended the session: protocol violation"
    attempt.link.close()
