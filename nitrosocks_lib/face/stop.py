"""How a running command ends, and how it talks to people meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import threading


def note(text: str) -> None:
    """One line for people, on stderr."""
    print(f"nitrosocks: {text}", file=sys.stderr, flush=True)


class Stop:
    """SIGTERM and SIGINT end the program in order; the second one ends it at once. Made by the main thread."""

    def __init__(self, *more: signal.Signals, event: threading.Event | None = None) -> None:
        """`more` signals are taken as well; `event` is one that somebody waits for anyway."""
        self.came = False
        self.event = event or threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT, *more):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        if self.came:
            os._exit(128 + number)
        self.came = True
        self.event.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for a signal, or for the event; True when a signal came."""
        self.event.wait(seconds)
        return self.came
