"""What a machine is short of: threads that do not start, descriptors that are not given."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def no_threads(name: str) -> Iterator[threading.Event]:
    """No thread of this name starts, as at the limit of pids or memory; the event tells that one was to."""
    wanted, real = threading.Event(), threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == name:
            wanted.set()
            raise RuntimeError("can't start new thread")
        real(thread)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield wanted


@contextlib.contextmanager
def few_eventfds(left: int) -> Iterator[list[int]]:
    """Only so many more are made; which ones."""
    made: list[int] = []
    real = os.eventfd

    def eventfd(*args: int) -> int:
        if len(made) == left:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.append(real(*args))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "eventfd", eventfd)
        yield made
