"""A middlebox that ends TLS and changes a bit of what it carries, when told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from nitrosocks_lib.demo import interceptor
from nitrosocks_lib.demo.interceptor import Interceptor


class Flipper:
    """`flip` changes a bit of the next piece that goes a way; between frames, a piece begins with a frame's length."""

    def __init__(self) -> None:
        self._armed: dict[str, int] = {}  # by way: which bit of the first three bytes
        self.flipped = threading.Event()

    def flip(self, way: str, bit: int) -> None:
        """`bit` of the length of the next frame, 0 the lowest; `way` is "up", from the client, or "down"."""
        self.flipped.clear()
        self._armed[way] = bit

    def change(self, way: str, plain: bytes) -> bytes:
        """A connection's thread: what to pass on instead."""
        bit = self._armed.pop(way, None)
        if bit is None or len(plain) < 3:
            return plain
        self.flipped.set()
        return (int.from_bytes(plain[:3]) ^ 1 << bit).to_bytes(3) + plain[3:]


@contextmanager
def flipping(upstream: tuple[str, int], cert: Path, key: Path) -> Iterator[tuple[Interceptor, Flipper]]:
    """The middlebox, serving, and what changes bits on all of its connections."""
    flipper, send = Flipper(), interceptor._Side.send

    def changed(side: interceptor._Side, plain: bytes) -> None:
        send(side, flipper.change("down" if side.tls.server_side else "up", plain))

    with mock.patch.object(interceptor._Side, "send", changed):
        box = Interceptor(upstream, cert, key)
        box.start()
        try:
            yield box, flipper
        finally:
            box.stop()
