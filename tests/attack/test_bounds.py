"""Enrolled clients that take all they can: the honest one is served beside them, and the server goes on accepting."""

from __future__ import annotations

import argparse

import bounds
import peer
from enrolled import answers, enrol, opens

from nitrosocks_lib.facts import limits

NOT_SERVED = "the honest client is not served"


def test_two_that_take_all_the_streams() -> None:
    with bounds.few() as attack:
        got = []
        for profile in attack.greedy(2):
            client = enrol(profile, attack.server.port)
            attack.callback(client.sock.close)
            opens(client, 1, 600, attack.target.port)
            got.append(answers(client, 600)[peer.OPENED])
        assert got == [bounds.FEW // 4, bounds.FEW // 8], "half of half the descriptors, and half of what is left"
        attack.honest(streams=10)
        assert NOT_SERVED not in attack.wrong


def test_one_that_takes_all_the_sessions() -> None:
    with bounds.few() as attack:
        (profile,) = attack.greedy(1)
        made = [attack.enrol(profile) for _ in range(limits.SESSIONS_PER_CLIENT)]
        assert 0 < sum(each is not None for each in made) < limits.SESSIONS_PER_CLIENT
        attack.honest()
        assert NOT_SERVED not in attack.wrong


def test_one_that_acknowledges_nothing() -> None:
    """A few seconds of it; to be thrown out takes 131,072 OPENs."""
    wrong = bounds.refused(argparse.Namespace(seconds=3.0))
    assert "it grows" not in wrong and NOT_SERVED not in wrong
