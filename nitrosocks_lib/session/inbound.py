"""The inbound half of a session: link → Opener → local socket. One thread; it owns Opener and backlog."""

from __future__ import annotations

import select
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..crypto.seal import Opener
from ..facts import limits, wire
from ..facts.errors import Violation
from ..facts.wire import Frame, Reset
from ..net.buffers import RECEIVED, SLOTS
from ..net.link import Link
from ..net.timers import now
from ..net.wake import Wake
from ..protocol import frames
from ..protocol.acks import AckDue
from ..protocol.receiving import FROM_CLIENT, FROM_SERVER, Peer, Receiving
from .streams import Stream

if TYPE_CHECKING:
    from .tunnel import Tunnel


class Inbound:
    """State that outlives a connection; `run` serves one. All of it belongs to the running thread.

    Its mail is the wake alone: what it takes stands in the current stream (`local`, `answer`, `failed`).
    """

    def __init__(self, tunnel: Tunnel, window: int) -> None:
        self.tunnel = tunnel
        self.wake = Wake()
        self.opener: Opener  # of the connection; set by `Tunnel.run`
        self.receiving = Receiving(window)
        self.stream: Stream | None = None
        self.last_heard = now()  # when a frame last opened
        self.peer_acked = 0  # the highest `consumed` that the peer has acknowledged
        self._backlog: deque[tuple[memoryview, int, bytearray | None]] = deque()  # rest, size of the DATA, slot
        self._end_waits = False  # END stands behind the backlog
        self._ack = AckDue(window)
        self._handlers = tunnel.handlers | {
            Frame.END: self._on_end,
            Frame.RESET: self._on_reset,
            Frame.ACK: self._on_ack,
        }
        self._allowed = FROM_CLIENT if tunnel.serving else FROM_SERVER

    # -- one connection ---------------------------------------------------------------------------------------------

    def run(self, link: Link, first: bytes = b"") -> None:
        """Serves this link, with the `opener` that was set; `first` is a frame opened already, type ‖ payload.

        Raises NetworkError or BadFrame when the connection is over, Violation when the session is.
        """
        self._buffer: bytearray | None = None
        self._start = self._end = 0
        self._wanted = 1  # bytes until the next frame is whole, as far as we know
        self._slot = bytearray()
        self.wake.pending = True
        self.last_heard = now()
        try:
            if first:
                if first[0] not in (Frame.ACK, Frame.ABORT):
                    raise Violation("the first frame behind RECOVERED is no ACK")
                self._on_frame(memoryview(first), len(first))
            while self.tunnel.outcome is None:
                self._take_mail()
                if self._backlog or self._end_waits:
                    self._flush()
                if not self._receive(link):
                    self._wait(link)
        finally:
            self._slot = bytearray()

    def _receive(self, link: Link) -> bool:
        """Reads once and handles what is whole; False when nothing was there."""
        if self._buffer is None:
            self._buffer = RECEIVED.take()
        view = memoryview(self._buffer)
        if not (n := link.read_some(view[self._end :], self._wanted)):
            if self._start == self._end:
                RECEIVED.give_back(self._buffer)
                self._buffer, self._start, self._end = None, 0, 0
            return False
        self._end += n
        self._open_frames(view)
        return True

    def _open_frames(self, view: memoryview) -> None:
        start, end, self._wanted = self._start, self._end, 1
        while end - start >= wire.LENGTH:
            size = self.opener.frame_size(view[start : start + wire.LENGTH])
            if end - start < size:
                self._wanted = size - (end - start)
                break
            slot = self._slot = self._slot or SLOTS.take()
            out = memoryview(slot)
            n = self.opener.open(view[start : start + size], out)
            start += size
            self.last_heard = now()
            self._on_frame(out, n)
        if start == end:
            start = end = 0
        elif start + wire.FRAME_MAX + limits.FIRST_READ > len(view):  # no room for the rest of a frame: move it down
            view[: end - start] = bytes(view[start:end])
            start, end = 0, end - start
        self._start, self._end = start, end

    def _wait(self, link: Link) -> None:
        if self._slot:
            SLOTS.give_back(self._slot)
            self._slot = bytearray()
        interest = {link.fd: link.read_wants}
        if self._backlog and (stream := self.stream) is not None and stream.local is not None:
            interest[stream.local.fileno()] = select.POLLOUT
        self.wake.wait(interest, self._ack.at - now() if self._ack.at else None)
        if self._ack.at and now() >= self._ack.at:
            self.acknowledge()

    def rest(self, deadline: float) -> None:
        """Waits for a wake without reading any more: the session is over, and outbound says so."""
        self.wake.clear()
        if self.tunnel.outcome is None:
            self.wake.wait({}, deadline - now())

    def _take_mail(self) -> None:
        if self.wake.pending:
            self.wake.clear()
            self.look_at_stream()

    def look_at_stream(self) -> None:
        """Takes what outbound and the dialling thread have left in the current stream."""
        stream = self.stream
        if stream is None or stream.peer_over:
            return
        if stream.failed:
            self._drop(stream)
        elif stream.answer is not None and stream.answer[0] == Frame.REFUSED:
            self._forget_backlog()
            self.receiving.refused()
            self._half_over(stream)

    # -- frames -----------------------------------------------------------------------------------------------------

    def _on_frame(self, plain: memoryview, size: int) -> None:
        """One opened frame, type ‖ payload in plain[:size]."""
        if plain[0] == Frame.DATA:
            self._on_data(plain, size)
            return
        handler = self._handlers.get(plain[0])
        if handler is None or plain[0] not in self._allowed:
            raise Violation(f"a frame of type 0x{plain[0]:02x} that has no place here")
        handler(bytes(plain[1:size]))

    def _on_data(self, plain: memoryview, size: int) -> None:
        if not self.receiving.data(size - 1):
            if self._ack.consumed(size - 1, now()):  # dropped
                self.post_consumed()
            return
        sent, stream = 0, self.stream
        if not self._backlog and stream is not None and stream.local is not None:
            sent = self._send(stream, plain[1:size])
            if sent == size - 1:
                self._delivered(sent)
                return
        if stream is not None and not stream.failed and stream.reset_out is None:
            self._hold(plain[1 + sent : size], size - 1)

    def _hold(self, rest: memoryview, size: int) -> None:
        """Keeps what the local socket did not take: in its slot, or as a copy when it is small."""
        if len(rest) < limits.COPY_BELOW:
            self._backlog.append((memoryview(bytes(rest)), size, None))
            return
        self._backlog.append((rest, size, self._slot))
        self._slot = bytearray()

    def _send(self, stream: Stream, payload: memoryview) -> int:
        """Writes to the local socket without waiting; a broken one resets the stream."""
        assert stream.local is not None
        with stream.lock:  # whoever gets the error takes it away from the other
            try:
                return stream.local.send(payload)
            except (BlockingIOError, InterruptedError):
                return 0
            except OSError:
                stream.reset_out = Reset.LOCAL  # before the drop: RESET goes out before any ACK of what it drops
        self._drop(stream)
        return 0

    def _flush(self) -> None:
        """Writes the backlog, and END behind it, as far as the local socket takes it."""
        stream = self.stream
        if stream is None or stream.local is None:
            return
        while self._backlog:
            rest, size, slot = self._backlog[0]
            sent = self._send(stream, rest)
            if not self._backlog:
                return  # the stream was reset
            if sent < len(rest):
                self._backlog[0] = (rest[sent:], size, slot)
                return
            self._backlog.popleft()
            if slot is not None:
                SLOTS.give_back(slot)
            self._delivered(size)
        if self._end_waits:
            self._pass_end_on(stream)

    def _on_end(self, payload: bytes) -> None:
        frames.sized(payload, 0, 0, Frame.END)
        if self.receiving.end():
            self._end_waits = True
            self._flush()
            return
        self.post_consumed()
        if self.stream is not None and self.receiving.peer is Peer.ENDED:
            self._half_over(self.stream)

    def _pass_end_on(self, stream: Stream) -> None:
        assert stream.local is not None
        self._end_waits = False
        with suppress(OSError):  # the local side may have closed meanwhile
            stream.local.shutdown(socket.SHUT_WR)
        self.receiving.passed_on()
        self._half_over(stream)
        self.post_consumed()

    def _on_reset(self, payload: bytes) -> None:
        reason = frames.parse_reason(payload)
        stream = self.stream
        if not self.receiving.reset():
            self.post_consumed()
            return
        self._forget_backlog()
        if stream is not None and stream.reset_in is None and not (stream.peer_over and stream.own_ended):
            stream.reset_in = reason
            self.tunnel.stop_dial(stream)
            self._half_over(stream)
        self.post_consumed()

    def _half_over(self, stream: Stream) -> None:
        """Our half of the stream is done: outbound may close the local socket."""
        stream.peer_over = True
        self.post_consumed()

    def _drop(self, stream: Stream) -> None:
        """We reset the stream: drops what is held and what still comes."""
        self._forget_backlog()
        if self.receiving.drop():
            stream.peer_over = True
        self.post_consumed()

    def _forget_backlog(self) -> None:
        while self._backlog:
            slot = self._backlog.popleft()[2]
            if slot is not None:
                SLOTS.give_back(slot)
        self._end_waits = False

    # -- what needs no stream -----------------------------------------------------------------------------------------

    def _delivered(self, size: int) -> None:
        self.receiving.delivered(size)
        if self._ack.consumed(size, now()):
            self.acknowledge()

    def acknowledge(self) -> None:
        """Acknowledges all that was consumed, where outbound has nothing else to do about it."""
        self._ack.sent()
        outbound = self.tunnel.outbound
        outbound.mail.consumed = self.receiving.consumed
        if not outbound.acknowledge():
            outbound.mail.wake.set()

    def post_consumed(self) -> None:
        """Outbound is to acknowledge all that was consumed: at once, but for DATA."""
        self._ack.sent()
        outbound = self.tunnel.outbound.mail
        outbound.consumed = self.receiving.consumed
        outbound.wake.set()

    def _on_ack(self, payload: bytes) -> None:
        consumed = frames.parse_ack(payload)
        if not self.peer_acked <= consumed <= self.tunnel.outbound.resend.cursor:
            raise Violation("an ACK beyond what was sent, or going back")
        self.peer_acked = consumed
        outbound = self.tunnel.outbound.mail
        outbound.acked = consumed
        outbound.wake.set()
