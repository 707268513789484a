"""Liveness: silence, stuck writes, half frames, refreshes and old keys, at chosen times; then with real clocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pools import begun
from roles import Roles
from world import BOUND, World, echo

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net.timers import Timer, now
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session import liveness as module
from nitrosocks_lib.session.liveness import Liveness
from nitrosocks_lib.session.state import Outcome

HEARTBEAT = 20


class Watched:
    """A session that has just been connected; its clock stands at `begin`."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, refresh_every: float | None = None, heartbeat: int = HEARTBEAT
    ) -> None:
        monkeypatch.setattr(module, "jittered", lambda seconds: seconds)
        self._roles = Roles()
        self.state = state = self._roles.server.state
        state.terms.heartbeat = heartbeat
        state.begin()
        self.begin = round(now()) + 10_000  # the timer itself never comes to it; sums are exact
        state.last_heard = state.keyed_at = self.begin
        self.liveness = Liveness(state, refresh_every)
        self.liveness.stop()

    def heard(self, seconds: float) -> None:
        self.state.last_heard = self.begin + seconds

    def look(self, seconds: float) -> float:
        """Looks at that many seconds from the beginning; in how many it wants to look again."""
        return self.liveness._look(self.begin + seconds) - self.begin - seconds

    def pinged(self) -> bool:
        outbox = self.state.outbox
        ping, outbox.ping = outbox.ping, False
        assert not ping or outbox.waiter.pending
        return ping

    @property
    def outcome(self) -> Outcome | None:
        return self.state.outcome

    def close(self) -> None:
        self._roles.close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    tunnel = Watched(monkeypatch)
    yield tunnel
    tunnel.close()


@pytest.fixture
def refreshing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
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
    assert watched.state.reason == "nothing was heard for 60 s"


def test_any_frame_proves_the_peer_alive(watched: Watched) -> None:
    for seconds in (20, 40):
        watched.look(seconds)
        assert watched.pinged()
    watched.heard(41)
    for seconds in (60, 61, 81, 100):
        watched.look(seconds)
        assert watched.pinged() is (seconds in (61, 81)) and watched.outcome is None
    watched.look(101)
    assert watched.outcome is Outcome.LOST


def test_while_frames_come_nothing_is_asked(watched: Watched) -> None:
    for seconds in range(0, 1_000, 19):
        watched.heard(seconds)
        assert 0 < watched.look(seconds + 5) <= 20 and not watched.pinged()


@pytest.mark.parametrize(("stuck", "at", "over"), [(1, 60.9, False), (1, 61.1, True), (0, 500, False)])
def test_a_stuck_write(stuck: float, at: float, over: bool, watched: Watched) -> None:
    watched.heard(at)  # the peer lives
    watched.state.stuck_since = watched.begin + stuck if stuck else 0.0
    watched.look(at)
    assert watched.outcome is (Outcome.LOST if over else None)
    assert watched.state.reason == ("nothing could be sent for 60 s" if over else "")


@pytest.mark.parametrize(("since", "at", "over"), [(1, 120.9, False), (1, 121.1, True), (0, 500, False)])
def test_a_frame_that_does_not_become_whole(since: float, at: float, over: bool, watched: Watched) -> None:
    """Bytes that arrive are life, but its length may have been changed on the way."""
    assert limits.FRAME_TIME == 120
    watched.heard(at)
    watched.state.partial_since = watched.begin + since if since else 0.0
    assert watched.look(1) <= 120
    watched.look(at)
    assert watched.outcome is (Outcome.LOST if over else None)
    assert watched.state.reason == ("a frame was not complete after 120 s" if over else "")


@pytest.mark.parametrize(
    ("size", "heard", "at", "over"),
    [
        (20, 0, 3.9, False), (20, 0, 4.0, True),  # no byte in it for 4 s
        (20, 4.5, 4.9, False), (20, 4.5, 5.0, True),  # bytes come, and it is not whole after 5 s
        (64_000, 6.0, 8.0, False), (64_000, 9.0, 10.0, True),  # slower than 64 kbit/s
    ],
)  # fmt: skip
def test_a_server_gives_up_a_frame_that_swallows_the_others(
    size: int, heard: float, at: float, over: bool, watched: Watched
) -> None:
    """The client may be waiting for nothing, and hears what comes down: only the server can notice."""
    watched.state.partial(size, watched.begin)
    watched.heard(heard)
    again = watched.liveness._look_at_frame(watched.begin + at)
    assert (again is None) is over and watched.outcome is (Outcome.LOST if over else None)


