"""The peers of peer.py under a judge, who watches what reaches them; written from docs/protocol.md alone, too.

Judged is: may this frame come now, is it well formed, does it fit the window; are the terms of a handshake in bounds.
Whatever fails is a PeerError, and closes the connection.
"""

import functools
import io
import struct
from concurrent.futures import ThreadPoolExecutor

import peer
from cryptography.exceptions import InvalidSignature, InvalidTag
from peer import C2S, NUMBERED, S2C, H

MAX, BOTH = 65536, C2S + S2C
FRAMES = {  # type: (who may send it, least and most bytes of payload, where the UTF-8 text in it begins)
    peer.OPEN: (C2S, 3, MAX, 3), peer.OPENED: (S2C, 2, MAX, 2), peer.REFUSED: (S2C, 1, MAX, 1),
    peer.DATA: (BOTH, 1, MAX, MAX), peer.END: (BOTH, 0, 0, 0), peer.RESET: (BOTH, 1, MAX, 1),
    peer.LISTEN: (C2S, 3, MAX, 3), peer.LISTENING: (S2C, 2, MAX, 2), peer.ACCEPTED: (S2C, 2, MAX, 2),
    peer.ACK: (BOTH, 8, 8, 8), peer.PING: (BOTH, 8, 32, 32), peer.PONG: (BOTH, 32, 32, 32),
    peer.PAD: (BOTH, 0, MAX, MAX), peer.REFRESH: (S2C, 2336, 2336, MAX), peer.REFRESHED: (C2S, 2384, 2384, MAX),
    peer.SWITCH: (S2C, 32, 32, 32), peer.DISCONNECT: (C2S, 0, 0, 0), peer.DISCONNECT_ACK: (S2C, 32, 32, 32),
    peer.DISCONNECT_DONE: (C2S, 32, 32, 32), peer.ABORT: (BOTH, 1, MAX, 1), peer.GOAWAY: (S2C, 4, 4, 4),
}  # fmt: skip
STREAM = {  # type: (states of the stream in which it may come, state that it leads to)
    peer.OPEN: ("idle refused", "opening"), peer.OPENED: ("opening", "open"),
    peer.REFUSED: ("opening listening", "refused"), peer.LISTEN: ("idle refused", "listening"),
    peer.LISTENING: ("listening", "parked"), peer.ACCEPTED: ("parked", "open"),
}  # fmt: skip
BOUNDS = {  # what a handshake may state
    "kind": (1, 2), "pad": (0, 1024), "client_window": (1 << 16, 1 << 26), "server_window": (1 << 16, 1 << 26),
    "resume_seconds": (0, 86_400), "heartbeat": (5, 300), "rest": (2, 1281),
}  # fmt: skip
FAILURES = AssertionError, InvalidTag, InvalidSignature, ValueError, OSError, StopIteration, struct.error
SESSION = (
    "session_id rs j client_id public token encrypt_type client_window server_window resume_seconds heartbeat address "
    "sent received acked kept over leaving held consumed stream ends"
)  # what is of a session, and goes along to its next connection


class PeerError(Exception):
    """The other side, or a test, is wrong; or it refused."""


def need(condition: object, text: str) -> None:
    if not condition:
        raise PeerError(text)


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


class Judge:
    """What both sides are judged by; to be mixed into one of them."""

    stream, consumed, first, refreshing, r2 = "idle", 0, False, False, b""

    def __init__(self, *args, **options):
        if unknown := [name for name in options if not hasattr(self, name)]:
            raise TypeError(f"no such options: {unknown}")
        self.held, self.ends, self.pings = [], set(), []
        super().__init__(*args, **options)

    @checked
    def greet(self, again=None):
        return super().greet(again)

    def resume(self, sock):
        self.greet(sock)

    @checked
    def send(self, kind, payload=b""):
        return super().send(kind, payload)

    @checked
    def recv(self):
        return super().recv()

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
            need(BOUNDS[name][0] <= getattr(self, name) <= BOUNDS[name][1], f"{name} out of bounds")
        if "tail" in stated:
            n = int.from_bytes(self.tail[:2])
            need(n <= 255 and n + 2 <= self.rest <= n + 1026 and not any(self.tail[n + 2 :]), "address or padding")

    def _move(self):
        self.first, self.refreshing, self.pings = True, False, []
        super()._move()

    def _passed(self, d, kind, payload):
        if d == self.other:
            self._judge_form(kind, payload)
            self._judge_time(kind, payload)
        else:
            self._note(kind, payload)
        super()._passed(d, kind, payload)

    def _judge_form(self, kind, payload):
        sender, low, high, text = FRAMES.get(kind, (b"", 0, 0, 0))
        need(self.other in sender and low <= len(payload) <= high, f"frame {kind:#x} of {len(payload)} bytes")
        payload[text:].decode()
        need(kind not in (peer.OPEN, peer.LISTEN) or 1 <= payload[0] <= 3, "neither tcp nor unix nor udp")

    def _judge_time(self, kind, payload):
        need(not self.first or kind in (peer.ACK, peer.ABORT), "the first frame is no ACK")
        was, self.first = self.stream, False
        if kind in NUMBERED:
            need(self._step(self.other, kind), f"frame {kind:#x} while {was}")
            self.held = [*self.held, len(payload) if kind == peer.DATA else 0]
            stated = self.server_window if self.mine == S2C else self.client_window
            need(sum(self.held) <= stated and sum(map(bool, self.held)) <= 1024, "window exceeded")
        elif kind == peer.ACK:
            need(self.acked <= int.from_bytes(payload) <= self.sent, "ACK out of range")
        elif kind == peer.PONG:
            need(payload in self.pings, "PONG for no PING")
            self.pings.remove(payload)
        elif kind == peer.REFRESH and not self.leaving:
            need(not self.refreshing, "REFRESH while one runs")
            self.refreshing = True
        elif kind == peer.REFRESHED:
            need(self.secret, "REFRESHED not asked for")
        elif kind == peer.SWITCH:
            need(self.next_rk, "SWITCH not asked for")
            self.refreshing = False
        elif kind == peer.DISCONNECT:
            need(was in ("idle", "refused"), f"DISCONNECT while {was}")
        elif kind in (peer.DISCONNECT_ACK, peer.DISCONNECT_DONE):
            need(self.leaving and (kind == peer.DISCONNECT_ACK or payload == H(self.r2)), "release out of order")

    def _note(self, kind, payload):
        """Of what is sent, what the answers will be judged by."""
        if kind in NUMBERED:
            need(self.mine == S2C or not self.next_rk, "no numbered frame before SWITCH")
            self._step(self.mine, kind)
        elif kind == peer.ACK:
            number = int.from_bytes(payload)
            self.held = self.held[max(0, number - self.consumed) :]
            self.consumed = max(self.consumed, number)
        elif kind == peer.PING:
            self.pings.append(H(payload))
        elif kind == peer.DISCONNECT_ACK:
            self.r2 = payload

    def _step(self, d, kind):
        """Move the stream by a numbered frame sent in direction d; False if that frame may not come now."""
        was, ended = self.stream, d in self.ends
        if kind in STREAM:
            before, self.stream = STREAM[kind]
            self.ends = set() if kind in (peer.OPEN, peer.LISTEN) else self.ends
            return was in before.split()
        if kind != peer.DATA and was not in ("idle", "refused"):
            self.ends = self.ends | {d}
            self.stream = "idle" if len(self.ends) == 2 else was
        early, late = d == C2S and was == "opening", d == C2S and was == "refused"
        return kind == peer.RESET or late or not ended and (early or was == "open")


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
