"""The peers of peer.py under a judge, who watches what reaches them; written from docs/protocol.md alone, too.

Judged is: may this frame come now, is it well formed, does it fit the limit; are the terms of a handshake in bounds.
Whatever fails is a PeerError, and closes the connection; a Violation is answered by ABORT before that.
"""

import contextlib
import functools
import io
import struct
from concurrent.futures import ThreadPoolExecutor

import peer
from cryptography.exceptions import InvalidSignature, InvalidTag
from peer import C2S, NUMBERED, H
from peer_streams import OF_LISTENERS, OPENINGS, Streams, ill_formed, limits

VIOLATION, LIMIT = 1, 5  # reasons of ABORT
BOUNDS = {  # what a handshake may state
    "kind": (1, 2), "pad": (0, 1024), "client_window": (1 << 16, 1 << 26), "server_window": (1 << 16, 1 << 26),
    "resume_seconds": (0, 86_400), "heartbeat": (5, 300), "rest": (2, 1281),
}  # fmt: skip
FAILURES = AssertionError, InvalidTag, InvalidSignature, ValueError, OSError, StopIteration, struct.error
SESSION = (
    "session_id rs j client_id public token encrypt_type client_window server_window resume_seconds heartbeat address "
    "sent received acked kept over leaving streams listeners next heard starved"
)  # what is of a session, and goes along to its next connection


class PeerError(Exception):
    """The other side, or a test, is wrong; or it refused."""


class Violation(PeerError):
    """A frame that may not come. `reason` is that of the ABORT."""

    def __init__(self, text: str, reason: int = VIOLATION):
        super().__init__(text)
        self.reason = reason


def need(condition: object, text: str) -> None:
    if not condition:
        raise PeerError(text)


def judge(condition: object, text: str, reason: int = VIOLATION) -> None:
    if not condition:
        raise Violation(text, reason)


