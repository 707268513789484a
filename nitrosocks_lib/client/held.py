"""A session on one connection that is not made again when it is lost: for how long it lives, and what it opens.

For `doctor`; whoever carries for people takes `session.ClientSession`, which reconnects.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ..facts import limits
from ..facts.errors import NetworkError
from ..facts.wire import Abort, Frame
from ..net.timers import now
from ..protocol.frames import Target
from ..session.inbound import Handler
from ..session.liveness import Liveness
from ..session.streams import Stream
from .dialler import Dialler, Greeting
from .tunnel import ClientTunnel

_PIECE = 64 * 1024
_FIRST = 1024  # bytes that must come back before more are sent


class _Watched(ClientTunnel):
    """Tells when an answer came."""

    def __init__(self, dialler: Dialler, greeting: Greeting) -> None:
        self.came = threading.Condition()
        self.pongs = 0
        super().__init__(dialler.credentials, greeting.greeted, dialler.window, lambda: None)

    def role_handlers(self) -> dict[int, Handler]:
        return super().role_handlers() | {Frame.OPENED: self._opened, Frame.PONG: self._ponged}

    def _opened(self, payload: bytes) -> None:
        self._on_opened(payload)
        self.tell()

    def _ponged(self, payload: bytes) -> None:
        self._on_pong(payload)
        self.pongs += 1
        self.tell()

    def stream_over(self, stream: Stream) -> None:
        super().stream_over(stream)
        self.tell()

    def tell(self) -> None:
        with self.came:
            self.came.notify_all()


@dataclass(frozen=True, slots=True)
class Lived:
    """For how many seconds a connection lived, the longest silence in it that it survived, and why it ended, if so."""

    seconds: float
    silence: float
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """One stream, `seconds` behind its OPEN; with `error` it was refused, for `reply` (protocol 5) if that is not 0."""

    near: socket.socket
    seconds: float
    error: str = ""
    reply: int = 0


class Held:
    """Begins at once; its methods block, and belong to one thread."""

    def __init__(self, dialler: Dialler, greeting: Greeting) -> None:
        self.heartbeat = float(greeting.greeted.terms.heartbeat)
        self._tunnel, self._link = _Watched(dialler, greeting), greeting.link
        self._began = now()
        self._over = False
        threading.Thread(target=self._run, name="session", daemon=True).start()

    def _run(self) -> None:
        tunnel = self._tunnel
        liveness = Liveness(tunnel.state)
        try:
            tunnel.run(self._link)
        finally:
            liveness.stop()
            self._over = True
            tunnel.dispose(tunnel.state.reason)
            tunnel.tell()

    def close(self) -> None:
        """Releases the session, or aborts it where a stream does not end; returns when it is over, soon at least."""
        self._tunnel.disconnect()
        if not self._wait(lambda: False, limits.COMPANY):
            self._tunnel.post_abort(Abort.OTHER, "")
            self._wait(lambda: False, limits.COMPANY)

    # -- for how long it lives -----------------------------------------------------------------------------------------

    def live(self, seconds: float, longest: float) -> Lived:
        """Asks for a sign of life after silences that double from 1 s up to `longest`, for so long in all."""
        until, pause, survived = self._began + seconds, 1.0, 0.0
        while (left := until - now()) > 0 and not self._wait(lambda: False, min(pause, left)):
            silent = now() - self._tunnel.state.last_heard
            if not self._answers():
                ended = self._tunnel.state.reason or f"nothing was heard after a silence of {silent:.0f} s"
                return Lived(self._tunnel.state.last_heard - self._began, survived, ended)
            survived = max(survived, silent)
            pause = min(pause * 2, longest)
        if self._over:
            return Lived(self._tunnel.state.last_heard - self._began, survived, self._tunnel.state.reason)
        return Lived(now() - self._began, survived)

    def _answers(self) -> bool:
        """PING, and whether its PONG comes in time."""
        before = self._tunnel.pongs
        self._tunnel.outbox.post(ping=True)
        self._wait(lambda: self._tunnel.pongs > before, limits.DIAL)
        return self._tunnel.pongs > before

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits for the condition, or the end of the connection, so long at most; whether that has ended."""
        with self._tunnel.came:
            self._tunnel.came.wait_for(lambda: self._over or condition(), seconds)
        return self._over

    # -- what it opens -------------------------------------------------------------------------------------------------

    def open(self, target: Target) -> Opened:
        """Opens a stream; returns when it is answered, at once where the session is over. `near` is the caller's."""
        asked = now()
        near, far = socket.socketpair()
        far.setblocking(False)
        stream = Stream(target, far)
        self._tunnel.outbox.open(stream)
        self._wait(lambda: stream.answered or stream.ending is not None, limits.DIAL_TARGET + limits.DIAL)
        if stream.ending is None and not stream.answered:
            return Opened(near, now() - asked, f"no answer: {self._tunnel.state.reason or 'it did not come in time'}")
        return Opened(near, now() - asked, "" if stream.answered else stream.reason, stream.detail)


def echoed(near: socket.socket, seconds: float) -> float:
    """Sends for so long to what sends all back; returns bytes a second that came back. Raises NetworkError, OSError."""
    near.settimeout(limits.ECHO_FIRST)
    first = os.urandom(_FIRST)
    near.sendall(first)
    if _came_back(near, len(first)) != first:
        raise NetworkError("it does not send back what it gets")
    began, sent = now(), [0]
    sending = threading.Thread(target=_send, args=(near, began + seconds, sent), name="speed", daemon=True)
    sending.start()
    got, last, piece = 0, began, bytearray(_PIECE)
    with suppress(OSError):  # it was reset, or keeps its direction open behind the end of ours
        while n := near.recv_into(piece):
            got, last = got + n, now()
    if got < sent[0] or not got:
        raise NetworkError(f"only {got} of {sent[0]} bytes came back")
    return got / (last - began)


def _came_back(near: socket.socket, size: int) -> bytes:
    got = b""
    with suppress(OSError):
        while len(got) < size and (piece := near.recv(size - len(got))):
            got += piece
    return got


def _send(near: socket.socket, until: float, sent: list[int]) -> None:
    block = bytes(_PIECE)
    with suppress(OSError):
        while now() < until:
            near.sendall(block)
            sent[0] += len(block)
        near.shutdown(socket.SHUT_WR)
