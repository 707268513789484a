"""What is compared in constant time in a handshake and a refresh: all that depends on a secret (Q4, P7, RF7)."""

from __future__ import annotations

import os

import pytest
from dialogue import HOUR, NOW_MS, SERVER, World
from roles import Roles, receive

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.limits import TOTP_STEP
from nitrosocks_lib.facts.wire import Frame

Compared = list[tuple[bytes, bytes]]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compared:
    """What was given to hmac.compare_digest, in order."""
    pairs: Compared = []
    real = schedule._hmac.compare_digest
    monkeypatch.setattr(schedule._hmac, "compare_digest", lambda a, b: pairs.append((a, b)) or real(a, b))
    return pairs


@pytest.mark.parametrize("ahead", [-1, 0, 1])
def test_all_three_hours_of_a_knock(compared: Compared, ahead: int) -> None:
    """Whichever fits, none is left out, and the first that does not fit is no earlier answer."""
    client, _ = World(client_hour=HOUR + ahead).new_session()
    knock, first = schedule.knock_key(SERVER.public), client.sent[0]
    tags = [schedule.knock_tag(knock, HOUR + off, first[: wire.NONCE]) for off in (-1, 0, 1)]
    assert compared[:3] == [(tag, first[wire.NONCE : wire.KNOCK]) for tag in tags]


@pytest.mark.parametrize("late", [-TOTP_STEP, 0, TOTP_STEP])
def test_all_three_steps_of_a_proof(compared: Compared, late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((NOW_MS, NOW_MS + late * 1000))
    client, server = World(now_ms=lambda: next(times)).new_session()
    assert client.outcome() and server.outcome()
    pairs = compared[-3:]
    assert len({claimed for claimed, _ in pairs}) == 1 and len({proof for _, proof in pairs}) == 3
    assert sum(claimed == proof for claimed, proof in pairs) == 1


def test_switch(compared: Compared) -> None:
    roles = Roles()
    started = roles.server.start_refresh()
    assert started is not None
    receive(roles.client, Frame.REFRESH, started[1:])
    expected, wrong = roles.client.state.refreshing, os.urandom(32)
    with pytest.raises(Exception, match="SWITCH is wrong"):
        receive(roles.client, Frame.SWITCH, wrong)
    assert compared == [(wrong, expected)]
    roles.close()
