"""One connection to the decoy, for one visit: the web thread's, and before that visit the accept thread's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..facts import limits
from ..facts.errors import ConnectionEnded, NetworkError
from ..net.ends import End
from ..net.outgoing import Outgoing


class Upstream:
    """It connects, then moves bytes as far as that goes without waiting."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing: Outgoing | None = outgoing
        self._end: End | None = None
        self._waits = bytearray()  # to be sent
        self._finish = False  # behind them, what is sent ends
        self.ended: ConnectionEnded | None = None  # how it ended what it sends

    def watched_by(self, watch: Callable[[int, int], None], forget: Callable[[int], None]) -> None:
        """As Outgoing.watched_by, while it connects."""
        if self._outgoing is not None:
            self._outgoing.watched_by(watch, forget)

    @property
    def fd(self) -> int:
        """What to watch for `events`; -1 while it is not connected."""
        return self._end.fd if self._end is not None else -1

    @property
    def connected(self) -> bool:
        """Whether it is."""
        return self._end is not None

    @property
    def full(self) -> bool:
        """Whether no more is to be pushed for now."""
        return len(self._waits) >= limits.RELAYED

    @property
    def next_at(self) -> float | None:
        """When `move` is to be called though nothing is ready."""
        return None if self._outgoing is None else self._outgoing.next_at

    def wants(self, reading: bool) -> int:
        """What to poll for: to read where that is wanted, to write where something waits; 0 for neither."""
        assert self._end is not None, "it is connected"
        read = self._end.read_wants if reading and self.ended is None else 0
        return read | (self._end.write_wants if self._waits else 0)

    def push(self, data: bytes) -> None:
        """These bytes go to it, in order."""
        self._waits += data

    def finish(self) -> None:
        """Nothing more goes to it."""
        self._finish = True

    def move(self, at: float) -> bool:
        """Connects and sends as far as that goes now; whether something happened. Raises NetworkError."""
        if self._outgoing is not None:
            self._end = self._outgoing.advance(at)
            if self._end is None:
                return False
            self._outgoing = None
        assert self._end is not None, "it is connected"
        sent = 0
        if self._waits:
            with memoryview(self._waits) as view:
                sent = self._end.write_some(view)
            del self._waits[:sent]
        if self._finish and not self._waits:
            self._finish = False
            self._end.finish(True)
        return sent > 0

    def receive(self, buffer: memoryview) -> int:
        """What came from it; 0 for nothing yet, and behind its end. Raises NetworkError where it broke."""
        if self._end is None or self.ended is not None:
            return 0
        try:
            return self._end.read_some(buffer)
        except ConnectionEnded as ended:
            self.ended = ended
            return 0

    def nudge(self) -> None:
        """Behind its end: one byte more, as the visitor sent. A web server that has closed its connection, and not
        only half of it, has its kernel answer with a reset: `gone` then."""
        if self._end is not None:
            with suppress(NetworkError):
                self._end.write_some(memoryview(b"\0"))

    @property
    def gone(self) -> bool:
        """Whether it has reset the connection behind its end."""
        return self._end is not None and self._end.gone()

    def close(self, reset: bool = False) -> None:
        """The last call; the caller forgets `fd` before."""
        if self._outgoing is not None:
            self._outgoing.close()
        elif self._end is not None:
            (self._end.reset if reset else self._end.close)()
