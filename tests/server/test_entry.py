"""entry: what the audit trail says of a session, from its first connection to its end."""

from __future__ import annotations

import logging

import pytest
from audited import told
from logged import here
from pools import WatchedPool, begun
from registries import entry
from targets import Target, echo
from world import BOUND, World

from nitrosocks_lib.crypto.identity import client_fingerprint
from nitrosocks_lib.facts.levels import NOTE
from nitrosocks_lib.server.registry import Registry

KEY = client_fingerprint(b"A")


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_session_from_its_start_to_its_end(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = entry(registry)
    made.tunnel.number = 3
    which = {"client": "alice", "session": 3}
    made.started(("192.0.2.1", 7), "raw")
    there = which | {"source": "192.0.2.1:7", "carrier": "raw"}
    assert told(here(caplog), "session-started") == [there | {"fingerprint": KEY}]
    made.tunnel.state.reason = "nothing was heard for 61 s"
    made.lost()
    assert told(here(caplog), "session-lost") == [there | {"reason": "nothing was heard for 61 s", "kept": 60}]
    made.resumed(("192.0.2.1", 8), "websocket")
    assert told(here(caplog), "session-resumed") == [which | {"source": "192.0.2.1:8", "carrier": "websocket"}]
    made.resumed(("2001:db8::1", 9), "http")
    there = which | {"source": "[2001:db8::1]:9", "carrier": "http"}
    assert told(here(caplog), "session-moved") == [there | {"before": "192.0.2.1:8"}]
    made.ended("")
    (end,) = told(here(caplog), "session-ended")
    assert end.pop("duration") >= 0 and end == there | {
        "fingerprint": KEY, "streams": 0, "received": 0, "sent": 0, "reason": "released",
    }  # fmt: skip


def test_a_new_address_is_worth_a_note_and_the_same_one_is_not(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    made = entry(registry)
    caplog.set_level(NOTE)
    made.started(("192.0.2.1", 7), "raw")
    made.resumed(("192.0.2.1", 8), "raw")
    made.lost()
    made.resumed(("192.0.2.2", 8), "raw")
    assert [vars(record)["event"] for record in here(caplog)] == ["session-started", "session-moved"]


def test_sessions_have_numbers_and_their_streams_say_which(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with World() as world, Target(echo) as target:
        pools = [WatchedPool(world) for _ in range(2)]
        for pool in pools:
            opened = begun(pool, target.port)
            assert opened.ask(b"1234") == b"1234"
            pool.close(BOUND)
        assert world.registry.wait_empty(lambda _: True, BOUND)
    assert [each["session"] for each in told(caplog.records, "session-started")] == [1, 2]
    assert [each["session"] for each in told(caplog.records, "stream-ended")] == [1, 2]
    ends = told(caplog.records, "session-ended")
    assert [(each["session"], each["streams"]) for each in ends] == [(1, 1), (2, 1)]
    assert {each["reason"] for each in ends} <= {"released", "the other side ended the session"}
    assert all(each["received"] > 4 and each["sent"] > 4 for each in ends)
