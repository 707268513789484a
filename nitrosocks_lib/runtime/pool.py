"""Warm and reused sessions of one profile: an idle one carries the next stream without a handshake."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

from ..facts import limits
from ..facts.errors import NitroSocksError
from ..protocol.frames import Target
from .dialler import Dialler
from .session import ClientSession, Outage
from .stream import Stream
from .timers import TIMERS, now

log = logging.getLogger(__name__)


class Pool:
    """Any thread may call it; the lock is held for list work and for `open`, which only posts."""

    def __init__(self, dialler: Dialler, warm: int = 0, redial: float | None = None) -> None:
        """`warm` idle sessions are kept ready; `redial` in seconds as in ClientSession."""
        self._dialler, self._warm, self._redial = dialler, warm, redial
        self._lock = threading.Lock()
        self._idle: list[ClientSession] = []
        self._alive: set[ClientSession] = set()
        self._making = 0  # warm sessions on their way
        self._made = 0
        self._pause = limits.BACKOFF_FIRST
        self._closed = False
        self._empty = threading.Condition(self._lock)
        self.outage = Outage()
        TIMERS.after(limits.IDLE / 4, self._trim)

    @property
    def made(self) -> int:
        """How many sessions were made so far."""
        return self._made

    def start(self) -> None:
        """Makes the first session and keeps it idle; raises what the greeting raised."""
        self._add(None)

    def open(self, target: Target, local: socket.socket, finished: Callable[[Stream], None]) -> None:
        """Carries `local`, which is the session's from now on, to a target; `finished` hears of its end."""
        local.setblocking(False)
        self.carry(Stream(target, local, finished))

    def carry(self, stream: Stream) -> None:
        """Opens a stream on an idle session, else on a new one, which a thread makes."""
        with self._lock:
            idle = bool(self._idle)
            if idle:
                self._idle.pop().open(stream)  # the one used last: it was heard from last
            full = len(self._alive) >= limits.SESSIONS_PER_CLIENT
        if not idle and full:
            _lose(stream, f"{limits.SESSIONS_PER_CLIENT} sessions are in use")
        elif not idle:
            threading.Thread(target=self._add_for, args=(stream,), name="session", daemon=True).start()
        self._keep_warm()

    # -- making sessions --------------------------------------------------------------------------------------------

    def _add_for(self, stream: Stream) -> None:
        try:
            session = self._make(stream)
        except NitroSocksError as error:
            _lose(stream, str(error))
            return
        session.serve()

    def _add(self, stream: Stream | None) -> None:
        session = self._make(stream)
        threading.Thread(target=session.serve, name="session", daemon=True).start()

    def _make(self, stream: Stream | None) -> ClientSession:
        session = ClientSession(self._dialler, self._dialler.greet(), self, self._redial)
        with self._lock:
            self._made += 1
            self._pause = limits.BACKOFF_FIRST
            self._alive.add(session)
            if stream is not None:
                session.open(stream, first=True)
            else:
                self._idle.insert(0, session)
            closed = self._closed
        if closed:
            session.release()
        return session

    def _keep_warm(self) -> None:
        with self._lock:
            wanted = self._warm - len(self._idle) - self._making
            wanted = 0 if self._closed else min(wanted, limits.SESSIONS_PER_CLIENT - len(self._alive))
            self._making += max(wanted, 0)
        for _ in range(wanted):
            threading.Thread(target=self._add_warm, name="session", daemon=True).start()

    def _add_warm(self) -> None:
        session = None
        try:
            session = self._make(None)
        except NitroSocksError as error:
            log.info("no warm session: %s", error)
        with self._lock:
            self._making -= 1
            pause, self._pause = self._pause, min(self._pause * 2, limits.BACKOFF_MAX)
        if session is not None:
            session.serve()
        elif not self._closed:
            TIMERS.after(pause, lambda _: self._keep_warm())

    # -- what sessions report ---------------------------------------------------------------------------------------

    def idle(self, session: ClientSession) -> None:
        """A session's stream is over, or the server drains: it carries the next one, or is released."""
        with self._lock:
            if session.tunnel.stream is not None:
                return  # somebody was quicker, and the next stream is under way
            leave = self._closed or session.tunnel.draining
            if session in self._idle:
                self._idle.remove(session)
            if not leave and session in self._alive:
                self._idle.append(session)
        if leave:
            session.release()

    def drop_if_idle(self, session: ClientSession) -> bool:
        """A session lost its connection: True when it was idle, and is not worth resuming."""
        with self._lock:
            if session not in self._idle:
                return session.tunnel.stream is None
            self._idle.remove(session)
            return True

    def withdraw(self, session: ClientSession) -> None:
        """A session is about to be over: no stream is opened on it any more."""
        with self._lock:
            if session in self._idle:
                self._idle.remove(session)

    def gone(self, session: ClientSession) -> None:
        """A session is over."""
        with self._lock:
            self._alive.discard(session)
            if session in self._idle:
                self._idle.remove(session)
            self._empty.notify_all()
        self._keep_warm()

    def hurry(self) -> None:
        """Ends the pauses of all sessions that reconnect: the network is there again."""
        with self._lock:
            sessions = list(self._alive)
        for session in sessions:
            session.hurry()

    # -- shrinking and the end --------------------------------------------------------------------------------------

    def _trim(self, at: float) -> float | None:
        """A timer: releases what has been idle for long, the oldest first, down to the warm ones."""
        with self._lock:
            old = [s for s in self._idle if at - s.tunnel.idle_since > limits.IDLE]
            surplus = old[: max(0, len(self._idle) - self._warm)]
            stale = [s for s in old if at - s.tunnel.idle_since > limits.WARM_AGE and s not in surplus]
            for session in surplus + stale:
                self._idle.remove(session)
        for session in surplus + stale:
            session.release()
        return None if self._closed else at + limits.IDLE / 4

    def close(self, seconds: float) -> None:
        """Releases all sessions, and waits that long at most until they are over."""
        with self._lock:
            self._closed = True
            sessions = list(self._alive)
            self._idle.clear()
        for session in sessions:
            session.release()
        deadline = now() + seconds
        with self._lock:
            self._empty.wait_for(lambda: not self._alive, max(0.0, deadline - now()))
            left = [session.tunnel.stream for session in self._alive]
        for stream in left:  # the process may end now, and a cut stream must not look like a complete one
            if stream is not None:
                stream.close_local(abruptly=True)


def _lose(stream: Stream, reason: str) -> None:
    stream.lost = reason
    stream.close_local(abruptly=True)
    stream.report()
