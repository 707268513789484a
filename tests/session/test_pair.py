"""Two halves of a session against each other, the real ones: many streams at once over connections that are cut.

Every byte is looked at, and what became of every stream. What is random comes from a seed.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

import pytest
from pairing import CARRIERS, Over, Paired
from roles import Roles

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session.state import Outcome
from nitrosocks_lib.session.streams import Ending, Stream

BOUND = 60.0  # seconds until a wait is given up
each_carrier = pytest.mark.parametrize("carrier", CARRIERS)  # the kind of link; none of these halves knows it
RST = struct.pack("ii", 1, 0)
CLEAN, NEAR_BREAKS, FAR_BREAKS, REFUSED = "clean", "the application breaks", "the target breaks", "refused"


@dataclass
class End:
    """One end of a stream, an application or a target: what it says, and what it is to hear."""

    says: bytes
    hears: bytes
    ends: bool  # whether it ends its direction when all is said
    breaks_at: int = -1  # after so many bytes were heard it resets its connection; never below 0
    sock: socket.socket | None = None
    said: int = 0
    heard: bytearray = field(default_factory=bytearray)
    state: str = "open"  # "ended": the other side's END was passed on; "broken", and "left" where it broke itself
    shut: bool = False

    def __str__(self) -> str:
        heard = f"said {self.said} of {len(self.says)}, heard {len(self.heard)} of {len(self.hears)}"
        return f"[{self.state}, {heard}, breaks at {self.breaks_at}]"

    @property
    def done(self) -> bool:
        return self.state in ("broken", "left") or (self.state == "ended" and (self.shut or not self.ends))


class Plan:
    """What one stream is to carry, and both of its ends."""

    def __init__(self, source: random.Random, kind: str) -> None:
        self.kind = kind
        up, down = (source.randbytes(self._size(source)) for _ in "ud")
        self.near = End(up, down, kind == CLEAN)
        self.far = End(down, up, kind == CLEAN)
        if kind == NEAR_BREAKS:
            self.near.breaks_at = source.randrange(len(down) + 1)
        elif kind == FAR_BREAKS:
            self.far.breaks_at = source.randrange(len(up) + 1)

    def __str__(self) -> str:
        return f"{self.kind}: {self.near} {self.far}"

    @staticmethod
    def _size(source: random.Random) -> int:
        return source.choice((0, 1, source.randrange(100), source.randrange(70_000), source.randrange(1_500_000)))


class Applications(contextlib.ExitStack):
    """All ends of all streams, served by the test's thread: slowly here, in bursts there."""

    def __init__(self, source: random.Random, plans: list[Plan]) -> None:
        super().__init__()
        self.source, self.plans = source, plans
        self.selector = self.enter_context(selectors.DefaultSelector())

    def targets(self) -> list[Target]:
        """Where each plan's target listens; of one that is to be refused, nobody does."""
        found = []
        for plan in self.plans:
            listener = self.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found.append(Target(Kind.TCP, "127.0.0.1", listener.getsockname()[1]))
            if plan.kind != REFUSED:
                listener.listen()
                self.selector.register(listener, selectors.EVENT_READ, plan)
        return found

    def connect(self, plan: Plan) -> socket.socket:
        """The session's end of a new local connection, whose other end is the plan's application."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname(), BOUND)
            local = listener.accept()[0]
        local.setblocking(False)
        self._begin(plan.near, near)
        return local

    def _begin(self, end: End, sock: socket.socket) -> None:
        sock.setblocking(False)
        end.sock = self.enter_context(sock)
        self.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, end)
        self._go_on(end, 0)

    def serve(self, ends: list[End] | None = None) -> None:
        """Until these ends are done, or all."""
        until = now() + BOUND
        ends = ends or [end for plan in self.plans for end in self._ends(plan)]
        while not all(end.done for end in ends):
            assert now() < until, "\n".join(str(plan) for plan in self.plans)
            for key, events in self.selector.select(0.1):
                if isinstance(key.data, Plan):
                    sock, _ = key.fileobj.accept()  # type: ignore[union-attr]
                    self._begin(key.data.far, sock)
                elif self.source.random() < 0.7:
                    self._go_on(key.data, events)

    @staticmethod
    def _ends(plan: Plan) -> list[End]:
        return [plan.near] if plan.kind == REFUSED else [plan.near, plan.far]

    def _go_on(self, end: End, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and end.state == "open":
                self._hear(end)
            if 0 <= end.breaks_at <= len(end.heard):
                end.state = "left"
            if events & selectors.EVENT_WRITE and end.state != "left" and not end.shut:
                self._say(end)
        except BlockingIOError:
            pass
        except OSError:
            end.state = "broken"
        self._watch(end)

    def _hear(self, end: End) -> None:
        assert end.sock is not None
        most = self.source.choice((10, 5_000, 100_000))
        if end.breaks_at >= 0:
            most = min(most, end.breaks_at - len(end.heard))
        if most > 0:
            piece = end.sock.recv(most)
            end.heard += piece
            end.state = end.state if piece else "ended"

    def _say(self, end: End) -> None:
        assert end.sock is not None
        if end.said < len(end.says):
            end.said += end.sock.send(end.says[end.said :][: self.source.choice((1, 3_000, 200_000))])
        elif end.ends:
            end.sock.shutdown(socket.SHUT_WR)
            end.shut = True

    def _watch(self, end: End) -> None:
        assert end.sock is not None
        says = end.said < len(end.says) or (end.ends and not end.shut)
        events = (selectors.EVENT_READ * (end.state == "open")) | (selectors.EVENT_WRITE * says)
        if end.state in ("broken", "left") or not events:
            self.selector.unregister(end.sock)
            if end.state == "left":
                end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            if end.state != "open":
                end.sock.close()
        else:
            self.selector.modify(end.sock, events, end)


ENDINGS = {CLEAN: Ending.CLEAN, NEAR_BREAKS: Ending.RESET_HERE, FAR_BREAKS: Ending.RESET_THERE, REFUSED: Ending.REFUSED}


def check(plan: Plan, stream: Stream) -> None:
    """What both ends heard, and how the stream ended."""
    for end in (plan.near, plan.far):
        assert end.hears.startswith(end.heard), "bytes that nobody said"
        if plan.kind == CLEAN:
            assert end.state == "ended" and len(end.heard) == len(end.hears), "not all came"
        else:
            assert end.state != "ended", "what is torn must not look whole"
    if plan.far.breaks_at == 0 and stream.ending is Ending.REFUSED:
        return  # it broke before the dial saw it
    assert stream.ending is ENDINGS[plan.kind], f"{stream.ending} {stream.reason}: {plan}"


def carried(
    seed: int,
    cuts: int,
    every: int,
    window: int = limits.WINDOW,
    policy: RefreshPolicy | None = None,
    carrier: str = "raw",
) -> Any:
    """Runs a session with random streams; returns the halves, with everything checked and all of them released."""
    source = random.Random(seed)
    kinds = source.choices((CLEAN, NEAR_BREAKS, FAR_BREAKS, REFUSED), (8, 1, 1, 1), k=source.randrange(2, 21))
    roles = Roles(policy, window=window)
    over, plans = Over(roles), [Plan(source, kind) for kind in kinds]
    streams: dict[int, Stream] = {}
    with Applications(source, plans) as applications, Paired(seed, roles, cuts, every, carrier) as paired:
        for number, (plan, target) in enumerate(zip(plans, applications.targets(), strict=True)):
            streams[number] = Stream(target, applications.connect(plan), over.at_client)
            roles.client.outbox.open(streams[number])
        applications.serve()
        over.wait(len(plans), len(plans))
        for number, plan in enumerate(plans):
            check(plan, streams[number])
        assert [len(tunnel.state.streams) for tunnel in roles.both()] == [0, 0]
        paired.stand()
        roles.client.disconnect()
        assert paired.end() == (Outcome.OVER, Outcome.OVER)
    left_over(roles)
    return paired


def left_over(roles: Roles) -> None:
    """Nothing is, of a session whose streams are over."""
    for tunnel in roles.both():
        assert tunnel.inbound.delivery.held == 0, "bytes are held"
        assert tunnel.state._promises.grown == 0, "promises are left"
    client, server = roles.both()
    assert client.held == 0, "all was acknowledged before the release"
    assert client.inbound.received == server.outbound.resend.total
    assert server.inbound.received == client.outbound.resend.total
    roles.close()


@each_carrier
@pytest.mark.parametrize("seed", range(3))
def test_without_a_cut(seed: int, carrier: str) -> None:
    assert carried(seed, 0, 0, carrier=carrier).connections == 1


@each_carrier
@pytest.mark.parametrize("seed", range(10, 18))
def test_through_cuts(seed: int, carrier: str) -> None:
    assert carried(seed, 30, 500_000, carrier=carrier).connections > 1


@pytest.mark.parametrize("seed", range(20, 23))
def test_through_cuts_with_small_windows(seed: int) -> None:
    carried(seed, 20, 300_000, limits.WINDOW_MIN)


@each_carrier
@pytest.mark.parametrize("seed", range(40, 46))
def test_a_release_loses_nothing_however_soon_it_comes(seed: int, carrier: str) -> None:
    """The client's part of all streams is over, and what it sent last is on its way, when it asks for the release.

    Where the connection behind DISCONNECT is cut, the server keeps the session until its time is over.
    """
    source = random.Random(seed)
    roles, plans = Roles(), [Plan(source, CLEAN) for _ in range(3)]
    over = Over(roles)
    with Applications(source, plans) as applications:
        with Paired(seed, roles, 40, 60_000, carrier) as paired:
            for plan, target in zip(plans, applications.targets(), strict=True):
                roles.client.outbox.open(Stream(target, applications.connect(plan), over.at_client))
            applications.serve([plan.near for plan in plans])
            over.wait(len(plans), 0)
            roles.client.disconnect()
            client, server = paired.end()
            assert client is Outcome.OVER and server in (Outcome.OVER, Outcome.LOST)
        roles.close()
        applications.serve()
        assert all(stream.ending is Ending.CLEAN for stream in over.near)
        for plan in plans:
            assert plan.far.state == "ended" and plan.far.heard == plan.far.hears, str(plan)


@each_carrier
def test_through_cuts_and_refreshes(carrier: str) -> None:
    """A cut may end each refresh of a run, but not of all of them."""
    policy = RefreshPolicy(volume=1_000)
    runs = [carried(seed, 20, 400_000, policy=policy, carrier=carrier) for seed in range(30, 33)]
    assert sum(paired.roles.server.refreshes for paired in runs) > 0
