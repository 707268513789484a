"""failures: a first one is told, those behind it are counted for a minute; and which sources are one."""

from __future__ import annotations

import logging

import pytest
from audited import told
from logged import here, messages

from nitrosocks_lib.crypto.identity import client_fingerprint
from nitrosocks_lib.server import failures as module
from nitrosocks_lib.server.failures import OTHERS, Counted, Failures, source_of

# -- counting ---------------------------------------------------------------------------------------------------------


def test_the_first_is_told_and_the_others_are_counted() -> None:
    counted = Counted(seconds=60.0)
    assert [counted.first("a", at) for at in (0.0, 1.0, 59.0)] == [True, False, False]
    assert counted.next_at == 60.0 and counted.due(59.9) == [] and counted.due(60.0) == [("a", 2)]
    assert len(counted) == 0 and counted.next_at is None
    assert counted.first("a", 61.0)


def test_one_alone_is_not_told_again() -> None:
    counted = Counted(seconds=60.0)
    assert counted.first("a", 0.0) and counted.due(60.0) == [] and len(counted) == 0


def test_sources_are_told_apart() -> None:
    counted = Counted(seconds=60.0)
    assert counted.first("a", 0.0) and counted.first("b", 30.0)
    assert not counted.first("a", 31.0) and not counted.first("b", 32.0)
    assert counted.due(60.0) == [("a", 1)] and counted.next_at == 90.0 and counted.due(90.0) == [("b", 1)]


def test_many_sources_take_no_more_memory() -> None:
    counted = Counted(most=3, seconds=60.0)
    assert [counted.first(str(number), 0.0) for number in range(3)] == [True] * 3
    assert not any(counted.first(str(number), 1.0) for number in range(3, 10_000))
    assert len(counted) == 4
    assert not counted.first("0", 2.0)
    assert counted.due(60.0) == [("0", 1)] and counted.due(61.0) == [(OTHERS, 9_997)]


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)  # fmt: skip
def test_sources(host: str, source: str) -> None:
    assert source_of(host) == source


# -- telling ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is; timers never fire."""
    times = [1_000.0]

    class Never:
        def at(self, deadline: float, action: object) -> None:
            times.append(deadline)

    monkeypatch.setattr(module, "now", lambda: times[0])
    monkeypatch.setattr(module, "TIMERS", Never())
    return times


def test_a_failure_names_its_source_key_and_file(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures(lambda client_id: ("/x/a.toml", "its file has a fault: no"))
    failures.failed(("2001:db8::1", 4711), "raw", "", "alice", b"A" * 16)
    assert told(here(caplog), "login-failed") == [
        {
            "source": "[2001:db8::1]:4711", "carrier": "raw", "client": "alice", "file": "/x/a.toml",
            "fingerprint": client_fingerprint(b"A" * 16), "reason": "its file has a fault: no",
        }
    ]  # fmt: skip


def test_who_goes_on_is_told_once_a_minute(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    for port in range(100):
        failures.failed(("192.0.2.1", port), "raw", "why")
    assert len(here(caplog)) == 1 and clock[1:] == [1_060.0], "one timer, too"
    assert failures._look(1_060.0) is None
    assert messages(here(caplog))[1:] == ["more failed logins from 192.0.2.1 in 60 s: 99"]
    failures.failed(("192.0.2.1", 1), "raw", "why")
    assert len(told(here(caplog), "login-failed")) == 2 and len(clock) == 3


def test_the_end_tells_what_was_counted(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    for _ in range(3):
        failures.failed(("192.0.2.1", 1), "http", "why")
    failures.end()
    assert [(each["count"], each["source"]) for each in told(here(caplog), "logins-failed")] == [(2, "192.0.2.1")]
    assert all(record.levelno == logging.WARNING for record in here(caplog))


def test_without_a_thread_for_timers_the_next_failure_asks_again(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        asked = 0

        def at(self, deadline: float, action: object) -> None:
            self.asked += 1
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "TIMERS", full := Full())
    failures = Failures()
    for _ in range(3):
        failures.failed(("192.0.2.1", 1), "raw", "why")
    assert full.asked == 3
