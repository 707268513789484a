"""Listens, accepts, bounds what is not authenticated yet, drains and stops (protocol 3.6, 5 Release)."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections import OrderedDict
from contextlib import suppress

from ..crypto import schedule
from ..crypto.identity import ServerKey
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.wire import Abort
from ..net.listener import PAUSE, bind_all
from ..net.timers import now
from ..net.wake import Wake
from ..protocol import frames
from .authorised import Clients
from .connection import Reception, Settings
from .registry import Entry
from .revoked import Revoked
from .tarpit import Tarpit

log = logging.getLogger(__name__)


class Unauthenticated:
    """Connections before authentication, the oldest first; when there are too many, the oldest goes."""

    def __init__(self, most: int = limits.UNAUTHENTICATED) -> None:
        self._most = most
        self._key = 0
        self._lock = threading.Lock()
        self._watched: OrderedDict[int, socket.socket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._watched)

    def enter(self, raw: socket.socket) -> int:
        """Takes note of a connection; returns the key to `leave` with. A duplicate can end it from here."""
        watch = raw.dup()
        with self._lock:
            self._key += 1
            key = self._key
            self._watched[key] = watch
            while len(self._watched) > self._most:
                self._end(self._watched.popitem(last=False)[1])
        return key

    def end_oldest(self) -> None:
        """Makes room."""
        with self._lock:
            if self._watched:
                self._end(self._watched.popitem(last=False)[1])

    def leave(self, key: int) -> None:
        """The connection is authenticated, not ours, or over; may be called again."""
        with self._lock:
            watch = self._watched.pop(key, None)
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """Ends them all."""
        with self._lock:
            while self._watched:
                self._end(self._watched.popitem()[1])

    @staticmethod
    def _end(watch: socket.socket) -> None:
        with suppress(OSError):
            watch.shutdown(socket.SHUT_RDWR)
        watch.close()


class Server:
    """`start` returns when it listens; `drain` and `stop` may be called by any thread, once."""

    def __init__(self, key: ServerKey, clients: Clients, settings: Settings) -> None:
        self._tarpit = Tarpit(schedule.late_seconds(schedule.knock_key(key.public)))
        self.reception = Reception(key, clients, settings, self._tarpit)
        self._unauthenticated = Unauthenticated()
        self._revoked = Revoked(clients, self.reception.registry)
        self._listeners: dict[int, socket.socket] = {}
        self._wake = Wake()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Binds all addresses of a host (empty: IPv6 and IPv4); returns the first bound. Raises CannotCreate."""
        for listener in (listeners := bind_all(host, port)):
            listener.setblocking(False)
            self._listeners[listener.fileno()] = listener
        bound = listeners[0].getsockname()
        return str(bound[0]), int(bound[1])

    def start(self) -> None:
        """Begins to accept, and to look for clients that are revoked."""
        self._revoked.start()
        self._thread = threading.Thread(target=self._accept, name="accept", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        interest = dict.fromkeys(self._listeners, select.POLLIN)
        while not self._stopped:
            for fd in self._wake.wait(interest, None):
                self._accept_one(self._listeners[fd])
        for listener in self._listeners.values():
            listener.close()

    def _accept_one(self, listener: socket.socket) -> None:
        raw = None
        try:
            raw, peer = listener.accept()
            threading.Thread(target=self._receive, args=(raw, peer), name="connection", daemon=True).start()
        except (OSError, RuntimeError) as error:  # RuntimeError: no more threads just now
            log.warning("a connection cannot be taken: %s", getattr(error, "strerror", None) or error)
            if raw is not None:
                raw.close()
            self._unauthenticated.end_oldest()  # it may hold the descriptor, or the thread, that was missing
            self._wake.wait({}, PAUSE)

    def _receive(self, raw: socket.socket, peer: tuple[str, int]) -> None:
        try:
            key = self._unauthenticated.enter(raw)
        except OSError as error:
            log.warning("a connection cannot be taken: %s", error)
            raw.close()
            return
        try:
            where = join_host_port(peer[0], peer[1])
            self.reception.receive(raw, where, lambda: self._unauthenticated.leave(key))
        except Exception:
            log.exception("a fault of our own; the connection is over")
        finally:
            self._unauthenticated.leave(key)

    # -- the end ----------------------------------------------------------------------------------------------------

    def drain(self, seconds: float) -> None:
        """No new sessions; running streams may end within `seconds`, then they are aborted. Waits for the end."""
        reception = self.reception
        reception.draining = now() + seconds
        for entry in reception.registry.all():
            entry.tunnel.outbox.post(goaway=frames.goaway(int(seconds)))
        reception.registry.wait_empty(_busy, seconds)
        self.stop()

    def stop(self) -> None:
        """Aborts all sessions, says so to their clients, and ends."""
        registry = self.reception.registry
        registry.closing = True
        self.reception.draining = self.reception.draining or now()
        for entry in registry.all():
            entry.tunnel.post_abort(Abort.SERVER_STOPS, "")
            if entry.tunnel.state.outcome is not None:
                registry.forget(entry, "the server stops")
        registry.wait_empty(lambda _: True, limits.RELEASE)
        self._stopped = True
        self._revoked.stop()
        self._wake.set()
        self._unauthenticated.close()
        self._tarpit.stop()
        if self._thread is not None:
            self._thread.join()


def _busy(entry: Entry) -> bool:
    """Whether a session is connected or carries a stream."""
    return entry.tunnel.connected or entry.tunnel.load > 0
