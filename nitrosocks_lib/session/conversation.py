"""Drives the handshake generators of `protocol` over a Link."""

from __future__ import annotations

import logging

from ..facts.errors import NetworkError
from ..net.link import Link
from ..net.timers import now
from ..protocol.handshake import Dialogue, T

log = logging.getLogger(__name__)


class Interrupted(NetworkError):
    """The connection ended, or time did, in the middle of a handshake; `parts` had been read whole by then."""

    def __init__(self, error: NetworkError, parts: int) -> None:
        super().__init__(str(error), error.hint)
        self.parts = parts


class Conversation:
    """One handshake on one link; the caller's thread owns both. `rest` are bytes that were read ahead."""

    def __init__(self, link: Link, deadline: float, rest: bytes = b"", first: float | None = None) -> None:
        """`deadline` (seconds of `timers.now`) bounds the whole conversation; what is read first has to come by
        `first`, where that is sooner."""
        self.link = link
        self.deadline = deadline
        self._until = min(deadline, first) if first is not None else deadline
        self._rest = rest
        self.round_trip = 0.0  # seconds from the last write to the part behind it
        self._asked = 0.0

    def run(self, dialogue: Dialogue[T]) -> T:
        """Runs a dialogue to its end and returns its outcome; another may follow on the same link.

        Raises what the dialogue raises, and Interrupted when the peer stops early.
        """
        parts = 0
        try:
            wanted = next(dialogue)
            while True:
                if isinstance(wanted, bytes):
                    self.link.write_all(wanted, self._until)
                    self._asked = now()
                    log.debug("handshake: sent %d bytes", len(wanted))
                    wanted = dialogue.send(b"")
                else:
                    part = self._read(wanted)
                    parts, self._until = parts + 1, self.deadline
                    log.debug("handshake: received part %d, %d bytes", parts, wanted)
                    if self._asked:
                        self.round_trip, self._asked = now() - self._asked, 0.0
                    wanted = dialogue.send(part)
        except StopIteration as done:
            outcome: T = done.value
            return outcome
        except NetworkError as error:
            raise Interrupted(error, parts) from None

    def _read(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        if len(taken) < size:
            taken += self.link.read_exactly(size - len(taken), self._until)
        return taken
