"""Warm and reused sessions of one profile: an idle one carries the next stream without a handshake."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future

from ..facts import limits
from ..facts.errors import CutShort, NetworkError, NitroSocksError, Unanswered
from ..net.timers import TIMERS, jittered, now
from ..protocol.frames import Target
from ..session.streams import Stream
from .dialler import Dialler
from .session import ClientSession, Outage

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
        self._pause = limits.BACKOFF_FIRST  # before the next warm session, when they cannot be made or do not last
        self._resting = False  # that pause is under way
        self._closed = False
        self._empty = threading.Condition(self._lock)
        self.outage = Outage()
        TIMERS.after(limits.IDLE / 4, self._trim)

    @property
    def made(self) -> int:
        """How many sessions were made so far."""
        return self._made

    def start(self) -> None:
        """Makes the first session and keeps it idle; raises NitroSocksError, mostly what the greeting raised."""
        made: Future[None] = Future()
        try:
            _spawn(self._add_first, made)
            made.result()
        except (OSError, RuntimeError) as error:
            raise NitroSocksError(_reason(error)) from error

    def open(self, target: Target, local: socket.socket, finished: Callable[[Stream], None]) -> None:
        """Carries `local`, which is the session's from now on, to a target; `finished` hears of its end."""
        local.setblocking(False)
        self.carry(Stream(target, local, finished))

    def carry(self, stream: Stream, new: bool = False) -> None:
        """Opens a stream on an idle session, else, or if `new`, on a new one, which a thread makes.

        Where that fails, the stream is lost; nothing is raised.
        """
        with self._lock:
            idle = bool(self._idle) and not new
            if idle:
                self._idle.pop().open(stream)  # the one used last: it was heard from last
            full = len(self._alive) >= limits.SESSIONS_PER_CLIENT
        if not idle and full:
            _lose(stream, f"{limits.SESSIONS_PER_CLIENT} sessions are in use")
        elif not idle:
            try:
                _spawn(self._add_for, stream)
            except Exception as error:
                _lose(stream, _reason(error))
        self._keep_warm()

    # -- making sessions --------------------------------------------------------------------------------------------

    def _add_for(self, stream: Stream) -> None:
        try:
            session = self._make_for(stream)
        except Exception as error:
            _lose(stream, _reason(error))
            return
        session.serve()

    def _make_for(self, stream: Stream) -> ClientSession:
        """Where sessions were made before, a greeting that is cut is made again: streams outlive that, too."""
        until, pause = now() + limits.GREET_AGAIN, limits.BACKOFF_FIRST
        while True:
            try:
                return self._make(stream)
            except (NetworkError, Unanswered, CutShort) as error:
                if not self._made or now() + pause > until:
                    raise
                log.info("greeting again: %s", error)
                with self._lock:
                    if self._empty.wait_for(lambda: self._closed, jittered(pause)):
                        raise
            pause *= 2

    def _add_first(self, made: Future[None]) -> None:
        try:
            session = self._make(None)
        except BaseException as error:
            made.set_exception(error)
            return
        made.set_result(None)
        session.serve()

    def _make(self, stream: Stream | None) -> ClientSession:
        greeting = self._dialler.greet()
        try:
            session = ClientSession(self._dialler, greeting, self, self._redial)
        except BaseException:
            greeting.link.close()
            raise
        with self._lock:
            self._made += 1
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
            wanted = 0 if self._closed or self._resting else min(wanted, limits.SESSIONS_PER_CLIENT - len(self._alive))
            self._making += max(wanted, 0)
        for _ in range(wanted):
            try:
                _spawn(self._add_warm)
            except Exception as error:
                self._no_warm(error)

    def _add_warm(self) -> None:
        try:
            session = self._make(None)
        except Exception as error:
            self._no_warm(error)
            return
        with self._lock:
            self._making -= 1
        session.serve()

    def _no_warm(self, error: Exception) -> None:
        log.info("no warm session: %s", _reason(error))
        with self._lock:
            self._making -= 1
        self._rest()

    def _rest(self) -> None:
        """Warm sessions cannot be made, or do not last: no more of them before a pause, the next one of which grows."""
        with self._lock:
            if self._resting or self._closed:
                return
            self._resting = True
            pause, self._pause = self._pause, min(self._pause * 2, limits.BACKOFF_MAX)
        TIMERS.after(pause, self._rested)

    def _rested(self, _: float) -> None:
        self._resting = False
        self._keep_warm()

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

    def gone(self, session: ClientSession, moved: Stream | None = None) -> None:
        """A session is over. `moved` goes to a new one: what else waited may be as dead."""
        with self._lock:
            self._alive.discard(session)
            if session in self._idle:
                self._idle.remove(session)
            self._empty.notify_all()
            lasted = now() - session.made_at >= limits.BACKOFF_MAX
            if lasted:
                self._pause = limits.BACKOFF_FIRST
        if not lasted and session.tunnel.stream is None:
            self._rest()
        if moved is not None:
            self.carry(moved, new=True)
        else:
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
        """Releases all sessions, and waits that long at most until they are over, and a moment for their ABORT 4."""
        with self._lock:
            self._closed = True
            sessions = list(self._alive)
            self._idle.clear()
            self._empty.notify_all()
        for session in sessions:
            session.release()
        left = self._wait_empty(seconds)
        for session in left:
            session.tunnel.say_no_answer()
        if any(session.tunnel.releasing for session in left):
            left = self._wait_empty(limits.FAREWELL)
        for session in left:  # the process may end now, and a cut stream must not look like a complete one
            if session.tunnel.stream is not None:
                session.tunnel.stream.close_local(abruptly=True)

    def _wait_empty(self, seconds: float) -> list[ClientSession]:
        """Waits until no session is left; returns those that are all the same."""
        with self._lock:
            self._empty.wait_for(lambda: not self._alive, seconds)
            return list(self._alive)


def _spawn(body: Callable[..., None], *arguments: object) -> None:
    """Starts the thread of a session; raises RuntimeError where none can be started."""
    threading.Thread(target=body, args=arguments, name="session", daemon=True).start()


def _reason(error: Exception) -> str:
    """Why there is no session, for people. What is no error of ours or the network's is a lack of something here."""
    if isinstance(error, NitroSocksError):
        return str(error)
    log.info("no session can be made", exc_info=error)
    return f"no session can be made: {error or type(error).__name__}"


def _lose(stream: Stream, reason: str) -> None:
    stream.lost = reason
    stream.close_local(abruptly=True)
    stream.report()
