"""A TCP proxy on loopback that fails as it is told: cuts, stalls, swallows, slices, refuses. It never ends TLS.

One thread owns all sockets. What a test asks for runs there between two polls, and the test waits for that, so a fault
is in effect when its call returns. "up" is from the client to the upstream, "down" the other way.
"""

import contextlib
import queue
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from faultconnection import BUFFER, Connection, Cut, Hold, Recorded

RECORDED = 64 * 1024  # first bytes kept of each direction of a connection
BOUND = 10.0  # seconds until a call or a wait is given up


def records(data: bytes) -> list[tuple[int, int]]:
    """Type and length (without the header) of each TLS record that begins in `data`, whole or not."""
    found, at = [], 0
    while at + 5 <= len(data):
        kind, _, length = struct.unpack_from(">BHH", data, at)
        found.append((kind, length))
        at += 5 + length
    return found


class FaultProxy:
    """Listens on loopback at `port` and leads every connection to `upstream`, from the beginning to stop().

    `plan`, if there is one, is called in the proxy's thread with the number of each connection, from 0, and returns the
    faults of that one; it must not call the proxy. `connections`, `live`, `bytes_up`, `bytes_down` (bytes handed on)
    and `recorded` (by number; the first `keep` bytes of each direction) may be read at any time, and wait() waits for
    what they shall become.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        plan: Callable[[int], Iterable[Cut | Hold]] | None = None,
        keep: int = RECORDED,
    ) -> None:
        self.upstream, self.plan, self.keep = upstream, plan, keep
        self.connections = self.bytes_up = self.bytes_down = 0
        self.recorded: list[Recorded] = []
        self.stalled, self.slice = False, BUFFER
        self.holds: list[int] = []  # none or one
        self.selector = selectors.DefaultSelector()
        self._open: set[Connection] = set()  # the live ones, and those that were cut with a FIN
        self._armed: dict[str, list[Cut]] = {"next": [], "each": []}
        self._swallows = self._refuses = False
        self._changed = threading.Condition()
        self._asked: queue.SimpleQueue[tuple[Future, Callable]] = queue.SimpleQueue()
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self.selector.register(self._wake, selectors.EVENT_READ, self._answer)
        self.port = 0
        self._listen()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="faultproxy", daemon=True)
        self._thread.start()

    @property
    def live(self) -> int:
        """Connections that are neither cut nor ended on both sides."""
        return len(self._alive())

    def cut(self, rst: bool = True) -> int:
        """Ends all live connections on both sides; what waits here is lost. How many these were."""
        return self._ask(lambda: sum(connection.cut(rst) for connection in self._alive()))

    def cut_after(self, n: int, direction: str = "up", rst: bool = True, which: str = "next") -> None:
        """Arms a Cut for the "next" connection, for "each" new one, or for all "live" ones, where n counts from now."""
        self._ask(lambda: self._arm(Cut(n, direction, rst), which))

    def disarm(self) -> None:
        """Takes back every Cut that is not done yet."""
        self._ask(self._disarm)

    def stall(self) -> None:
        """Neither reads nor hands on anything, not even an end, on no connection."""
        self._ask(lambda: self._set(stalled=True))

    def unstall(self) -> None:
        self._ask(lambda: self._set(stalled=False))

    def blackhole(self, new: bool = True) -> None:
        """Reads and drops everything, ends too. New connections are accepted and lead nowhere, if `new`."""
        self._ask(lambda: self._swallow(new))

    def restore(self, rst: bool = True) -> int:
        """Ends the blackhole and cuts the connections that were in it. How many these were."""
        self._ask(lambda: self._set(_swallows=False))
        return self._ask(lambda: sum(dead.cut(rst) for dead in self._alive() if dead.swallows))

    def slices(self, n: int | None) -> None:
        """Hands on at most n bytes at once; None: whatever there is."""
        self._ask(lambda: self._set(slice=n or BUFFER))

    def hold_answers(self, n: int | None) -> None:
        """Drops what comes down after the first n bytes of a connection, of live ones too. None: no more, except where
        it dropped something, for a stream with a gap would be nonsense."""
        self._ask(lambda: self._set(holds=[] if n is None else [n]))

    def refuse(self, on: bool, listening: bool = True) -> None:
        """Accepts new connections and closes them at once; if not `listening`, not even that. Live ones go on."""
        self._ask(lambda: self._refuse(on, listening))

    def wait(self, condition: Callable[[], object], timeout: float = BOUND) -> bool:
        """Until condition(), which looks at this proxy, is true. Raises TimeoutError."""
        with self._changed:
            if self._changed.wait_for(condition, timeout):
                return True
        raise TimeoutError(f"{self.connections=}, {self.live=}, {self.bytes_up=}, {self.bytes_down=}")

    def wait_connections(self, n: int, timeout: float = BOUND) -> bool:
        """Until n connections have been accepted since the beginning. Raises TimeoutError."""
        return self.wait(lambda: self.connections >= n, timeout)

    def stop(self) -> None:
        """Resets all connections, frees the port. May be called again."""
        if self._thread.is_alive():
            self._ask(lambda: self._set(_running=False))
            self._thread.join()

    def __enter__(self) -> "FaultProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, do: Callable) -> Any:
        future: Future = Future()
        self._asked.put((future, do))
        with contextlib.suppress(BlockingIOError):  # full of wakes
            self._waker.send(b"!")
        return future.result(BOUND)

    # What the proxy's thread does

    def _run(self) -> None:
        while self._running:
            for key, events in self.selector.select():
                key.data(events)
            with self._changed:
                self._changed.notify_all()
        for connection in list(self._open):
            connection.cut(rst=True)
        for closable in (self.selector, self._wake, self._waker, self._listener):
            closable.close()

    def _answer(self, _: int) -> None:
        self._wake.recv(4096)
        while not self._asked.empty():
            future, do = self._asked.get()
            try:
                answer = do()
                for connection in self._alive():
                    connection.swallows |= self._swallows
                    connection.watch()
                future.set_result(answer)
            except Exception as error:
                future.set_exception(error)

    def _set(self, **state: Any) -> None:
        self.__dict__.update(state)

    def _swallow(self, new: bool) -> None:
        self._swallows = new
        for connection in self._alive():
            connection.swallows = True

    def _alive(self) -> list[Connection]:
        return [connection for connection in tuple(self._open) if connection.live]

    def _arm(self, cut: Cut, which: str) -> None:
        if which != "live":
            return self._armed[which].append(cut)
        for connection in self._alive():
            way = getattr(connection, cut.direction)
            way.cuts.append((way.passed + cut.after, cut.rst))
            connection.cut_if_due()

    def _disarm(self) -> None:
        ways = [way for connection in self._open for way in (connection.up, connection.down)]
        for cuts in self._armed.values():
            cuts.clear()
        for way in ways:
            way.cuts.clear()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self.selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _refuse(self, on: bool, listening: bool) -> None:
        self._refuses = on
        if self._listener.fileno() < 0:
            self._listen()
        if on and not listening:
            self.selector.unregister(self._listener)
            self._listener.close()

    def _accept(self, _: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it listens no more, since earlier in this turn
        faults = list(self.plan(self.connections)) if self.plan else []
        self.recorded.append(Recorded())
        self.connections += 1
        if self._refuses:
            return client.close()
        self._open.add(connection := Connection(self, client, self.recorded[-1]))
        for fault in [*faults, *self._armed["next"], *self._armed["each"]]:
            if isinstance(fault, Hold):
                connection.down.holds.append(fault.after)
            else:
                getattr(connection, fault.direction).cuts.append((fault.after, fault.rst))
        self._armed["next"].clear()
        connection.swallows = self._swallows
        if not self._swallows:
            connection.upstream.connect_ex(self.upstream)
        connection.watch()

    def count(self, direction: str, n: int) -> None:
        """A connection handed on n bytes."""
        if direction == "up":
            self.bytes_up += n
        else:
            self.bytes_down += n

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._open.discard(connection)
