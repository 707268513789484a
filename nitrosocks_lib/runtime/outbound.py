"""The outbound half of a session: local socket → Sealer → link. One thread; it owns Sealer and resend queue."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from ..crypto import schedule
from ..crypto.seal import Sealer
from ..facts import limits, wire
from ..facts.wire import Frame, Reset
from ..protocol import frames
from ..protocol.handshake import Keys
from ..protocol.resend import ResendQueue
from .buffers import FRAMES, SLOTS
from .link import Link
from .mail import OutboundMail
from .stream import Stream
from .timers import now

if TYPE_CHECKING:
    from .tunnel import Tunnel


class Outbound:
    """State that outlives a connection; `run` serves one. All of it belongs to the running thread."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.mail = OutboundMail()
        self.sealer: Sealer  # of the connection; set by `Tunnel.run`
        self.resend = ResendQueue()
        self.stream: Stream | None = None
        self.acknowledged = 0  # the last ACK sent
        self.stuck_since = 0.0  # when a write first made no progress; 0 while none is under way
        self._adopted: Stream | None = None  # the last stream taken from the mail
        self._consumed = 0  # what may be acknowledged
        self._must_ack = False  # the first frame on a resumed connection
        self._numbered_held = False  # client, between REFRESHED and SWITCH
        self._rekey: Keys | None = None  # take these behind the frame that was chosen last
        self._last = False  # the farewell is chosen
        self._attend = True  # there may be frames that are not numbered; data flows without asking for them

    def rewind(self, received: int) -> None:
        """For the owner between two connections: the peer has `received`, all else is sent again after an ACK."""
        self.resend.rewind(received)
        self._must_ack = True

    # -- one connection ---------------------------------------------------------------------------------------------

    def run(self, link: Link) -> None:
        """Serves this link, with the `sealer` that was set. Raises NetworkError when it ends."""
        self._numbered_held, self._rekey = False, None
        self.mail.wake.pending = True  # what was posted while there was no thread is taken at once
        loan, unsent = None, memoryview(b"")
        try:
            while self.tunnel.outcome is None:
                self._take_mail()
                if not unsent:
                    loan = FRAMES.take() if loan is None else loan
                    unsent = self._fill(memoryview(loan))
                if unsent:
                    unsent = self._write(link, unsent)
                elif self._last:
                    self.tunnel.finish_over()
                else:
                    if loan is not None:
                        FRAMES.give_back(loan)
                        loan = None
                    self._wait()
        finally:
            self.stuck_since = 0.0

    def _write(self, link: Link, unsent: memoryview) -> memoryview:
        n = link.write_some(unsent)
        if n == len(unsent):
            self.stuck_since = 0.0
            return unsent[n:]
        if n:
            self.stuck_since, unsent = 0.0, unsent[n:]
        # These bytes are sealed, and only the same ones may be written now. Mail is taken, but waits for them.
        self.stuck_since = self.stuck_since or now()
        self.mail.wake.wait({link.fd: link.write_wants}, None)
        return unsent

    def _wait(self) -> None:
        """Nothing to seal: waits for mail, and for the local socket while it may be read."""
        interest, stream = {}, self.stream
        if stream is not None and stream.local is not None and self._room(stream):
            interest[stream.local.fileno()] = select.POLLIN
        self.mail.wake.wait(interest, None)

    # -- mail -------------------------------------------------------------------------------------------------------

    def _take_mail(self) -> None:
        mail = self.mail
        if not mail.wake.pending:
            return
        mail.wake.clear()
        self._attend = True
        self._consumed = mail.consumed  # read before `reset_out`: RESET goes out before any ACK of what it drops
        if mail.acked > self.resend.acked:
            for slot in self.resend.acknowledge(mail.acked):
                SLOTS.give_back(slot)
        if mail.switched:
            mail.switched = self._numbered_held = False
        if mail.stream is not self._adopted:
            self._adopt(mail.stream)
        if self.stream is not None:
            self._advance(self.stream)

    def _adopt(self, stream: Stream | None) -> None:
        """A new stream, so the last one is over: at the server the client's OPEN may come before we noticed."""
        if self.stream is not None:
            self._over(self.stream)
        self._adopted = self.stream = stream
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
        self.resend.append(frames.reason(Frame.RESET, code), ack_before=self.acknowledged)
        stream.reset_sent = True
        self._end(stream)

    # -- what to seal next ------------------------------------------------------------------------------------------

    def _fill(self, out: memoryview) -> memoryview:
        """Seals what waits, as many frames as `out` takes, else a new DATA frame; returns the sealed bytes."""
        end = 0
        while len(out) - end >= _CONTROL_MAX and not self._last:
            control = self._control() if self._attend else None
            if control is not None:
                end += self.sealer.seal(control, out[end:])
                if self._rekey is not None:
                    self._take_keys(self._rekey)
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

    def _take_keys(self, keys: Keys) -> None:
        self.sealer.rekey(schedule.frame_keys(keys.root, self.tunnel.sends, self.tunnel.terms.encrypt_type))
        self._rekey = None
        if self.tunnel.serving:
            self.tunnel.refreshed()

    def _control(self) -> bytes | None:
        """The next frame that is not numbered; ACK first, since it opens the peer's window."""
        mail = self.mail
        consumed = self.resend.ack_limit(self._consumed)
        if self._must_ack or consumed > self.acknowledged:
            self._must_ack = False
            self.acknowledged = consumed
            return frames.ack(self.acknowledged)
        if mail.farewell is not None:
            self._last = True
            return mail.farewell
        if mail.pong is not None:
            pong, mail.pong = mail.pong, None
            return pong
        if mail.ping:
            mail.ping = False
            return bytes([Frame.PING]) + os.urandom(_R3)
        if mail.goaway is not None:
            goaway, mail.goaway = mail.goaway, None
            return goaway
        return self._refreshing() or self._releasing()

    def _releasing(self) -> bytes | None:
        release, self.mail.release = self.mail.release, None
        return release

    def _refreshing(self) -> bytes | None:
        """REFRESH, REFRESHED or SWITCH; the latter two are the last frames under the old keys (protocol 5)."""
        mail, tunnel = self.mail, self.tunnel
        if tunnel.refreshing is None and (mail.refresh or tunnel.refresh_due()):
            mail.refresh = False
            return tunnel.start_refresh()
        if mail.switch is not None:
            (plain, self._rekey), mail.switch = mail.switch, None
            return plain
        if mail.refreshed is not None:
            (plain, self._rekey), mail.refreshed = mail.refreshed, None
            self._numbered_held = True
            return plain
        return None

    def _numbered(self, space: int) -> bytes | memoryview | None:
        if self._numbered_held:
            return None
        plain = self.resend.next()
        return plain if plain is not None and len(plain) <= space else None

    def _room(self, stream: Stream) -> int:
        """Bytes that may be read from the local socket now; 0 when it is not to be looked at."""
        if stream.own_ended or self._numbered_held or not (stream.answered or stream.early):
            return 0
        return self.resend.room(self.tunnel.send_window) if self.resend.all_sealed else 0

    def _read_local(self) -> bool:
        """Queues a DATA or END frame; False when the local socket has nothing or must wait."""
        stream = self.stream
        if stream is None or stream.local is None or not (room := self._room(stream)):
            return False
        slot = SLOTS.take()
        view = memoryview(slot)
        try:
            with stream.lock:
                n = stream.local.recv_into(view[1 : 1 + room])
                broken = not n and stream.reset_out is not None
        except (BlockingIOError, InterruptedError):
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


_R3 = 16
_CONTROL_MAX = wire.FRAME_OVERHEAD + 1 + wire.REFRESHED_SIZE
