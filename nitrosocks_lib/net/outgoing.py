"""A connection to one target, step by step, for a thread that waits for none of them alone: TCP, and TLS if asked."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence

from ..facts.errors import NetworkError
from .connect import Context, Wrapped
from .ends import End, PlainEnd
from .handshakes import go_on, reason, wrap
from .race import Place, Race
from .tls import TlsLink


class Outgoing:
    """One thread's. `advance` goes on as far as it goes without waiting, `close` gives up what is under way."""

    def __init__(
        self,
        places: Sequence[Place],
        deadline: float,
        watch: Callable[[int, int], None],
        forget: Callable[[int], None],
        tls: tuple[Context, str] | None = None,
    ) -> None:
        """`watch(fd, events)` asks to be told, `forget(fd)` ends that; `tls` with the name of whom it is to reach.

        `deadline` (seconds of `timers.now`) is for all of it.
        """
        self._watch, self._forget, self._tls, self._deadline = watch, forget, tls, deadline
        self._watched: dict[int, int] = {}
        self._race = Race(places, deadline, lambda sock: self._await(sock, selectors.EVENT_WRITE), self._cease)
        self._sock: Wrapped | None = None

    def watched_by(self, watch: Callable[[int, int], None], forget: Callable[[int], None]) -> None:
        """It is another thread's from here on, and these are that one's."""
        self._watch, self._forget = watch, forget
        for fd, events in self._watched.items():
            watch(fd, events)

    def _await(self, sock: socket.socket, events: int) -> None:
        self._watched[sock.fileno()] = events
        self._watch(sock.fileno(), events)

    def _cease(self, sock: socket.socket) -> None:
        self._watched.pop(sock.fileno(), None)
        self._forget(sock.fileno())

    @property
    def next_at(self) -> float:
        """When `advance` is to be called though nothing watched is ready."""
        return self._deadline if self._sock is not None else min(self._race.next_at, self._deadline)

    def advance(self, now: float) -> End | None:
        """The connection, once it is there: the caller's from here on. Raises NetworkError when it cannot be made."""
        if self._sock is None and (raw := self._connected(now)) is not None:
            if self._tls is None:
                return PlainEnd(raw)
            try:
                self._sock = wrap(raw, *self._tls)
            except OSError as error:
                raise _failed(error) from None
        return self._secured(now) if self._sock is not None else None

    def _connected(self, now: float) -> socket.socket | None:
        connected = self._race.advance(now)
        if connected is None:
            if self._race.over:
                raise _failed(next(iter(self._race.failed.values()), OSError("it has no address")))
            return None
        self._race.close()
        return connected.sock

    def _secured(self, now: float) -> End | None:
        assert self._sock is not None, "it is connected"
        try:
            if events := go_on(self._sock):
                if now >= self._deadline:
                    raise NetworkError("the TLS handshake timed out")
                self._await(self._sock, events)
                return None
        except OSError as error:
            raise _failed(error) from None
        self._cease(self._sock)
        sock, self._sock = self._sock, None
        return TlsLink(sock)

    def close(self) -> None:
        """Gives up what is under way."""
        self._race.close()
        if self._sock is not None:
            self._cease(self._sock)
            self._sock.close()


def _failed(error: OSError) -> NetworkError:
    return NetworkError(reason(error))
