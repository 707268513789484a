"""Liveness: silence, stuck writes, refreshes and old keys, at chosen times; then once with real clocks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pools import WatchedPool
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.timers import Timer, now
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session import liveness as module
from nitrosocks_lib.session.liveness import Liveness
from nitrosocks_lib.session.mailbox import OutboundMail
from nitrosocks_lib.session.tunnel import Outcome

HEARTBEAT = 20


class Watched:
    """A tunnel, as far as Liveness looks at it; its clock stands at `begin`."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, refresh_every: float | None = None, heartbeat: int = HEARTBEAT
    ) -> None:
        monkeypatch.setattr(module, "jittered", lambda seconds: seconds)
        self.begin = self.keyed_at = round(now()) + 10_000  # the timer itself never comes to it; sums are exact
        self.terms = SimpleNamespace(heartbeat=heartbeat)
        self.inbound = SimpleNamespace(last_heard=self.begin)
        self.mail = OutboundMail()
        self.outbound = SimpleNamespace(mail=self.mail, stuck_since=0.0)
        self.outcome: Outcome | None = None
        self.refreshing: object = None
        self.refresh_since = 0.0
        self.reason = ""
        self.liveness = Liveness(self, refresh_every)  # type: ignore[arg-type]
        self.liveness.stop()

    def end(self, outcome: Outcome, reason: str) -> None:
        self.outcome, self.reason = outcome, reason

    def look(self, seconds: float) -> float:
        """Looks at that many seconds from the beginning; in how many it wants to look again."""
        return self.liveness._look(self.begin + seconds) - self.begin - seconds

    def pinged(self) -> bool:
        ping, self.mail.ping = self.mail.ping, False
        assert not ping or self.mail.wake.pending
        return ping

    def close(self) -> None:
        self.mail.wake.close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch):
    tunnel = Watched(monkeypatch)
    yield tunnel
    tunnel.close()


@pytest.fixture
def refreshing(monkeypatch: pytest.MonkeyPatch):
    tunnel = Watched(monkeypatch, refresh_every=600.0)
    yield tunnel
    tunnel.close()


def test_silence_is_asked_about_and_three_periods_end_it(watched: Watched) -> None:
    assert watched.look(19.9) == pytest.approx(0.1) and not watched.pinged()
    assert watched.look(20) == pytest.approx(20) and watched.pinged()
    assert watched.look(30) == pytest.approx(10) and not watched.pinged()
    watched.look(40)
    assert watched.pinged() and watched.outcome is None
    watched.look(60)
    assert not watched.pinged() and watched.outcome is Outcome.LOST
    assert watched.reason == "nothing was heard for 60 s"


def test_any_frame_proves_the_peer_alive(watched: Watched) -> None:
    for seconds in (20, 40):
        watched.look(seconds)
        assert watched.pinged()
    watched.inbound.last_heard = watched.begin + 41
    for seconds in (60, 61, 81, 100):
        watched.look(seconds)
        assert watched.pinged() is (seconds in (61, 81)) and watched.outcome is None
    watched.look(101)
    assert watched.outcome is Outcome.LOST


def test_while_frames_come_nothing_is_asked(watched: Watched) -> None:
    for seconds in range(0, 1_000, 19):
        watched.inbound.last_heard = watched.begin + seconds
        assert 0 < watched.look(seconds + 5) <= 20 and not watched.pinged()


@pytest.mark.parametrize(("stuck", "at", "over"), [(1, 60.9, False), (1, 61.1, True), (0, 500, False)])
def test_a_stuck_write(stuck: float, at: float, over: bool, watched: Watched) -> None:
    watched.inbound.last_heard = watched.begin + at  # the peer lives
    watched.outbound.stuck_since = watched.begin + stuck if stuck else 0.0
    watched.look(at)
    assert watched.outcome is (Outcome.LOST if over else None)
    assert watched.reason == ("nothing could be sent for 60 s" if over else "")


def test_a_session_without_a_connection_is_left_alone(watched: Watched) -> None:
    watched.outcome = Outcome.LOST
    assert watched.look(10_000) > 0 and not watched.pinged() and watched.reason == ""


@pytest.mark.parametrize(("age", "over"), [(limits.KEY_AGE - 1, False), (limits.KEY_AGE, True)])
def test_keys_that_are_too_old(age: float, over: bool, watched: Watched) -> None:
    watched.inbound.last_heard = watched.begin + age
    watched.look(age)
    assert (watched.outcome, watched.reason) == ((Outcome.LOST, "the frame keys are too old") if over else (None, ""))


