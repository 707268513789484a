"""At -vvv: a line for each frame, with its type and size and nothing of what it carries.

Who does not ask for it pays nothing: a pair that begins is given these instead of the plain ones.
"""

from __future__ import annotations

import logging

from ..crypto.schedule import FrameKeys
from ..crypto.seal import Opener, Sealer
from ..facts.levels import FRAMES
from ..facts.wire import Frame

log = logging.getLogger(__name__)


def sealer(keys: FrameKeys) -> Sealer:
    """One that tells of its frames where that is wanted."""
    return TracedSealer(keys) if log.isEnabledFor(FRAMES) else Sealer(keys)


def opener(keys: FrameKeys) -> Opener:
    """One that tells of its frames where that is wanted."""
    return TracedOpener(keys) if log.isEnabledFor(FRAMES) else Opener(keys)


class TracedSealer(Sealer):
    """As Sealer."""

    __slots__ = ()

    def seal(self, plain: bytes | bytearray | memoryview, out: memoryview) -> int:
        """As Sealer."""
        _tell("sent", plain[0], len(plain) - 1)
        return super().seal(plain, out)


class TracedOpener(Opener):
    """As Opener."""

    __slots__ = ()

    def open(self, frame: memoryview, out: memoryview) -> int:
        """As Opener."""
        size = super().open(frame, out)
        _tell("received", out[0], size - 1)
        return size


def _tell(way: str, kind: int, size: int) -> None:
    name = Frame(kind).name if kind in _KINDS else f"of type 0x{kind:02x}"
    log.log(FRAMES, "%s %s, %d bytes", way, name, size)


_KINDS = frozenset(Frame)
