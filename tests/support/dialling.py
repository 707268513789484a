"""What an inbound thread does with its Dials, in the test's own thread; and the listeners that they lead to."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hanging import Hanging
from targets import unanswering

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import Waiter
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.permit import Client, Rules
from nitrosocks_lib.server.targets import ruled
from nitrosocks_lib.session.dialling import Reached, Unreached
from nitrosocks_lib.session.dials import Dials, Reach
from nitrosocks_lib.session.resolvers import Resolvers

BOUND = 40.0
HERE = ("127.0.0.0/8:*", "[::1]:*")


class Session(ExitStack):
    """One session's Dials, and targets: a `listener` at `port`, and a `dead` port of 127.0.0.1, where nobody answers.

    Nothing of it is left in the end: no descriptor, no watch, no dial.
    """

    def __init__(self, *rules: str, reach: Reach | None = None, client_id: bytes = b"A") -> None:
        super().__init__()
        self.listener = self.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        self.listener.settimeout(BOUND)
        self.port = int(self.listener.getsockname()[1])
        self.dead = self.enter_context(unanswering())[1]
        gc.collect()  # what earlier tests have left goes now, and not meanwhile
        self._before = len(os.listdir("/proc/self/fd"))
        self.names = self.enter_context(Hanging())
        self.reach = reach or Reach(Resolvers(self.names.resolve))
        self.waiter = Waiter()
        self.permit: Rules | None = Rules.parse(rules or HERE)
        self.dials = Dials(client_id, lambda target: ruled(target, self.client), self.reach, self.waiter)
        self.decided: dict[int, Reached | Unreached] = {}
        self.order: list[int] = []  # of what was decided

    def client(self) -> Client | None:
        return None if self.permit is None else cast(Client, SimpleNamespace(name="a", permit=self.permit))

    def begin(self, number: int, target: Target) -> None:
        self.dials.begin(number, target)
        self._take()

    def tcp(self, number: int, port: int, host: str = "127.0.0.1") -> None:
        self.begin(number, Target(Kind.TCP, host, port))

    def unix(self, number: int, path: str) -> None:
        self.begin(number, Target(Kind.UNIX, path, 0))

    def turn(self, timeout: float | None = 0.0) -> None:
        """Once around the loop; None waits for something to do."""
        at = self.dials.due(now())
        self._take()
        if timeout is None:
            timeout = BOUND if at is None else max(0.0, at - now())
        for (kind, number), _ in self.waiter.select(timeout):
            assert kind == "dial"
            self.dials.fired(number, now())
        self.waiter.clear()
        self.dials.due(now())
        self._take()

    def wait(self, *numbers: int) -> None:
        """Until these are decided."""
        end = now() + BOUND
        while not set(numbers) <= set(self.decided):
            assert now() < end, f"{set(numbers) - set(self.decided)} are not decided"
            self.turn(None)

    def _take(self) -> None:
        for number, decided in self.dials.take():
            assert number not in self.decided
            self.decided[number] = decided
            self.order.append(number)

    def sock(self, number: int) -> socket.socket:
        """The socket of a dial that was decided, closed at the end."""
        decided = self.decided[number]
        assert isinstance(decided, Reached), decided
        return decided.sock

    def refusal(self, number: int) -> tuple[int, str]:
        """Code and text of one that was decided."""
        self.wait(number)
        decided = self.decided[number]
        assert isinstance(decided, Unreached)
        return decided.reply, decided.text

    def idle(self) -> bool:
        """Nothing is under way, and nothing watched but the wake."""
        watched = self.waiter._selector.get_map()
        return len(self.dials) == self.dials.left == 0 and self.dials.due(now()) is None and len(watched) == 1

    def reached(self, *numbers: int) -> list[int]:
        """These in the order in which they came to the listener."""
        by_name = {self.sock(number).getsockname(): number for number in numbers}
        order = []
        for _ in numbers:
            sock, peer = self.listener.accept()
            sock.close()
            order.append(by_name[peer])
        return order

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.dials.close()
        for decided in self.decided.values():
            if isinstance(decided, Reached):
                decided.sock.close()
        watched = len(self.waiter._selector.get_map())
        self.waiter.close()
        left = len(os.listdir("/proc/self/fd"))
        super().__exit__(kind, *rest)
        if kind is None:
            # threads of earlier tests may close theirs meanwhile
            assert watched == 1 and left <= self._before and not self.dials.take()


@contextmanager
def busy(session: Session, place: Path, *more: str) -> Iterator[tuple[str, socket.socket]]:
    """A unix socket whose backlog is full: its path, and what listens. The rules permit it, and `more`."""
    path = str(place / "socket")
    session.permit = Rules.parse([path, *more])
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(BOUND)
        first.connect(path)
        yield path, listener


assert limits.DIAL_TARGET < BOUND
