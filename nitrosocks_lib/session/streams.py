"""One stream of a session: the facts that outbound, inbound and the dialling thread leave for one another."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from ..facts.wire import Reset
from ..protocol.frames import Reason, Target

_LINGER_RST = struct.pack("ii", 1, 0)


class Ticket:
    """Whoever takes it first has it: list pop is atomic."""

    __slots__ = ("_one",)

    def __init__(self) -> None:
        self._one = [True]

    def take(self) -> bool:
        """True for exactly one caller."""
        try:
            return self._one.pop()
        except IndexError:
            return False


class Stream:
    """Each field has one writer, named behind it; `outbound` closes the local socket when both halves are done.

    `finished(stream)` is called once, by outbound when the stream is over, or by the session's owner when it is lost.
    """

    __slots__ = (
        "answer",
        "answered",
        "closed",
        "dial",
        "early",
        "end_index",
        "failed",
        "finished",
        "local",
        "lock",
        "lost",
        "own_ended",
        "peer_over",
        "refused",
        "reset_in",
        "reset_out",
        "reset_sent",
        "target",
        "took_data",
    )

    def __init__(
        self,
        target: Target,
        local: socket.socket | None,
        finished: Callable[[Stream], None] | None = None,
        early: bool = False,
    ) -> None:
        self.target = target
        self.local = local  # client: who opens; server: the dialling thread, before `answer`
        self.finished = finished
        self.early = early  # DATA may follow OPEN before the answer
        self.dial = Ticket()  # server: dialling thread or RESET, whoever comes first, answers
        self.answer: bytes | None = None  # server, the ticket's holder: OPENED or REFUSED, for outbound to send
        self.answered = False  # client inbound: OPENED came; server outbound: it is sent
        self.refused: Reason | None = None  # inbound: REFUSED came
        self.reset_in: Reason | None = None  # inbound: RESET came
        self.reset_out: Reset | None = None  # inbound: RESET is to be sent
        self.reset_sent = False  # outbound: RESET is queued
        self.failed = False  # outbound: the local socket broke, inbound is to drop what it holds
        self.peer_over = False  # inbound: its half is done, and it uses the local socket no more
        self.own_ended = False  # outbound: END, RESET or REFUSED is queued
        self.end_index = 0  # outbound: how many numbered frames there were then
        self.took_data = False  # outbound: bytes of the local socket are in the session
        self.closed = False
        self.lock = threading.Lock()
        self.lost = ""  # owner: why the session ended before the stream

    def close_local(self, abruptly: bool) -> None:
        """Closes the local socket, with RST when the stream did not end well. One thread only, when both are done."""
        if self.local is None or self.closed:
            return
        self.closed = True
        if abruptly:
            with suppress(OSError):
                self.local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
        self.local.close()

    @property
    def ended_well(self) -> bool:
        """Whether both directions ended with END."""
        unbroken = not self.lost and not self.failed and self.reset_out is None
        return unbroken and self.refused is None and self.reset_in is None

    @property
    def untouched(self) -> bool:
        """Whether no session has carried anything of it yet, and its local side lives as far as we know."""
        carried = self.answered or self.took_data
        broken = self.closed or self.failed or self.reset_sent or self.reset_out is not None
        return not carried and not broken

    def again(self) -> Stream | None:
        """The same stream for another session, while it is untouched; else None. For the session's owner."""
        if not self.untouched:
            return None
        moved = Stream(self.target, self.local, self.finished)
        self.local = self.finished = None
        return moved

    def report(self) -> None:
        """Tells whoever opened the stream, once."""
        finished, self.finished = self.finished, None
        if finished is not None:
            finished(self)
