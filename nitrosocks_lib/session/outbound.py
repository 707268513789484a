"""The outbound half of a session: local socket → Sealer → link. One thread, but for ACKs that leave from inbound."""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING

from ..crypto import schedule
from ..crypto.seal import Sealer
from ..facts import limits, wire
from ..facts.errors import BadFrame, NetworkError
from ..facts.wire import Frame, Reset
from ..net.buffers import FRAMES, SLOTS
from ..net.link import Link
from ..net.timers import now
from ..protocol import frames
from ..protocol.resend import ResendQueue
from .control import CONTROL_MAX, Control
from .mailbox import OutboundMail
from .streams import Stream

if TYPE_CHECKING:
    from .tunnel import Tunnel


class Outbound:
    """State that outlives a connection; `run` serves one. All of it belongs to whoever has the seat.

    That is the running thread while it works; while it waits the seat is free, for `acknowledge`.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.mail = OutboundMail()
        self.sealer: Sealer  # of the connection, as _link
        self._link: Link
        self._seat = threading.Lock()
        self._loan = bytearray()  # holds sealed frames until they are written
        self._unsent = memoryview(b"")
        self._dry = False  # the local socket gave less than it was asked for, and there was no wait since
        self._idle = False  # the last step went well, and left nothing to be written
        self.resend = ResendQueue()
        self.control = Control(tunnel, self.mail, self.resend)
        self.stream: Stream | None = None
        self.stuck_since = 0.0  # when a write first made no progress; 0 while none is under way
        self._adopted: Stream | None = None  # the last stream taken from the mail
        self._attend = True  # there may be frames that are not numbered; data flows without asking for them

    def rewind(self, received: int) -> None:
        """For the owner between two connections: the peer has `received`, all else is sent again after an ACK."""
        self.resend.rewind(received)
        self.control.must_ack = True

    # -- one connection ---------------------------------------------------------------------------------------------

    def begin(self, link: Link, sealer: Sealer) -> None:
        """For whoever attaches a link, before its pair starts."""
        self._link, self.sealer, self._unsent, self._idle = link, sealer, memoryview(b""), False
        self.control.begin()
        self.mail.wake.pending = True  # what was posted while there was no thread is taken at once

    def run(self) -> None:
        """Serves the link that was begun. Raises NetworkError when it ends."""
        try:
            while self.tunnel.outcome is None:
                with self._seat:
                    interest = self._step()
                if interest is not None:
                    self.mail.wake.wait(interest, None)
                    self._dry = False
        finally:
            self.stuck_since, self._loan = 0.0, bytearray()

    def _step(self) -> dict[int, int] | None:
        """All that is possible without waiting; returns what to wait for beside mail, or None when there is more."""
        self._idle = False
        self._take_mail()
        if not self._unsent:
            self._loan = self._loan or FRAMES.take()
            self._unsent = self._fill(memoryview(self._loan))
        if self._unsent:
            return self._write()
        if self.control.last:
            self.tunnel.finish_over()
            return None
        FRAMES.give_back(self._loan)
        self._loan = bytearray()
        self._idle = True
        return self._local_interest()

    def _write(self) -> dict[int, int] | None:
        """Goes on with a sealed frame: only the same bytes may be written now. Mail is taken, but waits for them."""
        n = self._link.write_some(self._unsent)
        self._unsent = self._unsent[n:]
        if n:
            self.stuck_since = 0.0
        if not self._unsent:
            return None
        self.stuck_since = self.stuck_since or now()
        return {self._link.fd: self._link.write_wants}

    def _local_interest(self) -> dict[int, int]:
        """The local socket, while it may be read."""
        stream = self.stream
        if stream is None or stream.local is None or not self._room(stream):
            return {}
        return {stream.local.fileno(): select.POLLIN}

    def acknowledge(self) -> bool:
        """Called by inbound when it has posted `consumed`: sends the ACK from there; False when a wake must follow.

        Waking this thread for each ACK would have the two of them hand the interpreter lock to and fro. So inbound
        takes the seat while nobody has it; nothing that was posted before is overtaken.
        """
        if not self._seat.acquire(blocking=False):
            return False
        try:
            if not self._idle or self.mail.wake.pending or self.tunnel.refresh_due():
                return False
            self.control.consumed = self.mail.consumed
            ack = self.control.ack()
            if ack is None:
                return True
            out, self._idle = memoryview(bytearray(wire.FRAME_OVERHEAD + len(ack))), False
            self.sealer.seal(ack, out)
            self._unsent = out[self._link.write_some(out) :]
            self._idle = not self._unsent
            return self._idle
        except (NetworkError, BadFrame) as error:
            self.tunnel.lose(error)  # not raised: inbound is in the middle of a frame that counts as received
            return False
        finally:
            self._seat.release()

    # -- mail -------------------------------------------------------------------------------------------------------

    def _take_mail(self) -> None:
        mail = self.mail
        if not mail.wake.pending:
            return
        mail.wake.clear()
        self._attend = True
        self.control.consumed = mail.consumed  # read before `reset_out`: RESET goes out before any ACK of what it drops
        if mail.acked > self.resend.acked:
            for slot in self.resend.acknowledge(mail.acked):
                SLOTS.give_back(slot)
        if mail.switched:
            mail.switched = self.control.numbered_held = False
        if mail.stream is not self._adopted:
            self._adopt(mail.stream)
        if self.stream is not None:
            self._advance(self.stream)

    def _adopt(self, stream: Stream | None) -> None:
        """A new stream, so the last one is over: at the server the client's OPEN may come before we noticed."""
        if self.stream is not None:
            self._over(self.stream)
        self._adopted = self.stream = stream
        self._dry = False
        if stream is not None and not self.tunnel.serving:
            self.resend.append(frames.open_(stream.target))

    def _advance(self, stream: Stream) -> None:
        """Queues what the other threads have left for this stream, and ends it when both halves are done."""
        if stream.answer is not None and not stream.answered:  # always before a RESET: the answer is owed
            self.resend.append(stream.answer)
            stream.answered = True
            if stream.answer[0] == Frame.REFUSED:
                self._end(stream)
        if self.tunnel.serving and not stream.answered:
            return  # a RESET waits: the target may be gone before its answer is posted
        if stream.refused is not None:
            stream.own_ended = True
        elif stream.reset_out is not None and not stream.reset_sent:
            self._reset(stream, stream.reset_out)
        elif stream.reset_in is not None and not stream.own_ended:
            self._reset(stream, Reset.LOCAL)
        self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        if not (stream.own_ended and stream.peer_over):
            return
        stream.close_local(abruptly=not stream.ended_well)
        if self.tunnel.serving or stream.refused is not None or self.resend.acked >= stream.end_index:
            self._over(stream)

    def _over(self, stream: Stream) -> None:
        self.stream = None
        stream.close_local(abruptly=not stream.ended_well)
        self.tunnel.stream_over(stream)

    def _end(self, stream: Stream) -> None:
        stream.own_ended = True  # before the frame can leave: the client opens the next stream on its arrival
        stream.end_index = self.resend.total

    def _reset(self, stream: Stream, code: Reset) -> None:
        self.resend.append(frames.reason(Frame.RESET, code), ack_before=self.control.acknowledged)
        stream.reset_sent = True
        self._end(stream)

    # -- what to seal next ------------------------------------------------------------------------------------------

    def _fill(self, out: memoryview) -> memoryview:
        """Seals what waits, as many frames as `out` takes, else a new DATA frame; returns the sealed bytes."""
        end = 0
        while len(out) - end >= CONTROL_MAX and not self.control.last:
            control = self.control.next() if self._attend else None
            if control is not None:
                end += self.sealer.seal(control, out[end:])
                self._take_keys()
                continue
            self._attend = False
            plain = self._numbered(len(out) - end - wire.FRAME_OVERHEAD)
            if plain is not None:
                end += self.sealer.seal(plain, out[end:])
                self.resend.sealed()
                self._attend = self.resend.resets > 0  # ACKs may have waited for this RESET
            elif end or not self._read_local():
                break
        return out[:end]

    def _take_keys(self) -> None:
        keys, self.control.rekey = self.control.rekey, None
        if keys is None:
            return
        self.sealer.rekey(schedule.frame_keys(keys.root, self.tunnel.sends, self.tunnel.terms.encrypt_type))
        if self.tunnel.serving:
            self.tunnel.refreshed()

    def _numbered(self, space: int) -> bytes | memoryview | None:
        if self.control.numbered_held:
            return None
        plain = self.resend.next()
        return plain if plain is not None and len(plain) <= space else None

    def _room(self, stream: Stream) -> int:
        """Bytes that may be read from the local socket now; 0 when it is not to be looked at."""
        if stream.own_ended or self.control.numbered_held or not (stream.answered or stream.early):
            return 0
        return self.resend.room(self.tunnel.send_window) if self.resend.all_sealed else 0

    def _read_local(self) -> bool:
        """Queues a DATA or END frame; False when the local socket has nothing or must wait."""
        stream = self.stream
        if self._dry or stream is None or stream.local is None or not (room := self._room(stream)):
            return False
        slot = SLOTS.take()
        view = memoryview(slot)
        try:
            with stream.lock:
                n = stream.local.recv_into(view[1 : 1 + room])
                broken = not n and stream.reset_out is not None
        except (BlockingIOError, InterruptedError):
            self._dry = True
            SLOTS.give_back(slot)
            return False
        except OSError:
            SLOTS.give_back(slot)
            stream.failed = True
            self.tunnel.inbound.wake.set()
            self._reset(stream, Reset.LOCAL)
            return True
        if broken:
            SLOTS.give_back(slot)
            return False
        self._dry = n < room
        self._keep(stream, slot, view, n)
        return True

    def _keep(self, stream: Stream, slot: bytearray, view: memoryview, n: int) -> None:
        view[0] = Frame.DATA
        stream.took_data |= n > 0
        if n >= limits.COPY_BELOW:
            self.resend.append_data(view[: n + 1], slot)
            return
        if n:
            self.resend.append_data(bytes(view[: n + 1]), None)
        else:
            self.resend.append(bytes([Frame.END]))
            self._end(stream)
            self._finish(stream)
        SLOTS.give_back(slot)

