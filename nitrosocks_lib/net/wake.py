"""A wake that never blocks its poster, and the one place where a thread of a pair waits."""

from __future__ import annotations

import os
import select
import selectors
import socket
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol


class Wake:
    """To post: set a field, then `set()`. To take: `clear()`, then read the fields. To wait for a post: `wait`.

    Any thread may call `set`; one thread owns the rest. A descriptor is written to only while the owner waits, so a
    post to a busy thread costs no system call.
    """

    __slots__ = ("_armed", "_interest", "_lock", "_pair", "_poll", "_written", "fd", "pending")

    def __init__(self) -> None:
        self.pending = False  # something was posted and not taken
        self._armed = False  # the owner waits, or is about to
        self._written = False
        self._interest: dict[int, int] = {}
        self._poll: select.poll | None = None  # for that interest
        self._lock = threading.Lock()  # a late set must not write into a descriptor that somebody else has by now
        self._pair: tuple[socket.socket, socket.socket] | None = None
        if hasattr(os, "eventfd"):
            self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            self.fd = self._pair[0].fileno()

    def set(self) -> None:
        """Wakes the owner, or tells it before it waits next. Never blocks; a mailbox never grows by it."""
        self.pending = True
        if self._armed:
            with self._lock:
                if self.fd >= 0 and not self._written:
                    self._written = True
                    self._write()

    def clear(self) -> None:
        """Takes the wake. `pending` falls before the fields are read, so a post in between wakes again."""
        self.pending = False

    def wait(self, interest: dict[int, int], timeout: float | None) -> dict[int, int]:
        """Waits for a post, or for one of {descriptor: events}; returns which of those are ready."""
        self._armed = True  # before the look at `pending`: a post sees one, or we see the other
        try:
            ready = {} if self.pending else poll_for(self._poll_of(interest), timeout)
        finally:
            self._disarm()
        ready.pop(self.fd, None)
        return ready

    def _disarm(self) -> None:
        self._armed = False
        if self._written:
            with self._lock:
                self._written = False
                self._drain()

    def _poll_of(self, interest: dict[int, int]) -> select.poll:
        """Made anew when the interest changes, which it seldom does while data flows."""
        if self._poll is None or interest != self._interest:
            self._poll, self._interest = poll(interest | {self.fd: select.POLLIN}), interest
        return self._poll

    def _write(self) -> None:
        if self._pair is None:
            os.eventfd_write(self.fd, 1)
        else:
            self._pair[1].send(b"!")

    def _drain(self) -> None:
        if self._pair is None:
            os.eventfd_read(self.fd)
        else:
            self._pair[0].recv(64)

    def close(self) -> None:
        """Gives the descriptor back; the owner's last call."""
        with self._lock:
            fd, self.fd, self._poll = self.fd, -1, None
            if self._pair is not None:
                for end in self._pair:
                    end.close()
            elif fd >= 0:
                os.close(fd)


class Watches(Protocol):
    """What watches descriptors for a thread, and is its wake: `Waiter` is one."""

    def set(self) -> None:
        """As Wake."""

    def watch(self, fd: int, events: int, what: Any) -> None:
        """As Waiter."""

    def forget(self, fd: int) -> None:
        """As Waiter."""


class Waiter(Wake):
    """A Wake with one selector, in which each descriptor is registered once: a thousand idle ones cost nothing.

    All but `set` belongs to one thread at a time.
    """

    __slots__ = ("_selector",)

    def __init__(self) -> None:
        super().__init__()
        try:
            self._selector = selectors.DefaultSelector()
            self._selector.register(self.fd, selectors.EVENT_READ, None)
        except BaseException:
            super().close()
            raise

    def watch(self, fd: int, events: int, what: Any) -> None:
        """Has `select` tell `(what, events)` when this descriptor is ready; `events` as in `selectors`, never 0."""
        try:
            self._selector.register(fd, events, what)
        except KeyError:
            self._selector.modify(fd, events, what)

    def forget(self, fd: int) -> None:
        """Ends the watch, if there is one. To be called before the descriptor is closed: its number is used again."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def select(self, timeout: float | None) -> Sequence[tuple[Any, int]]:
        """Waits for a post, or until something watched is ready; nothing where a post waits to be taken."""
        self._armed = True  # before the look at `pending`: a post sees one, or we see the other
        try:
            ready = () if self.pending else self._selector.select(timeout)
        finally:
            self._disarm()
        return [(key.data, events) for key, events in ready if key.data is not None]

    def close(self) -> None:
        """Gives the descriptors back; the owner's last call."""
        self._selector.close()
        super().close()


class Edges:
    """Tells when more arrives at descriptors that nobody reads, as a keystroke does in an outage; where epoll is.

    One thread. Elsewhere it tells nothing, nor where no descriptor is left.
    """

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._left = set(descriptors)
        self._some = bool(self._left)
        self._epoll: select.epoll | None = None
        self.interest: dict[int, int] = {}  # to be given to `Wake.wait`
        with suppress(OSError):
            self._epoll = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is not None:
            self.interest = {self._epoll.fileno(): select.POLLIN}
            for fd in self._left:
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
            self.take()  # what was there before is no news

    def __enter__(self) -> Edges:
        return self

    def __exit__(self, *_: object) -> None:
        if self._epoll is not None:
            self._epoll.close()

    def take(self) -> bool:
        """Whether something arrived, or a descriptor broke, since the last call."""
        events = self._epoll.poll(0, max(1, len(self._left))) if self._epoll is not None else []
        self._left -= {fd for fd, event in events if event & select.EPOLLERR}
        return bool(events)

    @property
    def all_broken(self) -> bool:
        """Whether the other ends of all of them are gone with an error."""
        return self._some and not self._left


def wait(interest: dict[int, int], timeout: float | None) -> dict[int, int]:
    """Polls until one of {descriptor: events} is ready or `timeout` seconds are over; returns what is ready."""
    return poll_for(poll(interest), timeout)


def poll(interest: dict[int, int]) -> select.poll:
    """A poll object for {descriptor: events}.

    Descriptors with 0 events are left out: POLLHUP and POLLERR would come all the same.
    """
    made = select.poll()
    for fd, events in interest.items():
        if events:
            made.register(fd, events)
    return made


def poll_for(made: select.poll, timeout: float | None) -> dict[int, int]:
    """Polls until something is ready or `timeout` seconds are over; returns what is ready."""
    return dict(made.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999))))
