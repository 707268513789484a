"""How a running command learns of signals: through a descriptor, so that none comes between a look and a wait."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from ..facts.errors import NitroSocksError
from .wake import wait


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came, to a command that is short: whatever it had begun is taken back on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def ended_by_exception() -> None:
    """SIGTERM and SIGHUP raise Ended from now on, unless they are ignored. For the main thread of a short command."""

    def end(number: int, _: FrameType | None) -> None:
        raise Ended(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    _let_through(signal.SIGTERM, signal.SIGHUP)


def _let_through(*numbers: int) -> None:
    """Whoever started the program may have blocked them for a thread of its own, and a program inherits that."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def await_children() -> None:
    """How a child ended can be asked for, also where whoever started the program ignores SIGCHLD."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class Stop:
    """SIGTERM and SIGINT end the program in order; the second one ends it at once. SIGHUP hurries a reconnection,
    SIGUSR1 asks for one line about what goes on. What was ignored when the program began stays ignored, as nohup and
    the background of a script have it.

    Made by the main thread, which also waits. Signal handlers set a field; the interpreter itself writes the byte that
    ends the wait (set_wakeup_fd): a lock or an Event could be left waiting by a signal that comes just before it.
    """

    def __init__(self, *, hangup_ends: bool = False) -> None:
        """With `hangup_ends` SIGHUP ends the program, too, as ssh's ProxyCommand wants it."""
        self.came = False
        self.hurry = False
        self._asked = False
        self._told = False
        self.failure: NitroSocksError | None = None  # why the program ends by itself
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        table = {
            signal.SIGTERM: self._on_end,
            signal.SIGINT: self._on_end,
            signal.SIGHUP: self._on_end if hangup_ends else self._on_hangup,
            signal.SIGUSR1: self._on_question,
        }
        for number, taken in table.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, taken)
        _let_through(*table)

    def _on_end(self, number: int, _: FrameType | None) -> None:
        if self.came:
            os._exit(128 + number)
        self.came = True

    def _on_hangup(self, _number: int, _: FrameType | None) -> None:
        self.hurry = True

    def _on_question(self, _number: int, _: FrameType | None) -> None:
        self._asked = True

    def take_asked(self) -> bool:
        """Whether SIGUSR1 came since this was called last."""
        asked, self._asked = self._asked, False
        return asked

    def tell(self) -> None:
        """Ends the wait; any thread may call it."""
        self._told = True
        with suppress(BlockingIOError):  # full means that it is awake
            os.write(self._write, b"!")

    def fail(self, error: NitroSocksError) -> None:
        """Ends the program for this; any thread may call it."""
        self.failure = self.failure or error
        self.tell()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for a signal, `tell` or `fail`, or until time is over; True when the program is to end."""
        if not self.came and not self._told:
            wait({self._read: select.POLLIN}, seconds)
        with suppress(BlockingIOError):
            os.read(self._read, 4096)
        self._told = False
        return self.came or self.failure is not None

    def see_through(self, work: Callable[[], None]) -> None:
        """Runs `work` in a thread and returns when it is done; a second signal is seen all the while.

        The kernel may give a signal to any thread, but its handler runs in the main one, which must wait for no lock.
        """
        finished: list[bool] = []

        def run() -> None:
            try:
                work()
            finally:
                finished.append(True)
                self.tell()

        threading.Thread(target=run, name="ending", daemon=True).start()
        while not finished:
            wait({self._read: select.POLLIN}, None)
            with suppress(BlockingIOError):
                os.read(self._read, 4096)


def _pipe() -> tuple[int, int]:
    """pipe2 for macOS, which has none."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends
