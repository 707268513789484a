"""Up: the client's bytes as the bodies of requests n = 0, 1, 2 … (protocol 6, HP3 and HP4)."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from ..facts import limits, wire
from .repeats import Repeats

FIRST_LEAST: Final = wire.KNOCK + wire.HELLO  # bytes of up 0 at least: the knock and the whole first Enc (HP4)


def halved(most: int) -> int:
    """Most bytes of a body after a 413 to bodies of `most` (HP7)."""
    return max(limits.BODY_LEAST, most // 2)


class UpSender:
    """The client's side; the http thread's. It keeps each body until it is answered, for repeats."""

    def __init__(self, most: int = limits.BODY) -> None:
        """`most` bytes go into a body."""
        self.requests = Repeats()
        self.most = most
        self._bodies: dict[int, bytes] = {}
        self._next = 0
        self._end: int | None = None

    @property
    def under_way(self) -> int:
        """Bytes that are not answered."""
        return sum(map(len, self._bodies.values()))

    @property
    def room(self) -> int:
        """Most bytes of the next body; 0 while none may be begun: 0 … n − 4 are not all answered, or it has ended."""
        lowest = min(self._bodies, default=self._next)
        return self.most if self._end is None and self._next < lowest + limits.UPS else 0

    @property
    def least(self) -> int:
        """Fewest bytes of the next body, unless it is the end: those of up 0 must hold the whole first Enc (HP4)."""
        return 1 if self._next else FIRST_LEAST

    def put(self, body: bytes) -> int:
        """The next bytes, at most `room`; none at all end the direction. Returns their n, which is due now."""
        assert self.room and len(body) <= self.most, "room was looked at before"
        n, self._next = self._next, self._next + 1
        self._bodies[n] = body
        if not body:
            self._end = n
        self.requests.add(n)
        return n

    def body(self, n: int) -> bytes:
        """What n carries, the same each time."""
        return self._bodies[n]

    def answered(self, n: int) -> None:
        """A 200 came; one that came before is no news."""
        self.requests.over(n)
        self._bodies.pop(n, None)

    @property
    def ended(self) -> bool:
        """Whether all bodies and the end are answered."""
        return self._end is not None and not self._bodies


class Up(Enum):
    """What becomes of a request."""

    READ = auto()  # read its body, `put` it, answer 200
    REPEATED = auto()  # read its body and forget it, answer 200
    WAITS = auto()  # leave its body unread; judge again after a `take`
    REFUSED = auto()  # answer 403
    TOO_LARGE = auto()  # answer 413


class UpReceiver:
    """The server's side; the web thread's. It holds four bodies at most."""

    def __init__(self) -> None:
        self._held: dict[int, bytes | bytearray] = {}
        self._taken = 0  # so many bodies were taken
        self._missing = 0  # the lowest n that has not come
        self._end: int | None = None

    def judge(self, n: int, size: int) -> Up:
        """What becomes of request n, whose body has `size` bytes; of a chunked one: so many so far (HP1, HP3)."""
        if size > limits.BODY:
            return Up.TOO_LARGE
        if n < self._missing or n in self._held:
            return Up.REPEATED
        if n >= self._missing + limits.UPS or (self._end is not None and n > self._end):
            return Up.REFUSED
        return Up.READ if n < self._taken + limits.UPS else Up.WAITS

    def put(self, n: int, body: bytes | bytearray) -> bool:
        """A complete body of n, judged READ when it began; False where another one was complete before (HP4)."""
        if n < self._missing or n in self._held:
            return False
        self._held[n] = body
        if not body:
            self._end = n if self._end is None else min(n, self._end)
        while self._missing in self._held:
            self._missing += 1
        return True

    def take(self) -> bytes | bytearray | None:
        """The next body in order, which is the caller's now; None while there is none, and at the end."""
        if self.ended or self._taken not in self._held:
            return None
        body = self._held.pop(self._taken)
        self._taken += 1
        return body

    @property
    def ended(self) -> bool:
        """Whether the empty body is next: all before it was taken."""
        return self._end is not None and self._taken == self._end
