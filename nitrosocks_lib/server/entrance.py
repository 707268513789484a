"""Connections from accept until their first message was read: one thread has them all, and none of them has a thread.

So strangers cost one core at most, and each of them a descriptor, and TLS once its ClientHello is there. Who has a
place, and whose turn it is, is `admission`'s to say. Whose first message is whole goes on in a thread of its own.
"""

from __future__ import annotations

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
from ..facts import limits
from ..facts.errors import NetworkError, NitroSocksError, NotOurs
from ..facts.wire import Carrier
from ..net.listener import accepted
from ..net.overlong import Overlong
from ..net.timers import Seldom, now
from ..net.wake import Waiter
from ..protocol.nonces import Nonces
from .admission import Admission, Place, Rank, turns
from .certificates import Certificates
from .exits import Exits
from .failures import Failures
from .stranger import Arrival, Stranger
from .tarpit import Tarpit
from .web import Web

log = logging.getLogger(__name__)
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Entrance:
    """`turn` and `close` are the accept thread's."""

    def __init__(
        self,
        door: tuple[ServerKey, Certificates, Nonces],
        receive: Callable[[Arrival], None],
        tarpit: Tarpit,
        most: dict[Rank, int],
        web: Web | None = None,
    ) -> None:
        """`receive` is run in a thread for each arrival; `most` as from `admission.places`; `web` gets what is HTTP."""
        (self._key, self._certificates, self._nonces), self._receive = door, receive
        self._exits = Exits(tarpit, web)
        self.raw, self.failures = True, Failures()  # whether it is served; of first messages that are wrong
        self._admission = Admission(most, random.randrange, limits.PATIENCE if self._exits.decoyed else 0.0)
        self._lock = threading.Lock()  # arrivals come further, and leave, in their threads
        self._waiter, self._reads = Waiter(), Overlong()
        self._coming: deque[Stranger] = deque()
        self._ready: dict[Stranger, float] = {}  # something came of them, and when; these are not watched
        self._heard: dict[Stranger, float] = {}  # their first message is there, and they wait for a thread
        self._seldom, self._gave_way = Seldom(), 0

    def __len__(self) -> int:
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
        ready = self._waiter.select(self._wait())
        self._waiter.clear()  # behind it: who wakes it before the wait ends that, and finds what it left looked at
        while self._coming:
            self._take(self._coming.popleft())
        for what, _ in ready:
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
        for stranger in self._exits.quiet(now()):
            self._see_off(stranger)
        self._end_stale()
        self._end_overdue()

    def _wait(self) -> float | None:
        if self._ready or self._coming or (self._heard and not self._admission.full(Rank.HEARD)):
            return 0.0
        with self._lock:
            due = self._admission.next_at()
        times = [each for each in (due, self._exits.next_at) if each is not None]
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
        for raw, peer in accepted(listener, limits.ACCEPTED_AT_ONCE, self._make_room):
            self._enter(Stranger(raw, peer))

    def _enter(self, stranger: Stranger) -> None:
        with self._lock:
            self._give_way(self._admission.enter(stranger))
        stranger.refused = not self.raw
        if self._admission.count(Rank.SILENT) + len(self._ready) <= limits.AHEAD:  # else it may be a flood
            self._exits.begins(stranger)
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
                if not stranger.has_begun():
                    return self._waiter.watch(stranger.fd, _READ, stranger)
                if stranger.plain and self._exits.decoyed:
                    return self._see_off(stranger)
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
        if self._seldom.due("missing"):
            log.warning("a connection cannot be taken: %s", reason)
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
        except NitroSocksError as error:  # of who knows our key
            self.failures.failed(stranger.peer, stranger.carrier or Carrier.RAW, str(error))
            self._drop(stranger)
        except Exception:
            log.exception("internal error; the connection is over")
            self._drop(stranger)

    def _step(self, stranger: Stranger) -> bool:
        """As far as it goes now; whether its first message is there whole."""
        link = stranger.link
        if link is None:
            if not stranger.begun:
                self._exits.begins(stranger)
            if events := stranger.go_on(self._certificates.presented):
                self._waiter.watch(stranger.fd, events, stranger)
                return False
            link = stranger.secured(self._exits.decoyed)
            self._advance(stranger, Rank.UNPROVEN)
        whole = stranger.read(link, self._key, self._nonces, self._reads)
        if stranger.hello is not None and stranger.rank is Rank.UNPROVEN:
            self._exits.spare(stranger)
            self._advance(stranger, Rank.GREETING if stranger.greets else Rank.RESUME)
            stranger.judged(True)
        if not whole:
            self._waiter.watch(stranger.fd, _READ if link.read_wants == select.POLLIN else _WRITE, stranger)
            self._exits.waits(stranger)
        return whole

    def _see_off(self, stranger: Stranger, broken: bool = False) -> None:
        self._leave(stranger)
        self._exits.see_off(stranger, broken)

    def _drop(self, stranger: Stranger) -> None:
        self._leave(stranger)
        self._exits.close(stranger)

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
            log.exception("internal error; the connection is over")
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
        if self._seldom.due("scarce"):
            log.warning("places for strangers are scarce: %d gave way since this was last said", self._gave_way)
            self._gave_way = 0

    def _end(self, victim: Place) -> None:
        """The caller holds the lock, so that a connection that is handed over is not closed meanwhile by its thread."""
        assert isinstance(victim, Stranger), "no others enter"
        if victim.handed:
            assert victim.link is not None, "something opened on it"
            victim.link.abort()
        else:
            self._forget(victim)
            self._exits.close(victim)

    def _forget(self, stranger: Stranger) -> None:
        """It leaves this thread, or is over."""
        stranger.judged(stranger.hello is not None)
        self._waiter.forget(stranger.fd)
        self._exits.forget(stranger)
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