def test_a_frame_that_begins_is_looked_at_in_time(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[float] = []
    monkeypatch.setattr(module.TIMERS, "after", lambda seconds, _: planned.append(seconds))
    for size in (20, 40):
        watched.state.partial(size, watched.begin)
    assert planned == [4.0], "one look for all of a session"
    watched.state.partial_since = 0.0
    assert watched.liveness._look_at_frame(watched.begin + 4) is None
    watched.state.partial(20, watched.begin + 5)
    assert planned == [4.0, 4.0] and watched.outcome is None


def test_a_client_is_left_to_its_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = Roles()
    before = roles.client.state.waits
    Liveness(roles.client.state).stop()
    assert roles.client.state.waits is before
    roles.close()


def test_a_ping_that_goes_out_is_something_unanswered(watched: Watched) -> None:
    told: list[bool] = []
    watched.state.waits = lambda: told.append(True)
    watched.look(20)
    assert told == [True] and watched.state.doubt.due(watched.begin, watched.begin + 20) > 0


def test_a_session_without_a_connection_is_left_alone(watched: Watched) -> None:
    watched.state.outcome = Outcome.LOST
    assert watched.look(10_000) > 0 and not watched.pinged() and watched.state.reason == ""


@pytest.mark.parametrize(("age", "over"), [(limits.KEY_AGE - 1, False), (limits.KEY_AGE, True)])
def test_keys_that_are_too_old(age: float, over: bool, watched: Watched) -> None:
    watched.heard(age)
    watched.look(age)
    assert (watched.outcome, watched.state.reason) == (
        (Outcome.LOST, "the frame keys are too old") if over else (None, "")
    )


@pytest.mark.parametrize(("seconds", "over"), [(59, False), (60, True)])
def test_a_refresh_without_an_answer(seconds: float, over: bool, watched: Watched) -> None:
    assert limits.REFRESH_ANSWER == 60
    watched.state.refreshing, watched.state.refresh_since = b"expected", watched.begin + 100
    watched.heard(100 + seconds)
    watched.look(100 + seconds)
    assert (watched.outcome is Outcome.LOST) is over
    assert watched.state.reason == ("a refresh was not answered" if over else "")


@pytest.mark.parametrize("heartbeat", [HEARTBEAT, limits.HEARTBEAT_MAX])
@pytest.mark.parametrize("began", [0, 100, 145])
def test_a_refresh_without_an_answer_is_found_at_60_s(
    began: int, heartbeat: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it began, and however seldom there is anything else to look at."""
    watched, at = Watched(monkeypatch, heartbeat=heartbeat), 0.0
    while True:
        if at >= began:
            watched.state.refreshing, watched.state.refresh_since = b"expected", watched.begin + began
        watched.heard(at)  # the peer lives
        wanted = watched.look(at)
        if watched.outcome is not None:
            break
        assert wanted > 0
        at += wanted
    assert (at, watched.state.reason) == (began + 60, "a refresh was not answered")
    watched.close()


@pytest.mark.parametrize("connected", [True, False])
def test_the_first_look_is_in_time_too(connected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[float] = []
    monkeypatch.setattr(module.TIMERS, "after", lambda seconds, _: planned.append(seconds) or Timer(lambda _: None))
    watched = Watched(monkeypatch, heartbeat=300)
    watched.state.outcome = None if connected else Outcome.LOST
    assert planned == [60] and watched.look(0) == 60
    watched.close()


def test_the_server_starts_refreshes_in_time(refreshing: Watched) -> None:
    for seconds, due in ((599.0, False), (600.0, True), (601.0, True)):
        refreshing.heard(seconds)
        refreshing.state.outbox.refresh = False
        assert refreshing.look(seconds) > 0
        assert refreshing.state.outbox.refresh is due
    refreshing.state.refreshing, refreshing.state.refresh_since = b"under way", refreshing.begin + 601
    refreshing.state.outbox.refresh = False
    refreshing.look(602)
    assert not refreshing.state.outbox.refresh, "one at a time"
    refreshing.state.refreshing, refreshing.state.keyed_at = None, refreshing.begin + 603
    refreshing.look(604)
    assert not refreshing.state.outbox.refresh


def test_a_refresh_that_runs_does_not_delay_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, refresh_every=2.0)
    watched.state.refreshing, watched.state.refresh_since = b"under way", watched.begin + 2
    assert watched.look(3) == 2 and not watched.state.outbox.refresh
    watched.state.refreshing, watched.state.keyed_at = None, watched.begin + 4
    assert watched.look(5) == 1 and not watched.state.outbox.refresh
    watched.look(6)
    assert watched.state.outbox.refresh
    watched.close()


def test_a_client_starts_none(watched: Watched) -> None:
    watched.heard(3_000)
    watched.look(3_000)
    assert not watched.state.outbox.refresh


# -- with real clocks --------------------------------------------------------------------------------------------------


def test_an_idle_session_lives_on_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "jittered", lambda seconds: seconds / 50)
    with World(proxy=True, heartbeat=5) as world:
        pool = world.pool()
        pool.start()
        at = world.proxy.bytes_down
        assert world.proxy.wait(lambda: world.proxy.bytes_down > at + 1_000)  # some ten PONGs or PINGs
        assert world.proxy.connections == 1


def test_a_dead_way_is_found_out_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "jittered", lambda seconds: seconds / 50)
    with World(proxy=True, heartbeat=5) as world:
        opened = [begun(world.pool(), world.target(echo)) for _ in range(3)]
        world.proxy.blackhole()
        world.proxy.wait_connections(4, BOUND)
        world.proxy.restore()
        assert [each.ask(b"y") for each in opened] == [b"y"] * 3


def test_refreshes_by_time() -> None:
    with World(refresh=RefreshPolicy(every=0.2)) as world:
        opened = begun(world.pool(), world.target(echo))
        tunnel = world.entry.tunnel
        while tunnel.refreshes < 3:
            opened.near.sendall(b"x")
            assert opened.near.recv(1) == b"x"
        assert opened.ask(b"y") == b"y" and opened.clean


def test_a_stream_that_only_goes_up_is_refreshed_too() -> None:
    """The server sends nothing but ACKs then."""

    def swallow(sock) -> None:
        while sock.recv(1 << 16):
            pass

    with World(refresh=RefreshPolicy(volume=256 * 1024)) as world:
        opened = begun(world.pool(), world.target(lambda sock: (sock.sendall(sock.recv(1)), swallow(sock))))
        tunnel = world.entry.tunnel
        while tunnel.refreshes < 4:
            opened.near.sendall(bytes(512 * 1024))
        assert opened.ask(b"") == b"" and opened.clean
