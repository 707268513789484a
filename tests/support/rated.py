"""A server's half whose client is held to a rate."""

from __future__ import annotations

import os

from half import Half

from nitrosocks_lib.protocol.bucket import burst_of
from nitrosocks_lib.protocol.fair import Turn
from nitrosocks_lib.session.rate import Rate

SLOW = 1024  # bytes a second: behind the burst nothing to speak of passes while a test runs
FAST = 256 << 10
BURST = burst_of(SLOW)
SAID = os.urandom(BURST + 40_000)


def rated(up: int = 0, down: int = 0) -> Half:
    """Its dials are decided by the test."""
    half = Half(True, held=True)
    half.tunnel.state.up, half.tunnel.state.down = Rate(up), Rate(down)
    return half


def use_up(rate: Rate) -> None:
    """The burst is over."""
    turn = Turn(lambda: None)
    while rate.take(turn, 1 << 16, 128):
        pass
    rate.leave(turn)
