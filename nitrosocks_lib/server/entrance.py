"""Connections from accept until their first message was read: one thread has them all, and none of them has a thread.

So strangers cost one core at most, and each of them a descriptor, and TLS once its ClientHello is there. Who has a
place, and whose turn it is, is `admission`'s to say. Whose first message is whole goes on in a thread of its own.
"""

from __future__ import annotations

import errno
import logging
import random
import select
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from ..crypto.identity import ServerKey
from ..facts import limits, wire
from ..facts.errors import NetworkError, NitroSocksError, NotOurs
from ..net.connect import Context
from ..net.listener import PAUSE
from ..net.overlong import Overlong
from ..net.pipe import PipeLink
from ..net.timers import now
from ..net.tls import TlsLink
from ..net.wake import Waiter
from ..protocol.nonces import Nonces
from .admission import Admission, Place, Rank, turns
from .stranger import Arrival, Stranger
from .tarpit import Tarpit
from .visitor import Visitor
from .web import Web

log = logging.getLogger(__name__)

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_GONE = (errno.ECONNABORTED, errno.EPERM, errno.EPROTO)  # of an accept: that one is gone, and the next may be there


class Entrance:
    """`turn` and `close` are the accept thread's."""

    def __init__(
        self,
        door: tuple[ServerKey, Context, Nonces],
        receive: Callable[[Arrival], None],
        tarpit: Tarpit,
        most: dict[Rank, int],
        web: Web | None = None,
    ) -> None:
        """`receive` is run in a thread for each arrival; `most` as from `admission.places`; `web` gets what is HTTP."""
        self._key, self._context, self._nonces = door
        self._receive, self._tarpit, self._web = receive, tarpit, web
        self.raw = True  # whether it is served
        self._admission = Admission(most, random.randrange)
        self._lock = threading.Lock()  # arrivals come further, and leave, in their threads
        self._waiter = Waiter()
        self._reads = Overlong()
        self._coming: deque[Stranger] = deque()
        self._quiet: dict[Stranger, float] = {}  # behind TLS they said nothing; when the decoy has to hear of them
        self._ready: dict[Stranger, float] = {}  # something came of them, and when; these are not watched
        self._heard: dict[Stranger, float] = {}  # their first message is there, and they wait for a thread
        self._said: dict[str, float] = {}
        self._gave_way = 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._admission)

    def listen(self, listener: socket.socket) -> None:
        """Accepts there, too."""
        listener.setblocking(False)
        self._waiter.watch(listener.fileno(), _READ, listener)

    def wake(self) -> None:
        """Ends the wait of a turn; any thread may call it."""
        self._waiter.set()

    def come(self, stranger: Stranger) -> None:
        """One comes whose TLS is done; any thread may call it."""
        self._coming.append(stranger)
        self._waiter.set()

    def turn(self) -> None:
        """Waits for something, and does what can be done without waiting. Connections are taken first."""
        self._waiter.clear()
        while self._coming:
            self._take(self._coming.popleft())
        for what, _ in self._waiter.select(self._wait()):
            if not isinstance(what, Stranger):
                self._accept(what)
            elif what.rank is not None:  # else it gave way meanwhile
                self._look(what)
        until = time.thread_time() + limits.TURN
        for each in turns(self._ready, now()):
            if self._ready.pop(each, None) is not None:  # else it gave way meanwhile
                self._go_on(each)
            if time.thread_time() >= until:
                break
        self._hand_over()
        self._show_quiet()
        self._end_stale()
        self._end_overdue()

    def _wait(self) -> float | None:
        if self._ready or self._coming or (self._heard and not self._admission.full(Rank.HEARD)):
            return 0.0
        with self._lock:
            due = self._admission.next_at()
        times = [each for each in (due, next(iter(self._quiet.values()), None)) if each is not None]
        return max(0.0, min(times) - now()) if times else None

    def close(self) -> None:
        """Ends them all; the server ends."""
        while self._coming:
            self._coming.popleft().close()
        with self._lock:
            while (place := self._admission.scarce()) is not None:
                self._end(place)
        self._waiter.close()

    # -- those that come -----------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        short = False
        for _ in range(limits.ACCEPTED_AT_ONCE):
            try:
                raw, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                self._make_room(error)
                if short:  # room was made, and that was not it
                    time.sleep(PAUSE)
                    return
                short = True
            else:
                short = False
                self._enter(Stranger(raw, peer))

    def _enter(self, stranger: Stranger) -> None:
        with self._lock:
            self._give_way(self._admission.enter(stranger))
        stranger.refused = not self.raw
        self._look(stranger)  # the ClientHello comes right behind the connection

    def _take(self, stranger: Stranger) -> None:
        """One whose TLS is done."""
        with self._lock:
            self._give_way(self._admission.enter(stranger, Rank.UNPROVEN))
        self._ready[stranger] = now()

    def _look(self, stranger: Stranger) -> None:
        """Something came, perhaps; whose turn it is to go on is seen when all that came was looked at."""
        try:
            if stranger.rank is Rank.SILENT:
                assert stranger.incoming is not None, "it has no TLS yet"
                if not stranger.incoming.has_hello():
                    self._waiter.watch(stranger.fd, _READ, stranger)
                    return
                self._advance(stranger, Rank.TLS)
        except (NetworkError, OSError) as error:
            log.debug("%s: no TLS: %s", stranger, error)
            self._drop(stranger)
        else:
            self._waiter.forget(stranger.fd)
            self._ready[stranger] = now()

    def _make_room(self, error: Exception) -> None:
        """Something is missing that a stranger may hold."""
        reason = getattr(error, "strerror", None) or error
        self._say("missing", f"a connection cannot be taken: {reason}")
        with self._lock:
            self._give_way(self._admission.scarce())

    # -- how they go on ------------------------------------------------------------------------------------------------

    def _go_on(self, stranger: Stranger) -> None:
        try:
            if self._step(stranger):
                self._heard[stranger] = now()
        except (NotOurs, NetworkError, OSError) as error:
            log.debug("%s: %s: %s", stranger, "no TLS" if stranger.link is None else "not ours", error)
            self._see_off(stranger, broken=not isinstance(error, NotOurs))
        except NitroSocksError as error:
            log.warning("%s: the handshake failed: %s", stranger, error)
            self._drop(stranger)
        except Exception:
            log.exception("a fault of our own; the connection is over")
            self._drop(stranger)

    def _step(self, stranger: Stranger) -> bool:
        """As far as it goes now; whether its first message is there whole."""
        link = stranger.link
        if link is None:
            incoming = stranger.incoming
            assert incoming is not None, "it has no TLS yet"
            incoming.begin(self._context)
            if events := incoming.go_on():
                self._waiter.watch(stranger.fd, events, stranger)
                return False
            link = stranger.secured()
            self._advance(stranger, Rank.UNPROVEN)
        whole = stranger.read(link, self._key, self._nonces, self._reads)
        if stranger.hello is not None and stranger.rank is Rank.UNPROVEN:
            greets = stranger.hello.kind == wire.KIND_GREETING
            self._advance(stranger, Rank.GREETING if greets else Rank.RESUME)
            stranger.judged(True)
        if not whole:
            self._waiter.watch(stranger.fd, _READ if link.read_wants == select.POLLIN else _WRITE, stranger)
            if self._web is not None and self._web.decoy is not None and stranger.silent:
                self._quiet.setdefault(stranger, now() + limits.QUIET)
        return whole

    def _see_off(self, stranger: Stranger, broken: bool = False) -> None:
        """One that failed: without TLS it is closed, as at any web server; behind a first Enc, too (D6); else late, or
        by the decoy. What the `http` carrier brought is its own to see off."""
        link = stranger.link
        if link is None or stranger.hello is not None or isinstance(link, PipeLink):
            self._drop(stranger)
        elif self._web is None or not isinstance(link, TlsLink) or not self._web.wants(stranger.read_before):
            self._leave(stranger)
            self._tarpit.add(stranger.accepted, link)
        elif broken and not stranger.read_before:
            self._leave(stranger)
            link.part()  # as web servers do
        else:
            self._leave(stranger)
            self._web.take(Visitor(link, stranger.peer, stranger.source, stranger.accepted, stranger.read_before))

    def _show_quiet(self) -> None:
        """Whoever said nothing yet is shown to the decoy, whose time for it begins then (D1)."""
        while self._quiet and next(iter(self._quiet.values())) <= now():
            stranger = next(iter(self._quiet))
            del self._quiet[stranger]
            if stranger.silent and stranger.rank is not None:
                self._see_off(stranger)

    def _drop(self, stranger: Stranger) -> None:
        self._leave(stranger)
        stranger.close()

    # -- those that get a thread ---------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """As many as there are places for: threads that wait for a core only, and soon leave theirs."""
        for each in turns(self._heard, now()):
            if self._admission.full(Rank.HEARD):
                return
            if self._heard.pop(each, None) is not None:
                self._begin(each)

    def _begin(self, stranger: Stranger) -> None:
        def came(rank: Rank, client: bytes) -> None:
            self._advance(stranger, rank, client)
            self._waiter.set()

        def leave() -> None:
            self._leave(stranger)
            self._waiter.set()

        self._advance(stranger, Rank.HEARD)
        arrival = stranger.hand_over(came, leave)
        try:
            threading.Thread(target=self._run, args=(arrival,), name="connection", daemon=True).start()
        except RuntimeError as error:  # no more threads just now
            leave()
            self._make_room(error)
            arrival.talk.link.close()

    def _run(self, arrival: Arrival) -> None:
        try:
            self._receive(arrival)
        except Exception:
            log.exception("a fault of our own; the connection is over")
        finally:
            arrival.leave()

    # -- who gives way -------------------------------------------------------------------------------------------------

    def _advance(self, stranger: Stranger, rank: Rank, source: bytes | None = None) -> None:
        with self._lock:
            self._give_way(self._admission.advance(stranger, rank, source))

    def _leave(self, stranger: Stranger) -> None:
        with self._lock:
            self._admission.leave(stranger)
        if not stranger.handed:
            self._forget(stranger)

    def _give_way(self, victim: Place | None) -> None:
        """The caller holds the lock."""
        if victim is None:
            return
        self._gave_way += 1
        self._end(victim)
        if self._say("scarce", f"places for strangers are scarce: {self._gave_way} gave way since this was last said"):
            self._gave_way = 0

    def _end(self, victim: Place) -> None:
        """The caller holds the lock, so that a connection that is handed over is not closed meanwhile by its thread."""
        assert isinstance(victim, Stranger), "no others enter"
        if victim.handed:
            assert victim.link is not None, "something opened on it"
            victim.link.abort()
        else:
            self._forget(victim)
            victim.close()

    def _forget(self, stranger: Stranger) -> None:
        """It leaves this thread, or is over."""
        stranger.judged(stranger.hello is not None)
        self._waiter.forget(stranger.fd)
        self._quiet.pop(stranger, None)
        self._ready.pop(stranger, None)
        self._heard.pop(stranger, None)

    def _end_stale(self) -> None:
        """Who waited too long for its turn is served too late: it had better try again, and the others go on sooner."""
        for waiting in (self._ready, self._heard):
            while waiting and next(iter(waiting.values())) < now() - limits.STALE:
                stranger = next(iter(waiting))
                with self._lock:
                    self._admission.leave(stranger)
                    self._give_way(stranger)

    def _end_overdue(self) -> None:
        while True:
            with self._lock:
                place = self._admission.overdue(now())
            if not isinstance(place, Stranger):
                return
            self._see_off(place)

    def _say(self, kind: str, text: str) -> bool:
        """One line a minute of each kind: who floods is not to fill the log, too."""
        if now() < self._said.get(kind, 0.0):
            return False
        self._said[kind] = now() + limits.PLACES_SAID
        log.warning("%s", text)
        return True
