"""A thread that starts with the first thing that is given to it, and has all that comes until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable


class OnDemand:
    """Any thread. What is given is handed over under one lock, so that nothing is given behind the end."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        """`run` is the thread's body; it looks at `stopped` behind each `clear` of its wake, and sees to what came."""
        self._name, self._run = name, run
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.stopped = False

    def give(self, put: Callable[[], None]) -> bool:
        """Calls `put()`, which leaves something to the thread; False where that ends, or none can be had now."""
        with self._lock:
            if self.stopped or (self._thread is None and not self._start()):
                return False
            put()
        return True

    def _start(self) -> bool:
        """False where there is no thread to be had; the next one to come tries again."""
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def stop(self, wake: Callable[[], None]) -> None:
        """Calls `wake()`, and returns when the thread has ended."""
        with self._lock:
            self.stopped = True
            thread = self._thread
        wake()
        if thread is not None:
            thread.join()
