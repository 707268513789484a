"""Notices that this machine's network changed, or that the machine slept: one thread, which waits."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from .netlink import ADDRESS, LINK, LOST, ROUTE, Netlink, none
from .wake import Waiter

log = logging.getLogger(__name__)

SLEPT = "the clock jumped, this machine slept"

EVERY = 2.0  # seconds between two looks at what does not tell by itself
_BURST = 0.1  # seconds; one change of network is many messages
_JUMP = 1.0  # seconds that one clock gains on the other between two looks; none without sleep
_ORDER = (SLEPT, ADDRESS, ROUTE, LINK, LOST)  # of a burst the first of these is told
_CLOCKS = (  # one that counts sleep, one that does not
    ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"),  # Linux
    ("CLOCK_MONOTONIC", "CLOCK_UPTIME_RAW"),  # macOS
)
_NO_PORT = 9  # any would do, since nothing is sent


def seconds_slept() -> float:
    """How long this machine slept since it was started; 0 where no clock says so."""
    for counting, standing in _CLOCKS:
        if hasattr(time, counting) and hasattr(time, standing):
            return time.clock_gettime(getattr(time, counting)) - time.clock_gettime(getattr(time, standing))
    return 0.0


def local_address(server: str) -> str | None:
    """The address that this machine would use towards a numeric one, None without a route. Nothing is sent."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((server, _NO_PORT))
            return str(sock.getsockname()[0])
    except OSError:
        return None


class NetWatch:
    """Calls `changed`, from its own thread and with a reason for people, when the network changed or the machine slept.

    A burst is told once, 0.1 seconds after it began. `changed` must not block; what it raises is logged. `towards`
    says, in the same thread, the numeric addresses of the servers in use. Where the kernel tells of changes (`source`),
    routes that lead elsewhere do not count; where it does not, the local addresses used towards these are looked at
    every 2 seconds.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        towards: Callable[[], Sequence[str]] = none,
        *,
        source: Callable[[Callable[[], Sequence[str]]], Netlink] = Netlink,
        slept: Callable[[], float] = seconds_slept,
        every: float = EVERY,
    ) -> None:
        self._changed = changed
        self._towards = towards
        self._source = source
        self._slept = slept
        self._every = every
        self._netlink: Netlink | None = None
        self._locals: dict[str, str | None] = {}  # server: our address towards it; kept where there is no netlink
        self._slept_before = 0.0
        self._waiter: Waiter | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self) -> None:
        """Begins: what changes after this returned is told. To be called once.

        Raises OSError or RuntimeError when no descriptor or no thread is left; nothing has begun then.
        """
        self._waiter = Waiter()
        try:
            self._watch()
            self._thread = threading.Thread(target=self._run, args=[self._waiter], name="netwatch", daemon=True)
            self._thread.start()
        except BaseException:
            self._thread = None
            self._release(self._waiter)
            raise

    def close(self) -> None:
        """Ends it, from any thread: after this returned nothing is told, if it was not `changed` that called it.

        A second call does nothing, and so does one without a start.
        """
        self._closing = True
        if self._thread is not None:
            assert self._waiter is not None, "the thread is started with it"
            self._waiter.set()
            if self._thread is not threading.current_thread():
                self._thread.join()

    # -- all below: its thread, or `start` before there is one ---------------------------------------------------------

    def _watch(self) -> None:
        """Takes things as they are now for what is known."""
        assert self._waiter is not None
        try:
            self._netlink = self._source(self._towards)
        except OSError as error:
            log.debug("the kernel does not report changes of the network (%s): it is polled", error)
            self._address_changed()
        else:
            self._waiter.watch(self._netlink.fileno(), selectors.EVENT_READ, self._netlink)
        self._slept_before = self._slept()

    def _run(self, waiter: Waiter) -> None:
        look_at = time.monotonic() + self._every
        try:
            while not self._closing:
                ready = waiter.select(max(0.0, look_at - time.monotonic()))
                waiter.clear()
                for netlink, _ in ready:
                    self._tell(self._news(waiter, netlink))
                if time.monotonic() >= look_at:
                    self._look()
                    look_at = time.monotonic() + self._every
        finally:
            self._release(waiter)

    def _release(self, waiter: Waiter) -> None:
        waiter.close()
        if self._netlink is not None:
            self._netlink.close()

    def _news(self, waiter: Waiter, netlink: Netlink) -> set[str]:
        """What netlink tells, and what follows within 0.1 s, for which the thread does not wake again."""
        try:
            news = netlink.read()
            if news:
                waiter.forget(netlink.fileno())
                waiter.select(_BURST)
                news |= netlink.read()
                waiter.watch(netlink.fileno(), selectors.EVENT_READ, netlink)
            return news
        except OSError as error:
            log.debug("netlink has failed: %s", error)
            waiter.forget(netlink.fileno())
            netlink.close()
            self._netlink = None
            self._address_changed()
            return {LOST}

    def _look(self) -> None:
        """At the clocks, and at the addresses where there is no netlink."""
        before, self._slept_before = self._slept_before, self._slept()
        if self._slept_before - before > _JUMP:
            self._tell([SLEPT])
        if self._netlink is None and self._address_changed():
            self._tell([ADDRESS])

    def _address_changed(self) -> bool:
        before, self._locals = self._locals, {server: local_address(server) for server in self._towards()}
        return any(before.get(server, now) != now for server, now in self._locals.items())

    def _tell(self, news: Iterable[str]) -> None:
        told = min(news, key=_ORDER.index, default=None)
        if told is None or self._closing:
            return
        try:
            self._changed(told)
        except Exception:  # what listens must not end the watch
            log.exception("a change of the network was not handled")
