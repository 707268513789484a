"""TCP to whichever address of a target answers first (RFC 8305), and what is known of addresses that worked.

Nothing here waits: whoever dials waits at a selector of its own, and calls `advance`.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from threading import Lock
from typing import Final, NamedTuple

from ..facts import limits

Place = tuple[int, tuple[str | int | bytes, ...] | bytes]
"""Address family and address, as `socket.connect` takes them; numeric, or the path of a unix socket."""

KEEPALIVE_IDLE: Final = 60  # seconds; our own heartbeat is quicker, this one frees sockets whose process hangs


class Connected(NamedTuple):
    """A tuned, non-blocking socket, the caller's from here on, and the place that it leads to."""

    sock: socket.socket
    place: Place


class Race:
    """Attempts to connect to the places of one target, side by side; one thread owns it.

    The first place is tried at once, each further one `limits.STAGGER` seconds later, or as soon as one fails; address
    families take turns. To be called: `advance` first, then whenever a watched socket is writable or `next_at` came.
    """

    __slots__ = ("_begin_at", "_descriptors", "_forget", "_left", "_running", "_watch", "deadline", "failed")

    def __init__(
        self,
        places: Iterable[Place],
        deadline: float,
        watch: Callable[[socket.socket], None],
        forget: Callable[[socket.socket], None],
        descriptors: int = sys.maxsize,
    ) -> None:
        """`deadline` is for all places together. `watch(sock)` asks to be told when a socket is writable;
        `forget(sock)` ends that, and comes before it is closed or handed over. A socket that gets a number of
        `descriptors` or more is not used, as if there were none: the lowest free number is given, so all below are
        taken."""
        self.deadline = deadline
        self.failed: dict[Place, OSError] = {}  # why each place that failed did; all of them when `over`
        self._left = deque(interleaved(places))
        self._running: dict[socket.socket, Place] = {}  # in the order in which they began
        self._begin_at = float("-inf")  # when the next place is tried
        self._watch, self._forget, self._descriptors = watch, forget, descriptors

    @property
    def over(self) -> bool:
        """Nothing is under way and nothing left to try."""
        return not self._left and not self._running

    @property
    def next_at(self) -> float:
        """When `advance` is to be called though no socket is writable; the deadline at the latest."""
        return min(self._begin_at, self.deadline) if self._left else self.deadline

    def advance(self, now: float) -> Connected | None:
        """Looks at all attempts and begins those whose time came; never waits.

        Returns the first that is connected; the others go on, so a later call may return another: `close` ends them.
        """
        for sock, place in list(self._running.items()):
            try:
                if _is_connected(sock, place):
                    return self._connected(sock)
            except OSError as error:
                self._fail(sock, error)
        if now >= self.deadline:
            self._expire()
        while self._left and now >= self._begin_at:
            if (connected := self._begin(now)) is not None:
                return connected
        return None

    def hold(self, until: float) -> None:
        """Begins no further place before `until`, or before an attempt fails: one is connected, and may do."""
        self._begin_at = until

    def hurry(self) -> None:
        """Begins the next place at the next `advance`: what is connected does not do."""
        self._begin_at = float("-inf")

    def close(self) -> None:
        """Gives up what is under way."""
        self._left.clear()
        for sock in list(self._running):
            self._drop(sock)

    # -- one attempt ------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> Connected | None:
        """Tries the next place. On one machine TCP is there at once: then nobody needs to wait for it."""
        if len(self._running) >= limits.RACING:
            self._fail(next(iter(self._running)), _late())
        place = self._left.popleft()
        self._begin_at = now + limits.STAGGER
        try:
            sock = self._socket(place[0])
        except OSError as error:
            self.failed[place], self._begin_at = error, now
            return None
        self._running[sock] = place
        try:
            sock.setblocking(False)
            code = sock.connect_ex(place[1])
            if code == errno.EAGAIN and place[0] == socket.AF_UNIX:
                self._later(sock, now)
            elif code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            elif _is_connected(sock, place):
                return self._connected(sock)
            else:
                self._watch(sock)
        except OSError as error:
            self._fail(sock, error)
        return None

    def _socket(self, family: int) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        if sock.fileno() >= self._descriptors:
            sock.close()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return sock

    def _later(self, sock: socket.socket, now: float) -> None:
        """The backlog of a unix socket is full, and nothing tells when it is not: the place is tried again."""
        self._left.appendleft(self._drop(sock))
        self._begin_at = now + limits.BUSY_AGAIN

    def _connected(self, sock: socket.socket) -> Connected:
        self._forget(sock)
        tune(sock, carried=True)
        return Connected(sock, self._running.pop(sock))

    def _fail(self, sock: socket.socket, error: OSError) -> None:
        self.failed[self._drop(sock)] = error
        self.hurry()

    def _drop(self, sock: socket.socket) -> Place:
        self._forget(sock)
        sock.close()
        return self._running.pop(sock)

    def _expire(self) -> None:
        self.failed |= dict.fromkeys(self._left, _late())
        self._left.clear()
        for sock in list(self._running):
            self._fail(sock, _late())