@pytest.mark.parametrize(("seconds", "over"), [(59, False), (60, True)])
def test_a_refresh_without_an_answer(seconds: float, over: bool, watched: Watched) -> None:
    assert limits.REFRESH_ANSWER == 60
    watched.refreshing, watched.refresh_since = b"expected", watched.begin + 100
    watched.inbound.last_heard = watched.begin + 100 + seconds
    watched.look(100 + seconds)
    assert (watched.outcome is Outcome.LOST) is over
    assert watched.reason == ("a refresh was not answered" if over else "")


@pytest.mark.parametrize("heartbeat", [HEARTBEAT, limits.HEARTBEAT_MAX])
@pytest.mark.parametrize("began", [0, 100, 145])
def test_a_refresh_without_an_answer_is_found_at_60_s(
    began: int, heartbeat: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it began, and however seldom there is anything else to look at."""
    watched, at = Watched(monkeypatch, heartbeat=heartbeat), 0.0
    while True:
        if at >= began:
            watched.refreshing, watched.refresh_since = b"expected", watched.begin + began
        watched.inbound.last_heard = watched.begin + at  # the peer lives
        wanted = watched.look(at)
        if watched.outcome is not None:
            break
        assert wanted > 0
        at += wanted
    assert (at, watched.reason) == (began + 60, "a refresh was not answered")
    watched.close()


@pytest.mark.parametrize("connected", [True, False])
def test_the_first_look_is_in_time_too(connected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[float] = []
    monkeypatch.setattr(module.TIMERS, "after", lambda seconds, _: planned.append(seconds) or Timer(lambda _: None))
    watched = Watched(monkeypatch, heartbeat=300)
    watched.outcome = None if connected else Outcome.LOST
    assert planned == [60] and watched.look(0) == 60
    watched.close()


def test_the_server_starts_refreshes_in_time(refreshing: Watched) -> None:
    for seconds, due in ((599.0, False), (600.0, True), (601.0, True)):
        refreshing.inbound.last_heard = refreshing.begin + seconds
        refreshing.mail.refresh = False
        assert refreshing.look(seconds) > 0
        assert refreshing.mail.refresh is due
    refreshing.refreshing, refreshing.refresh_since = object(), refreshing.begin + 601
    refreshing.mail.refresh = False
    refreshing.look(602)
    assert not refreshing.mail.refresh, "one at a time"
    refreshing.refreshing, refreshing.keyed_at = None, refreshing.begin + 603
    refreshing.look(604)
    assert not refreshing.mail.refresh


def test_a_refresh_that_runs_does_not_delay_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, refresh_every=2.0)
    watched.refreshing, watched.refresh_since = object(), watched.begin + 2
    assert watched.look(3) == 2 and not watched.mail.refresh
    watched.refreshing, watched.keyed_at = None, watched.begin + 4
    assert watched.look(5) == 1 and not watched.mail.refresh
    watched.look(6)
    assert watched.mail.refresh
    watched.close()


def test_a_client_starts_none(watched: Watched) -> None:
    watched.inbound.last_heard = watched.begin + 3_000
    watched.look(3_000)
    assert not watched.mail.refresh


# -- with real clocks -------------------------------------------------------------------------------------------------


def test_an_idle_session_lives_on_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "jittered", lambda seconds: seconds / 50)
    with World(proxy=True, heartbeat=5) as world:
        pool = WatchedPool(world)
        pool.start()
        at = world.proxy.bytes_down
        assert world.proxy.wait(lambda: world.proxy.bytes_down > at + 1_000)  # some ten PONGs or PINGs
        assert world.proxy.connections == 1 and pool.free == 1


def test_a_dead_way_is_found_out_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "jittered", lambda seconds: seconds / 50)
    with World(proxy=True, heartbeat=5) as world:
        opened = Opened(world.pool(), world.target(echo))
        opened.near.sendall(b"x")
        assert opened.near.recv(1) == b"x"
        world.proxy.blackhole()
        world.proxy.wait_connections(2, BOUND)
        world.proxy.restore()
        assert opened.ask(b"y") == b"y"


def test_refreshes_by_time() -> None:
    with World(refresh=RefreshPolicy(every=1.0)) as world:
        opened = Opened(world.pool(), world.target(echo))
        opened.near.sendall(b"x")
        assert opened.near.recv(1) == b"x"
        (hosted,) = world.registry.all()
        first = hosted.tunnel.keys
        while hosted.tunnel.refreshes == 0:
            opened.near.sendall(b"x")
            assert opened.near.recv(1) == b"x"
        assert hosted.tunnel.keys != first and opened.ask(b"y") == b"y"
