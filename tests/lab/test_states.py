"""Every type of frame meets a session in every state, at both sides, over memory (docs/protocol.md, 3.5 and 5).

No stream is open here; what a stream admits in each of its states is tests/support/stream_table.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from plains import DATA, END, OPEN, OPENED, PING, REFUSED, RESET
from roles import Roles

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.identity import KemPublic
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import ProtocolError, Violation
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames, refresh
from nitrosocks_lib.protocol.handshake import Keys, draw_ephemeral
from nitrosocks_lib.session.state import Attached
from nitrosocks_lib.session.tunnel import Tunnel

BOTH = {Frame.ACK, Frame.PING, Frame.PONG, Frame.PAD, Frame.ABORT}
TO_SERVER = BOTH | {Frame.OPEN, Frame.LISTEN, Frame.DISCONNECT}
TO_CLIENT = BOTH | {Frame.REFRESH, Frame.GOAWAY}
FIRST = {Frame.ACK, Frame.ABORT}
UNKNOWN = (0x00, 0x0F, 0x16, 0x17, 0x1C, 0x1F, 0x27, 0x2F, 0x35, 0x7F, 0xFF)


class Said(Roles):
    """`plains` are well-formed frames, type ‖ payload: those that were made in a refresh or release, else some."""

    def __init__(self) -> None:
        super().__init__()
        self.plains: dict[int, bytes] = {
            plain[0]: plain
            for plain in (
                OPEN(1), OPENED(1), REFUSED(1), DATA(1, b"x"), END(1), RESET(1), PING(), frames.ack(0),
                frames.goaway(9), frames.abort(Abort.OTHER), bytes([Frame.LISTEN]) + OPEN(1)[1:],
                bytes([Frame.UNLISTEN, 0, 0, 0, 1]),
                bytes([Frame.LISTENING, 0, 0, 0, 1, 0, 0, 7]) + b"host", bytes([Frame.PONG]) + bytes(32),
                bytes([Frame.ACCEPTED, 0, 0, 0, 2, 0, 0, 0, 1, 0, 7]) + b"host",
                bytes([Frame.REFRESHED]) + bytes(wire.REFRESHED_SIZE), bytes([Frame.SWITCH]) + bytes(32),
                bytes([Frame.DISCONNECT_ACK]) + bytes(32), bytes([Frame.DISCONNECT_DONE]) + bytes(32),
            )
        }  # fmt: skip
        started = self.server.start_refresh()
        assert started is not None
        self.plains[Frame.REFRESH], self.server.state.refreshing = started, None

    def plain(self, kind: int) -> bytes:
        return self.plains.get(kind, bytes([kind]))


def arrive(tunnel: Tunnel, plain: bytes) -> None:
    """This frame was opened; raises what ends the session or the connection."""
    inbound = tunnel.inbound
    if inbound.first_due:
        inbound._look_at_first(plain[0])
    if plain[0] == Frame.DATA:
        inbound._slot = bytearray(plain)
        inbound._on_data(memoryview(inbound._slot), len(plain), 0.0)
    else:
        inbound._on_frame(memoryview(plain), len(plain))


# States


def nothing(said: Said) -> None:
    """The session as it begins."""


def moved(said: Said) -> None:
    """RESUME and RECOVERED are done, and this is the first frame behind them."""
    for tunnel in said.both():
        tunnel.attach(Attached(Keys(os.urandom(32), os.urandom(32)), draw_ephemeral(os.urandom)), 0)


def refreshing(said: Said) -> None:
    """REFRESH and REFRESHED are out."""
    started = said.server.start_refresh()
    assert started is not None
    arrive(said.client, started)
    assert said.client.outbox.refreshed is not None
    said.plains[Frame.REFRESHED] = said.client.outbox.refreshed[0]
    assert isinstance(said.client.state.refreshing, bytes)
    said.plains[Frame.SWITCH] = bytes([Frame.SWITCH]) + said.client.state.refreshing


def refreshed(said: Said) -> None:
    """REFRESHED has come to the server, and SWITCH to the client."""
    refreshing(said)
    arrive(said.server, said.plains[Frame.REFRESHED])
    arrive(said.client, said.plains[Frame.SWITCH])
    said.client.outbox.refreshed = None
    state = said.server.state
    assert isinstance(state.ephemeral, KemPublic)
    next_one = refresh.start(state.keys, state.ephemeral, said.server.client.public.kem, os.urandom)
    said.plains[Frame.REFRESH] = bytes([Frame.REFRESH]) + next_one.payload


def draining(said: Said) -> None:
    said.server.outbox.post(goaway=frames.goaway(9))
    arrive(said.client, frames.goaway(9))


def releasing(said: Said) -> None:
    """DISCONNECT is out at the client, and has come to the server."""
    said.client.state.releasing = now()
    arrive(said.server, bytes([Frame.DISCONNECT]))
    said.plains[Frame.DISCONNECT_DONE] = bytes([Frame.DISCONNECT_DONE]) + schedule.hash256(said.server._r2)


# What is no violation in a state; all other types are one.
States = dict[Callable[[Said], None], set[Frame]]
SERVER: States = {
    nothing: TO_SERVER,
    moved: FIRST,
    refreshing: TO_SERVER | {Frame.REFRESHED},
    refreshed: TO_SERVER,
    draining: TO_SERVER,
    releasing: {Frame.DISCONNECT_DONE, Frame.ABORT},
}
CLIENT: States = {
    nothing: TO_CLIENT,
    moved: FIRST,
    refreshing: TO_CLIENT - {Frame.REFRESH} | {Frame.SWITCH},
    refreshed: TO_CLIENT,
    draining: TO_CLIENT,
    releasing: TO_CLIENT | {Frame.DISCONNECT_ACK},  # RL6: and all but ABORT and this one is without effect
}
SIDES = {"server": SERVER, "client": CLIENT}
ROWS = [(side, state, fine) for side, states in SIDES.items() for state, fine in states.items()]
in_every_state = pytest.mark.parametrize(("side", "state", "fine"), ROWS, ids=lambda x: getattr(x, "__name__", None))


@pytest.fixture
def made() -> Iterator[Callable[[Any], Said]]:
    """Makes sessions that are in a state, and ends them."""
    all_of_them: list[Said] = []

    def make(state: Callable[[Said], None]) -> Said:
        all_of_them.append(said := Said())
        state(said)
        return said

    yield make
    for said in all_of_them:
        said.close()


@in_every_state
def test_each_type(made: Any, side: str, state: Callable[[Said], None], fine: set[Frame]) -> None:
    wrong = []
    for kind in (*Frame, *UNKNOWN):
        said = made(state)
        try:
            arrive(getattr(said, side), said.plain(kind))
            is_fine = True
        except Violation:
            is_fine = False
        if is_fine != (kind in fine):
            wrong.append(f"{kind!r} is {'fine' if is_fine else 'a violation'}")
    assert wrong == []


@in_every_state
def test_each_type_malformed(made: Any, side: str, state: Callable[[Said], None], fine: set[Frame]) -> None:
    """Cut at each byte, and longer: whatever comes of it is an error of ours, if one."""
    for kind in fine:
        said = made(state)
        plain = said.plain(kind)
        sizes = {*range(1, min(len(plain), 24)), len(plain) - 1} - {0}
        for changed in [plain[:size] for size in sizes] + [plain + b"\xff", plain + bytes(2000)]:
            again = made(state)
            try:
                arrive(getattr(again, side), changed)
            except ProtocolError:
                again.close()