def _late() -> OSError:
    return TimeoutError(errno.ETIMEDOUT, "no answer in time")


def _is_connected(sock: socket.socket, place: Place) -> bool:
    """Whether it is connected by now; raises OSError when it cannot be any more."""
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))
    try:
        peer = sock.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    if place[0] != socket.AF_UNIX and peer == sock.getsockname():
        # Nobody listens at a port that the kernel picked for this very socket: TCP then connects it with itself.
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return True


def find(host: str, port: int, family: int = socket.AF_UNSPEC, flags: int = 0) -> list[Place]:
    """The places of a name for TCP, in the system's order. Blocks; raises OSError, ValueError where it is no name."""
    if "\0" in host:
        raise ValueError("the system would read the name up to there")
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [(int(kind), address) for kind, _, _, _, address in found]


def interleaved(places: Iterable[Place]) -> list[Place]:
    """Each place once, in their order, but with families in turn: one that is broken costs one delay, not many."""
    families: dict[int, list[Place]] = {}
    for place in dict.fromkeys(places):
        families.setdefault(place[0], []).append(place)
    return [place for row in zip_longest(*families.values()) for place in row if place is not None]


def tune(sock: socket.socket, carried: bool = False) -> None:
    """Small frames leave at once, and the kernel notices a dead peer in the end. Unix sockets have no such options.

    Of one that is `carried`, an application's or a target's, a byte that was sent as urgent, as telnet and ftp do, is
    read in its place: else no read would give it. A server leaves it out of its own connections, as nginx does.
    """
    with suppress(OSError):
        if carried:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)


class Remembered:
    """Which address of a name worked where the first one did not, for `limits.REMEMBERED_AGE`; any thread may call it.

    Where the first one works there is nothing to remember, so a name whose addresses take turns keeps doing so.
    """

    def __init__(self, most: int = limits.REMEMBERED) -> None:
        """Beyond `most` names the one that was not used for longest is forgotten."""
        self._most = most
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, int], tuple[Place, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def order(self, host: str, port: int, places: Sequence[Place], now: float) -> list[Place]:
        """The places in the order to try them: what worked last is first, if it still is one of them."""
        with self._lock:
            place, until = self._known.get((host, port), (None, now))
            if place is None or now >= until:
                self._known.pop((host, port), None)
                return list(places)
            self._known.move_to_end((host, port))
        return sorted(places, key=lambda each: each != place)

    def worked(self, host: str, port: int, tried: Sequence[Place], place: Place, now: float) -> None:
        """`place` won, of the places that were `tried` in this order."""
        if place == tried[0]:
            return
        with self._lock:
            self._known[host, port] = place, now + limits.REMEMBERED_AGE
            self._known.move_to_end((host, port))
            while len(self._known) > self._most:
                self._known.popitem(last=False)
