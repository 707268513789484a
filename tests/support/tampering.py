"""The demo's interceptor, turned active: it changes what passes inside the TLS, by connection, direction and offset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loopback import pem

from nitrosocks_lib.demo.interceptor import Interceptor

Change = Callable[[int, bytes], bytes]  # offset of these bytes in their direction, and what is passed on instead


class Tamperer(Interceptor):
    """`changes` are by number of the connection, from 1, and direction, "up" or "down"."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), *pem("proxy"))
        self.changes: dict[tuple[int, str], Change] = {}
        self.changed = 0  # pieces that were passed on as others
        self._offsets: dict[tuple[int, str], int] = {}

    def saw(self, number: int, way: str, plain: bytes, mode: str = "ab") -> bytes:
        """As in Interceptor."""
        super().saw(number, way, plain, mode)
        change = self.changes.get((number, way))
        at = self._offsets.get((number, way), 0)
        self._offsets[number, way] = at + len(plain)
        passed = change(at, plain) if change and plain else plain
        self.changed += passed != plain
        return passed


@contextmanager
def tampering(port: int) -> Iterator[Tamperer]:
    """A Tamperer in front of this port."""
    tamperer = Tamperer(port)
    tamperer.start()
    try:
        yield tamperer
    finally:
        tamperer.stop()


def flip(offset: int) -> Change:
    """Changes one bit of the byte at this offset."""

    def change(at: int, plain: bytes) -> bytes:
        if not at <= offset < at + len(plain):
            return plain
        here = offset - at
        return plain[:here] + bytes([plain[here] ^ 1]) + plain[here + 1 :]

    return change