def checked(method):
    """Whatever fails in it is a PeerError, and ends the connection."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except PeerError:
            self.sock.close()
            raise
        except FAILURES as error:
            self.sock.close()
            asserted = isinstance(error, AssertionError)
            raise PeerError(str(error) if asserted else f"{method.__name__}: {error!r}") from error

    return run


def together(*calls):
    """Run the calls at once, each in a thread: what they raised, or "" each."""
    with ThreadPoolExecutor() as pool:
        errors = [future.exception() for future in [pool.submit(call) for call in calls]]
    assert all(isinstance(error, PeerError | None) for error in errors), errors
    return [str(error or "") for error in errors]


class Feed:
    """In place of a socket: gives recorded bytes and keeps what is written."""

    def __init__(self, *messages: bytes):
        self.data, self.written, self.closed = io.BytesIO(b"".join(messages)), b"", False
        self.recv = self.data.read

    def sendall(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


class Mute:
    """In place of a socket: what is written goes nowhere, as on a line that is about to be cut."""

    def __init__(self, sock):
        self.sock, self.sendall = sock, len

    def __getattr__(self, name):
        return getattr(self.sock, name)


class Judge(Streams):
    """What both sides are judged by; to be mixed into one of them.

    `unrestated` are the limits above the window that the other side did not state again in front of its first other
    frame on this connection; a stream that it had over has none to state.
    """

    first, restating, refreshing, r2 = False, False, False, b""

    def __init__(self, *args, **options):
        if unknown := [name for name in options if not hasattr(self, name)]:
            raise TypeError(f"no such options: {unknown}")
        self.unrestated = {}
        super().__init__(*args, **options)

    @checked
    def greet(self, again=None):
        return super().greet(again)

    def resume(self, sock):
        self.greet(sock)

    def lose(self):
        """From now on nothing that is sent arrives; it counts as sent."""
        self.sock = Mute(self.sock)

    @checked
    def send(self, kind, payload=b""):
        return super().send(kind, payload)

    @checked
    def recv(self):
        try:
            return super().recv()
        except Violation as wrong:
            with contextlib.suppress(*FAILURES):
                super().send(peer.ABORT, bytes([wrong.reason]) + str(wrong).encode())
            raise

    @checked
    def refresh(self):
        return super().refresh()

    @checked
    def answer(self, kind, payload):
        return super().answer(kind, payload)

    def _part(self, writer, form, names):
        super()._part(writer, form, names)
        stated = () if writer == self.mine else names.split()
        for name in BOUNDS.keys() & stated:
            need(BOUNDS[name][0] <= getattr(self, name) <= BOUNDS[name][1], f"{name} out of range")
        if "tail" in stated:
            n = int.from_bytes(self.tail[:2])
            need(n <= 255 and n + 2 <= self.rest <= n + 1026 and not any(self.tail[n + 2 :]), "address or padding")

    def _move(self):
        self.first, self.restating, self.refreshing = True, True, False
        theirs = self.server_window if self.mine == C2S else self.client_window
        flowing = {n: s for n, s in self.alive().items() if self.mine not in s.ended}
        self.unrestated = {n: s.may for n, s in flowing.items() if s.may > theirs}
        super()._move()

    def _passed(self, d, kind, payload):
        if d == self.other:
            judge(not (why := ill_formed(d, kind, payload)), why)
            self._judge_time(kind, payload)
        elif kind == peer.DISCONNECT_ACK:
            self.r2 = payload
        super()._passed(d, kind, payload)

    def _judge_time(self, kind, payload):
        judge(not self.first or kind in (peer.ACK, peer.ABORT), "the first frame is no ACK")
        self.first, self.restating = False, self.restating and kind == peer.ACK
        if self.leaving and kind not in (peer.DISCONNECT_ACK, peer.DISCONNECT_DONE):
            judge(self.mine == C2S or kind == peer.ABORT, f"frame {kind:#x} behind DISCONNECT")
        elif kind in NUMBERED:
            judge(self.mine == C2S or not self.next_rk, "a numbered frame before SWITCH")
            self._judge_numbered(kind, int.from_bytes(payload[:4]), payload)
        elif kind == peer.ACK:
            self._judge_ack(payload)
        else:
            self._judge_session(kind, payload)

    def _judge_numbered(self, kind, number, payload):
        listener = int.from_bytes(payload[4:8]) if kind == peer.ACCEPTED else number
        if kind == peer.ACCEPTED or kind in OF_LISTENERS:
            judge(listener in self.listeners, f"a listener never asked for: {listener}")
            judge(not (why := self.listeners[listener].verdict(kind)), why)
        if kind in OPENINGS:
            judge(number == self.next[self.other], f"stream {number} is not the next")
        elif kind == peer.LISTEN:
            judge(number == len(self.listeners) + 1, f"listener {number} is not the next")
        elif kind not in OF_LISTENERS:
            judge(number in self.streams, f"a stream never opened: {number}")
            stream = self.streams[number]
            judge(not (why := stream.verdict(self.other, kind)), why)
            fits = stream.over or kind != peer.DATA or stream.taken + len(payload) - 4 <= stream.granted
            judge(fits, "beyond the limit", LIMIT)
            if kind in (peer.RESET, peer.REFUSED):
                self.unrestated.pop(number, None)

    def _judge_ack(self, payload):
        judge(self.acked <= int.from_bytes(payload[:8]) <= self.sent, "ACK out of range")
        for number, limit in limits(payload):
            judge(number in self.streams, f"a limit of a stream never opened: {number}")
            if self.restating and limit >= self.unrestated.get(number, limit + 1):
                del self.unrestated[number]

    def _judge_session(self, kind, payload):
        if kind == peer.REFRESH:
            judge(not self.refreshing, "REFRESH while one runs")
            self.refreshing = True
        elif kind == peer.REFRESHED:
            judge(self.secret, "REFRESHED not asked for")
        elif kind == peer.SWITCH:
            judge(self.next_rk, "SWITCH not asked for")
            self.refreshing = False
        elif kind == peer.DISCONNECT:
            left = [n for n, s in self.alive().items() if s.opener == C2S or s.answer[0]]
            judge(not left and not self.next_rk, f"DISCONNECT with open streams: {left}")
        elif kind in (peer.DISCONNECT_ACK, peer.DISCONNECT_DONE):
            judge(self.leaving and (kind == peer.DISCONNECT_ACK or payload == H(self.r2)), "release out of order")


class Client(Judge, peer.Client):
    """Judges what a server sends."""


class Server(Judge, peer.Server):
    """Judges what a client sends. `sessions` maps session ids to the Server that has them: whoever accepts the RESUME
    of a session takes it over, from a Server that is detached then.
    """

    old, detached, sessions = None, False, None

    def __init__(self, sock, seed, clients, **options):
        super().__init__(sock, seed, clients, **{"sessions": {}} | options)

    @checked
    def accept(self):
        """Serves a GREETING or a RESUME."""
        try:
            self.greet()
        finally:
            if self.over:
                self.sessions.pop(self.session_id, None)
        if self.kind == 1:
            self.sessions[self.session_id] = self

    @checked
    def recv(self):
        need(not self.detached, "the session has left this connection")
        return super().recv()

    def _adopt(self):
        if self.old is not None:
            vars(self).update((name, getattr(self.old, name)) for name in SESSION.split())

    def _part(self, writer, form, names):
        super()._part(writer, form, names)
        if "asked_id" in names.split():
            self.old = self.sessions.get(self.asked_id)
            self._adopt()

    def _signed_part(self, context, signed):
        """In RESUME, all is verified then: nothing passes on the old connection any more."""
        signed = super()._signed_part(context, signed)
        if self.old is not None:
            self.old.detached, self.old.j = True, self.attempt
            self._adopt()
        return signed

    def _passed(self, d, kind, payload):
        need(not self.detached, "the session has left this connection")
        moves = self.first and d == self.other and kind == peer.ACK
        super()._passed(d, kind, payload)
        if moves:
            latest = self.sessions.get(self.session_id) is self.old and self.old.j == self.j
            need(latest, "a later attempt has the session")
            self.sessions[self.session_id] = self
            self.old.sock.close()
        if self.over:
            self.sessions.pop(self.session_id, None)
