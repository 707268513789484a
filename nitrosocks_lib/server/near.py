"""The visitor's end of a visit: what goes to it, and how that ends."""

from __future__ import annotations

from ..facts import limits
from ..facts.errors import ConnectionEnded
from ..net.ends import CallerEnd
from ..net.timers import now
from .upstream import Upstream


class Near:
    """The web thread's. It moves bytes as far as that goes without waiting; NetworkError where the visitor broke it."""

    def __init__(self, link: CallerEnd) -> None:
        self.link = link
        self.hung_up = False  # the visitor sends no more
        self.finished = False  # what it gets has ended; what it sends is thrown away
        self.moved = now()  # when something came or went last
        self._out = bytearray()  # to the visitor
        self._ends: bool | None = None  # behind `_out`, with a word of TLS or without
        self._looks: list[float] = []  # when the decoy's reset is looked for

    @property
    def waits(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._out)

    @property
    def full(self) -> bool:
        """Whether no more is to be sent for now."""
        return len(self._out) >= limits.RELAYED

    @property
    def ends(self) -> bool:
        """Whether nothing follows what is to be sent."""
        return self._ends is not None

    def wants(self, hears: bool) -> int:
        """What to poll for; `hears` where more of the visitor is wanted."""
        return (self.link.read_wants if hears else 0) | (self.link.write_wants if self._out else 0)

    def send(self, data: bytes) -> None:
        """Goes to the visitor."""
        self._out += data
        self.moved = now()

    def end(self, notify: bool) -> None:
        """Nothing follows; with a word of TLS, or without."""
        if self._ends is None:
            self._ends = notify

    def tell(self) -> bool:
        """Sends what goes; whether something happened."""
        if not self._out:
            if self._ends is None or self.finished:
                return False
            self.link.finish(self._ends)
            self.finished, self.moved = True, now()
            return True
        with memoryview(self._out) as view:
            size = self.link.write_some(view)
        del self._out[:size]
        self.moved = now() if size else self.moved
        return size > 0

    def swallow(self, upstream: Upstream | None) -> bool:
        """Behind the end: what comes is late, and the decoy is asked what its kernel would say to that. True where the
        visitor's end has come, too."""
        try:
            came = self.link.swallow()
        except ConnectionEnded:
            return True
        if came and upstream is not None:
            upstream.nudge()
            self._looks = [now() + each for each in limits.NUDGED]
        return False

    @property
    def next_at(self) -> float:
        """Behind the end: when `over` is to be asked."""
        return min([self.moved + limits.HELD_OPEN, *self._looks])

    def over(self, upstream: Upstream | None) -> bool | None:
        """Behind the end: whether it is over by now, and if so with a reset; None while it is not."""
        at = now()
        self._looks = [each for each in self._looks if each > at]
        if upstream is not None and upstream.gone:
            return True
        return False if at >= self.moved + limits.HELD_OPEN else None
