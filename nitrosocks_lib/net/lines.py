"""Lines for stderr and stdout that keep nobody waiting, whether their reader is slow, asleep or gone.

A full pipe blocks whoever writes to it, for hours perhaps: no thread that carries data may do so, nor the end of the
program. So lines wait in a queue, and one daemon thread writes them. It blocks instead of asking for O_NONBLOCK: the
flags of an inherited descriptor are shared with others.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

from ..facts import limits
from ..facts.words import foreign
from .timers import now
from .wake import wait

HELD: Final = 1 << 20  # characters that wait; some 10,000 lines
BATCH: Final = select.PIPE_BUF  # bytes that a pipe takes in one piece: lines of several programs are not mixed
PATIENCE: Final = 0.5  # s without progress behind which `flush` waits no longer
LONGEST: Final = 5.0  # s that it waits in all, for a reader that is only slow
_LOOK: Final = 0.2  # s
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Lines:
    """Any thread may call it."""

    def __init__(self, descriptor: int) -> None:
        """Its thread starts with the first line. The descriptor stays open."""
        self.error: OSError | None = None  # why the last of it could not be written
        self.form: Callable[[int, str], str] = _plain  # the line that says a text beside the log, of this level
        self._descriptor = descriptor
        self._waiting: deque[str] = deque()
        self._held = 0  # characters of these
        self._dropped = 0  # texts, since the queue was full; all are, until it is empty
        self._written = 0  # batches
        self._busy = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def put(self, text: str) -> None:
        """Whole lines, which stay together. Returns at once; they are written soon, or dropped where many wait."""
        with self._changed:
            if self._dropped or self._held + len(text) > HELD:
                self._dropped += 1
            else:
                self._waiting.append(text)
                self._held += len(text)
            self._changed.notify_all()
            if self._thread is None:
                self._start()

    def flush(self) -> bool:
        """Waits until all is written; False where the reader takes nothing for PATIENCE, or not all in LONGEST."""
        until = now() + LONGEST
        with self._changed:
            if self._thread is None:
                self._write_here()
            while not self._idle():
                if not self._moves(min(PATIENCE, until - now())):
                    return False
        return True

    def _moves(self, seconds: float) -> bool:
        seen = self._written
        return self._changed.wait_for(lambda: self._written != seen or self._idle(), seconds)

    def _idle(self) -> bool:
        return not self._waiting and not self._dropped and not self._busy

    def _start(self) -> None:
        thread = threading.Thread(target=self._write_on, name="lines", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # none is left: with the next line perhaps
            return
        self._thread = thread

    def _write_here(self) -> None:
        """There is no thread to be had: a few lines go out all the same."""
        while self._waiting and wait({self._descriptor: select.POLLOUT}, PATIENCE):
            self._write(self._take())

    # -- the thread that writes --------------------------------------------------------------------------------------

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._dropped)
                self._busy = True
                batch = self._take() if self._waiting else self._take_dropped()
            self._write(batch)

    def _take(self) -> bytes:
        """The lines that go out together: each write costs a turn of the interpreter lock, which may be long."""
        batch = b""
        while self._waiting:
            block = _encoded(self._waiting[0])
            if batch and len(batch) + len(block) > BATCH:
                break
            batch += block
            self._held -= len(self._waiting.popleft())
        return batch

    def _take_dropped(self) -> bytes:
        count, self._dropped = self._dropped, 0
        what = "1 line was dropped" if count == 1 else f"{count} lines were dropped"
        return _encoded(self.form(logging.WARNING, f"{what}, since nobody read them") + "\n")

    def _write(self, batch: bytes) -> None:
        if _is_raw(self._descriptor):
            batch = b"\r" + batch.replace(b"\n", b"\r\n")
        try:
            while batch:
                batch = batch[self._write_some(batch) :]
            self.error = None
        except OSError as error:  # nobody is left to be told; a disk may have room again for the next one
            self.error = error
        self._written += 1

    def _write_some(self, batch: bytes) -> int:
        while True:
            try:
                return os.write(self._descriptor, batch)
            except BlockingIOError:  # somebody made it non-blocking
                wait({self._descriptor: select.POLLOUT}, None)


class LogLines(logging.Handler):
    """Log records as lines, one each; only the traceback of a fault of ours takes more, and they are indented.

    Of warnings and worse there are so many a second at most, since peers can cause them.

    Words of others were made harmless where they entered. What was forgotten there does no harm here either.
    """

    def __init__(self, lines: Lines, form: str | None = None) -> None:
        """`form` as in logging.Formatter."""
        super().__init__()
        self._lines = lines
        self.setFormatter(_OneLine(form))
        self._may = float(limits.WARNINGS_AT_ONCE)  # so many may come at once just now
        self._at = now()
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Returns at once; any thread may call it."""
        if record.levelno >= logging.WARNING and not self._in_time(now()):
            self._left_out += 1
            return
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            what = "1 warning was" if left_out == 1 else f"{left_out} warnings were"
            self._lines.put(self._lines.form(logging.WARNING, f"{what} left out, since too many came at once") + "\n")
        self._lines.put(f"{self.format(record)}\n")

    def _in_time(self, at: float) -> bool:
        """Under the lock that logging holds around `emit`."""
        self._may = min(limits.WARNINGS_AT_ONCE, self._may + (at - self._at) * limits.WARNINGS)
        self._at = at
        if self._may < 1:
            return False
        self._may -= 1
        return True


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return foreign(super().formatMessage(record), limits.LINE)

    def formatException(self, ei: _ExcInfo) -> str:
        lines = super().formatException(ei).split("\n")  # an exception may say words of others, on lines of their own
        return "\n".join(foreign(f"  {line}", limits.LINE) for line in lines)


def await_reader(descriptor: int) -> None:
    """Until it takes BATCH bytes without waiting, or nobody reads it any more. No wait is long: a signal that comes
    just before one, and whose handler raises, is heeded behind it."""
    while not wait({descriptor: select.POLLOUT}, _LOOK):
        pass


def _plain(_: int, text: str) -> str:
    return foreign(f"nitrosocks: {text}", limits.LINE)


def _is_raw(descriptor: int) -> bool:
    """Whether it is a terminal that takes a line feed for just that, as behind ssh: lines would become stairs."""
    try:
        return not termios.tcgetattr(descriptor)[1] & termios.OPOST
    except termios.error:  # no terminal
        return False


def _encoded(text: str) -> bytes:
    return text.encode(getattr(sys.stderr, "encoding", None) or "utf-8", "backslashreplace")


STDOUT: Final = Lines(1)
STDERR: Final = Lines(2)
