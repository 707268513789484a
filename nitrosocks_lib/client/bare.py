"""A session without streams, one question at a time: round trips, and how fast PAD frames go. For `doctor`."""

from __future__ import annotations

import os

from ..crypto import schedule
from ..crypto.seal import Opener, Sealer, overwrite_used
from ..facts import limits, wire
from ..facts.errors import NetworkError, ProtocolError
from ..facts.wire import Frame
from ..net.timers import now
from ..protocol import frames
from ..protocol.frames import abort_text
from .dialler import Greeting


class Bare:
    """One thread's, which owns the link from here on. All but `close` raise NetworkError or BadFrame."""

    def __init__(self, greeting: Greeting) -> None:
        self._link, keys, kind = greeting.link, greeting.greeted.keys, greeting.greeted.terms.encrypt_type
        self._sealer = Sealer(schedule.frame_keys(keys.root, schedule.CLIENT_TO_SERVER, kind))
        self._opener = Opener(schedule.frame_keys(keys.root, schedule.SERVER_TO_CLIENT, kind))
        self._out = bytearray(wire.FRAME_OVERHEAD + wire.PLAIN_MAX)

    def ask(self, deadline: float) -> float:
        """PING, and waits for its PONG: all that was sent before has arrived then. Returns seconds."""
        asked, question = now(), frames.ping(os.urandom)
        self._send(question, deadline)
        answer = bytes([Frame.PONG]) + schedule.hash256(question[1:])
        while self._receive(deadline) != answer:
            pass
        return now() - asked

    def pour(self, seconds: float, deadline: float) -> float:
        """Sends PAD frames for so long; returns how many bytes a second arrived at the server."""
        pad, sent, began = bytes([Frame.PAD]) + bytes(limits.DATA_SIZE), 0, now()
        while now() - began < seconds:
            self._send(pad, deadline)
            sent += len(pad)
        self.ask(deadline)
        return sent / (now() - began)

    def close(self) -> None:
        """Releases the session (protocol 5, RL1) as far as the server answers, and closes the link."""
        deadline = now() + limits.RELEASE
        try:
            self._send(bytes([Frame.DISCONNECT]), deadline)
            while (answer := self._receive(deadline))[0] != Frame.DISCONNECT_ACK:
                pass
            self._send(bytes([Frame.DISCONNECT_DONE]) + schedule.hash256(answer[1:]), deadline)
        except (NetworkError, ProtocolError):
            deadline = 0.0
        finally:
            self._sealer.forget()
            self._opener.forget()
            overwrite_used()
            self._link.close(deadline and now() + 1.0)

    def _send(self, plain: bytes, deadline: float) -> None:
        size = self._sealer.seal(plain, memoryview(self._out))
        self._link.write_all(bytes(memoryview(self._out)[:size]), deadline)

    def _receive(self, deadline: float) -> bytes:
        head = self._link.read_exactly(wire.LENGTH, deadline)
        frame = head + self._link.read_exactly(self._opener.frame_size(head) - wire.LENGTH, deadline)
        plain = bytearray(len(frame))
        opened = bytes(memoryview(plain)[: self._opener.open(memoryview(frame), memoryview(plain))])
        if opened[0] == Frame.ABORT:
            reason = frames.parse_reason(opened[1:])
            raise NetworkError(f"the server ended the session: {reason.text or abort_text(reason.code)}")
        return opened
