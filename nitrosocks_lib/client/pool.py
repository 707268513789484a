"""The few sessions of one profile: which stream goes where, and when there is to be one more or one less."""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from ..facts import limits
from ..facts.errors import CutShort, NetworkError, NitroSocksError, Unanswered
from ..facts.words import said
from ..net.timers import TIMERS, jittered, now
from ..protocol.frames import Target
from ..session.streams import Request, Stream
from .dialler import Dialler
from .keeper import Keeper
from .outage import Outage
from .session import OWN_END, ClientSession

log = logging.getLogger(__name__)


class Pool:
    """Any thread may call it; the lock is held for list work and for `open` of a session, which only posts."""

    def __init__(self, dialler: Dialler, sessions: int = 1, redial: float | None = None) -> None:
        """At most `sessions` at a time; `redial` in seconds as in ClientSession."""
        self._dialler, self._most, self._redial = dialler, sessions, redial
        self._lock = threading.Lock()
        self._alive: list[ClientSession] = []
        self._leaving: set[ClientSession] = set()  # about to be over: nothing is opened on them
        self._waiting: deque[Stream] = deque()  # for the session that is being made
        self._making = 0
        self.made = 0  # how many sessions were made so far
        self._pause = limits.BACKOFF_FIRST  # before one more is made ahead of need, when that failed
        self._rests_until = 0.0  # that pause is under way
        self._closed = False
        self._empty, self._moved = threading.Condition(self._lock), dict[ClientSession, int]()  # moved at the last look
        self.outage = Outage()
        self.keeper = Keeper()  # of -R; before `start` another may take its place
        TIMERS.after(limits.BULK_LOOK, self._look)

    @property
    def sessions(self) -> list[ClientSession]:
        """Those that live, a snapshot."""
        with self._lock:
            return list(self._alive)

    def start(self) -> None:
        """Makes the first session; raises NitroSocksError, mostly what the greeting raised."""
        made: Future[None] = Future()
        try:
            _spawn(self._add_first, made)
            made.result()
        except NitroSocksError:
            raise
        except Exception as error:
            raise NitroSocksError(_reason(error)) from error

    def open(
        self, target: Target, local: socket.socket, finished: Callable[[Stream], None], request: Request | None = None
    ) -> None:
        """Carries `local`, from now on the session's, on the session that suits it best, or the next one that is made;
        where that fails it is lost. `finished` hears of its end; `request` as in Stream."""
        local.setblocking(False)
        self._carry([Stream(target, local, finished, request)])

    def _carry(self, streams: list[Stream], moved: bool = False) -> None:
        """What waits goes in its order, so none overtakes another; `moved` ones were there before."""
        with self._lock:
            if not (closed := self._closed) and moved:
                self._waiting.extendleft(reversed(streams))
            elif not closed:
                self._waiting.extend(streams)
            while self._waiting and (session := self._choose(self._waiting[0].target)) is not None:
                session.open(self._waiting.popleft())
            full = not self._making and sum(session.full for session in self._alive) >= self._most
            if full:
                streams, self._waiting = list(self._waiting), deque()
            make = bool(self._waiting) and not self._making
            self._making += make
        if closed or full:
            reason = OWN_END if closed else f"each of {self._most} sessions carries {limits.STREAMS} streams"
            for stream in streams:
                stream.lose(reason)
        elif make:
            self._make_or_lose()
        else:
            self._make_ahead()

    def _choose(self, target: Target) -> ClientSession | None:
        """Where OPENs to this target must keep their order, that session; else the one that carries least.

        What moves bulk is the last choice, and before it what has no connection at the moment.
        """
        usable = [session for session in self._alive if session.usable]
        for session in usable:
            if session.owes_answer(target):
                return session
        return min(usable, key=lambda s: (s.bulk, not s.tunnel.connected, s.tunnel.load), default=None)

    # -- making sessions -----------------------------------------------------------------------------------------------

    def _make_or_lose(self) -> None:
        try:
            _spawn(self._add_for_waiting)
        except Exception as error:
            self._none_made(error)

    def _none_made(self, error: BaseException) -> None:
        """No session could be made: what waits for one is lost."""
        with self._lock:
            self._making -= 1
            lost, self._waiting = self._waiting, deque()
            self._empty.notify_all()
        for stream in lost:
            stream.lose(_reason(error))

    def _add_for_waiting(self) -> None:
        try:
            session = self._make_again()
        except Exception as error:
            self._none_made(error)
            return
        session.serve()

    def _make_again(self) -> ClientSession:
        """Where sessions were made before, a greeting that is cut is made again: streams outlive that, too."""
        until, pause = now() + limits.GREET_AGAIN, limits.BACKOFF_FIRST
        while True:
            try:
                return self._make()
            except (NetworkError, Unanswered, CutShort) as error:
                if not self.made or now() + pause > until:
                    raise
                log.info("greeting again: %s", error)
                with self._lock:
                    if self._empty.wait_for(lambda: self._closed, jittered(pause)):
                        raise
            pause *= 2

    def _add_first(self, made: Future[None]) -> None:
        try:
            with self._lock:
                self._making += 1
            session = self._make()
        except BaseException as error:  # whatever it is: somebody waits for `made`
            self._none_made(error)
            made.set_exception(error)
            return
        made.set_result(None)
        session.serve()

    def _make(self) -> ClientSession:
        """Greets; the new session carries what waits. The caller has counted it in `_making`."""
        greeting = self._dialler.greet()
        try:
            session = ClientSession(self._dialler, greeting, self, self._redial, self.keeper.dialling)
        except BaseException:
            greeting.link.close()
            raise
        with self._lock:
            self.made += 1
            self._making -= 1
            self._pause = limits.BACKOFF_FIRST
            self._alive.append(session)
            while self._waiting:
                session.open(self._waiting.popleft())
            closed = self._closed
        if closed:
            session.release()
        return session

    def _make_ahead(self) -> None:
        """One more, where all that live move bulk or carry many streams: made before it is needed."""
        with self._lock:
            free = any(s.usable and not s.bulk and s.tunnel.load < limits.STREAMS_EACH for s in self._alive)
            wanted = bool(self._alive) and not (free or self._making or self._closed or now() < self._rests_until)
            wanted = wanted and len(self._alive) < self._most
            self._making += wanted
        if wanted:
            try:
                _spawn(self._add_ahead)
            except Exception as error:
                self._no_more(error)

    def _add_ahead(self) -> None:
        try:
            session = self._make()
        except Exception as error:
            self._no_more(error)
            return
        session.serve()

    def _no_more(self, error: Exception) -> None:
        """One more cannot be made now: not before a pause, the next one of which grows. What waits gets its own try."""
        log.info("no further session: %s", _reason(error))
        with self._lock:
            self._making -= 1
            self._rests_until = now() + self._pause
            self._pause = min(self._pause * 2, limits.BACKOFF_MAX)
            make = bool(self._waiting) and not self._making
            self._making += make
        if make:
            self._make_or_lose()

    # -- what sessions report ------------------------------------------------------------------------------------------

    def changed(self, session: ClientSession) -> None:
        """As in session.Owner."""
        if self._closed or session.spent:
            self.keeper.gone(session)
            self._release_idle([session])

    def _release_idle(self, sessions: list[ClientSession]) -> None:
        with self._lock:  # a stream that is opened on one of them meanwhile would be lost
            for session in sessions:
                if session.tunnel.load == 0:
                    session.release()

    def withdraw(self, session: ClientSession) -> None:
        """As in session.Owner."""
        with self._lock:
            self._alive.remove(session)
            self._leaving.add(session)
            self._moved.pop(session, None)
        self.keeper.gone(session)  # behind this: it is not to be found again

    def gone(self, session: ClientSession, moved: list[Stream]) -> None:
        """As in session.Owner. It counts until its streams are elsewhere, or lost: `close` waits for that."""
        try:
            if moved:
                self._carry(moved, moved=True)
        finally:
            with self._lock:
                self._leaving.discard(session)
                self._empty.notify_all()

    def hurry(self) -> None:
        """Ends the pauses of all sessions that reconnect: the network is there again."""
        for session in self.sessions:
            session.hurry()

    def doubt(self, reason: str) -> None:
        """The network changed: no connection is to be trusted to be alive."""
        for session in self.sessions:
            session.doubt(reason)

    def _look(self, at: float) -> float | None:
        """A timer: which sessions move bulk, and which are idle for too long."""
        with self._lock:
            for session in self._alive:
                moved = session.tunnel.moved
                session.bulk = moved - self._moved.get(session, moved) >= limits.BULK * limits.BULK_LOOK
                self._moved[session] = moved
            idle = [s for s in self._alive if s.is_idle(at) and not self.keeper.holds(s)]
            surplus = idle[: max(0, len(idle) - (len(idle) == len(self._alive)))]
        self._release_idle(surplus)
        self._make_ahead()
        return None if self._closed else at + limits.BULK_LOOK

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self, seconds: float) -> None:
        """Releases all sessions, and waits that long at most until they are over, and a moment for their ABORT 4."""
        with self._lock:
            self._closed = True
            sessions = list(self._alive)
            lost, self._waiting = self._waiting, deque()
            self._empty.notify_all()
        for stream in lost:
            stream.lose(OWN_END)
        for session in sessions:
            session.release()
        left = self._wait_empty(seconds)
        for session in left:
            session.tunnel.say_no_answer()
        if any(session.tunnel.leaving for session in left):
            self._wait_empty(limits.FAREWELL)

    def _wait_empty(self, seconds: float) -> list[ClientSession]:
        """Waits until no session is left; returns those that are all the same."""
        with self._empty:
            self._empty.wait_for(lambda: not (self._alive or self._leaving), seconds)
            return [*self._alive, *self._leaving]


def _spawn(body: Callable[..., None], *arguments: object) -> None:
    """Starts the thread of a session; raises RuntimeError where none can be started."""
    threading.Thread(target=body, args=arguments, name="session", daemon=True).start()


def _reason(error: BaseException) -> str:
    """Why there is no session, for people. What is no error of ours or the network's is a lack of something here."""
    if not isinstance(error, NitroSocksError):
        log.info("no session can be made", exc_info=error)
    return str(error) if isinstance(error, NitroSocksError) else f"cannot make a session: {said(error)}"
