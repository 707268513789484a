"""ABORT behind a handshake: for a session that is not to be, so that the server need not keep it."""

from __future__ import annotations

from ..crypto import schedule
from ..crypto.seal import Sealer
from ..facts import limits, wire
from ..facts.wire import Abort, EncryptType
from ..net.link import Link
from ..net.timers import now
from ..protocol import frames
from ..protocol.handshake import Keys


def abort_first(link: Link, keys: Keys, encrypt_type: EncryptType, reason: Abort) -> None:
    """Sends ABORT as the first frame behind the handshake; raises NetworkError."""
    sealer = Sealer(schedule.frame_keys(keys.root, schedule.CLIENT_TO_SERVER, encrypt_type))
    out = bytearray(wire.FRAME_OVERHEAD + limits.TEXT_MAX)
    size = sealer.seal(frames.abort(reason), memoryview(out))
    link.write_all(bytes(out[:size]), now() + limits.RELEASE)
