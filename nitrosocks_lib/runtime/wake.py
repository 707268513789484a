"""A wake that never blocks its poster, and the one place where a thread of a pair waits."""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress


class Wake:
    """Poll it for reading. To post: set a field, then `set()`. To take: `clear()`, then read the fields.

    Any thread may call `set`; one thread owns `clear` and `close`.
    """

    __slots__ = ("_lock", "_pair", "fd", "pending")

    def __init__(self) -> None:
        self.pending = False
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
        """Wakes the owner; costs nothing while an earlier wake is not taken, so a mailbox never grows."""
        if self.pending:
            return
        with self._lock:
            if self.fd < 0:
                return
            self.pending = True
            if self._pair is None:
                os.eventfd_write(self.fd, 1)
            else:
                with suppress(BlockingIOError):  # full means that it is awake
                    self._pair[1].send(b"!")

    def clear(self) -> None:
        """Takes the wake. `pending` falls before the fields are read, so a post in between wakes again."""
        if not self.pending:
            return
        with suppress(BlockingIOError):  # `pending` is raised by hand before a thread's first look at its mail
            if self._pair is None:
                os.eventfd_read(self.fd)
            else:
                self._pair[0].recv(64)
        self.pending = False

    def close(self) -> None:
        """Gives the descriptor back; the owner's last call."""
        with self._lock:
            fd, self.fd = self.fd, -1
            if self._pair is not None:
                for end in self._pair:
                    end.close()
            elif fd >= 0:
                os.close(fd)


def wait(interest: dict[int, int], timeout: float | None) -> dict[int, int]:
    """Polls until one of {descriptor: events} is ready or `timeout` seconds are over; returns what is ready.

    Descriptors with 0 events are left out: POLLHUP and POLLERR would come all the same.
    """
    poll = select.poll()
    for fd, events in interest.items():
        if events:
            poll.register(fd, events)
    return dict(poll.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999))))
