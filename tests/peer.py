"""A second NitroSocks/1 endpoint for the tests, written from docs/protocol.md alone and independent of the product.

Blocking and plain, over anything with recv(n), sendall(b) and close(); no timers, no decoy. What arrives is checked
strictly, and recv() answers nothing; send() frames what it is given, so a test may misbehave.
"""
import hmac
import io
import struct
import time
from os import urandom

from peer_wire import (
    C2S,
    MAX,
    S2C,
    H,
    Handshake,
    Keys,
    PeerError,
    checked,
    client_id,
    client_keys,
    expand,
    hkdf,
    kem_public,
    need,
    seal,
    server_keys,
    unseal,
)

OPEN, OPENED, REFUSED, DATA, END, RESET = range(0x10, 0x16)
LISTEN, LISTENING, ACCEPTED = range(0x18, 0x1B)
ACK, PING, PONG, PAD, REFRESH, REFRESHED, SWITCH = range(0x20, 0x27)
DISCONNECT, DISCONNECT_ACK, DISCONNECT_DONE, ABORT, GOAWAY = range(0x30, 0x35)
NUMBERED, BOTH = range(0x10, 0x1B), b"c2s s2c"
FRAMES = {  # type: (who may send it, least and most bytes of payload, where the UTF-8 text in it begins)
    OPEN: (C2S, 3, MAX, 3), OPENED: (S2C, 2, MAX, 2), REFUSED: (S2C, 1, MAX, 1), DATA: (BOTH, 1, MAX, MAX),
    END: (BOTH, 0, 0, 0), RESET: (BOTH, 1, MAX, 1), LISTEN: (C2S, 3, MAX, 3), LISTENING: (S2C, 2, MAX, 2),
    ACCEPTED: (S2C, 2, MAX, 2), ACK: (BOTH, 8, 8, 8), PING: (BOTH, 8, 32, 32), PONG: (BOTH, 32, 32, 32),
    PAD: (BOTH, 0, MAX, MAX), REFRESH: (S2C, 2336, 2336, MAX), REFRESHED: (C2S, 2384, 2384, MAX),
    SWITCH: (S2C, 32, 32, 32), DISCONNECT: (C2S, 0, 0, 0), DISCONNECT_ACK: (S2C, 32, 32, 32),
    DISCONNECT_DONE: (C2S, 32, 32, 32), ABORT: (BOTH, 1, MAX, 1), GOAWAY: (S2C, 4, 4, 4)}
STREAM = {  # type: (states of the stream in which it may come, state that it leads to)
    OPEN: ("idle refused", "opening"), OPENED: ("opening", "open"), REFUSED: ("opening listening", "refused"),
    LISTEN: ("idle refused", "listening"), LISTENING: ("listening", "parked"), ACCEPTED: ("parked", "open")}
CARRIED = ("client_id public token encrypt_type window own_window resume_seconds heartbeat sent received acked "
           "consumed kept held stream ends")  # what a session takes along to the server's next connection


class Feed:
    """In place of a socket: gives recorded bytes and keeps what is written."""
    def __init__(self, *messages: bytes):
        self.data, self.written, self.closed = io.BytesIO(b"".join(messages)), b"", False
        self.recv = self.data.read

    def sendall(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


class Peer(Handshake):
    """What both sides are. `window` is the peer's, own_window the one announced to it."""

    def __init__(self, sock, S: bytes, now, window: int):
        self.sock, self.S, self.now, self.own_window, self.out = sock, S, now, window, b""
        self.knock, self.seen, self.certificate_hash = hkdf(b"", S, b"ns1 knock"), set(), bytes(32)
        self.server_raw = self.client_raw = self.client_id = self.session_id = self.rs = self.r2 = b""
        self.e = self.e_public = self.next_e_public = b""
        self.j = self.sent = self.received = self.acked = self.consumed = self.encrypt_type = self.offer = 0
        self.window = self.resume_seconds = self.heartbeat = 0
        self.address, self.kept, self.held, self.stream, self.ends = "", [], [], "idle", set()
        self.over = self.detached = self.leaving = False

    def _step(self, d: bytes, kind: int) -> bool:
        """Move the stream by a numbered frame sent in direction d; False if that frame may not come now."""
        was, ended = self.stream, d in self.ends
        if kind in STREAM:
            before, self.stream = STREAM[kind]
            self.ends = set() if kind in (OPEN, LISTEN) else self.ends
            return was in before.split()
        if kind != DATA and was not in ("idle", "refused"):
            self.ends = self.ends | {d}
            self.stream = "idle" if len(self.ends) == 2 else was
        early, late = d == C2S and was == "opening", d == C2S and was == "refused"
        return kind == RESET or late or not ended and (early or was == "open")

    @checked
    def send(self, kind: int, payload: bytes = b"", again: bool = False) -> None:
        need(not self.detached, "the session has left this connection")
        if kind in NUMBERED and not again:
            need(self.mine == S2C or not self.next_rk, "no numbered frame before SWITCH")
            self.sent, self.kept = self.sent + 1, self.kept + [(kind, payload)]
            self._step(self.mine, kind)
        elif kind == ACK:
            self.held = self.held[max(0, int.from_bytes(payload) - self.consumed):]
            self.consumed = max(self.consumed, int.from_bytes(payload))
        elif kind == PING:
            self.pings.append(H(payload))
        self.leaving |= kind == DISCONNECT
        self.r2 = payload if kind == DISCONNECT_ACK else self.r2
        self._write(self.keys_out.seal(bytes([kind]) + payload))

    def ack(self, consumed: int | None = None) -> None:
        self.send(ACK, struct.pack(">Q", self.received if consumed is None else consumed))

    def pong(self, payload: bytes) -> None:
        self.send(PONG, H(payload))

    @checked
    def recv(self) -> tuple[int, bytes]:
        need(not self.detached, "the session has left this connection")
        plain = self.keys_in.open(self._read)
        need(not self.detached, "the session has left this connection")
        kind, payload, number = plain[0], plain[1:], int.from_bytes(plain[1:])
        sender, low, high, text = FRAMES.get(kind, (b"", 0, 0, 0))
        need(self.other in sender and low <= len(payload) <= high, f"frame {kind:#x} of {len(payload)} bytes")
        payload[text:].decode()
        need(kind not in (OPEN, LISTEN) or 1 <= payload[0] <= 3, "neither tcp nor unix nor udp")
        need(not self.first or kind in (ACK, ABORT), "the first frame is no ACK")
        was, self.first = self.stream, False
        if kind in NUMBERED:
            need(self._step(self.other, kind), f"frame {kind:#x} while {was}")
            self.received, self.held = self.received + 1, self.held + [len(payload) if kind == DATA else 0]
            need(sum(self.held) <= self.own_window and sum(map(bool, self.held)) <= 1024, "window exceeded")
        elif kind == ACK:
            need(self.acked <= number <= self.sent, "ACK out of range")
            self.kept, self.acked = self.kept[number - self.acked:], number
        elif kind == PONG:
            need(payload in self.pings, "PONG for no PING")
            self.pings.remove(payload)
        elif kind == REFRESH and not self.leaving:
            need(not self.refreshing, "REFRESH while one runs")
            self.refreshing = True
        elif kind == REFRESHED:
            need(self.refreshing and not self.next_rk, "REFRESHED not asked for")
            self._refreshed(payload)
        elif kind == SWITCH:
            need(self.next_rk, "SWITCH not asked for")
            need(hmac.compare_digest(payload, expand(self.next_rk, b"ns1 switch")), "SWITCH is wrong")
            self.keys_in = self._turn(self.other)
        elif kind == DISCONNECT:
            need(self.stream in ("idle", "refused"), f"DISCONNECT while {was}")
            self.leaving = True
        elif kind in (DISCONNECT_ACK, DISCONNECT_DONE):
            need(self.leaving and (kind == DISCONNECT_ACK or payload == H(self.r2)), "release out of order")
        self.over |= kind in (ABORT, DISCONNECT_DONE)
        return kind, payload


class Client(Peer):
    def __init__(self, sock, server_public: bytes, seed: bytes, token: bytes, *, now=time.time, hour: int | None = None,
                 window: int = 1 << 20, offer: int = 6):
        super().__init__(sock, server_public, now, window)
        self.client_raw, self.public, self.ed, self.ml = client_keys(seed)
        self.token, self.client_id, self.hour, self.offer = token, client_id(self.public), hour, offer

    @checked
    def greet(self) -> None:
        _, pad = self._first_part(1)
        self._new_session(pad)

    @checked
    def resume(self, sock, consumed: int | None = None) -> None:
        """Leave the old connection for a new one; the ACK says `consumed`, or all that was received."""
        self.sock, self.out, self.j = sock, b"", self.j + 1
        need(not self.over and not self.leaving, "the session is over")
        _, pad = self._first_part(2)
        self._recover(pad, consumed)

    def release(self) -> None:
        self.send(DISCONNECT)
        while (frame := self.recv())[0] != DISCONNECT_ACK:
            pass
        self.send(DISCONNECT_DONE, H(frame[1]))
        self.over = True

    @checked
    def answer_refresh(self, payload: bytes) -> None:
        """Answer a REFRESH that recv() gave."""
        secret = unseal(self.next_e, b"refresh ephemeral", self._refresh_h(), payload[:1168])
        secret += unseal(self.client_raw, b"refresh client", self._refresh_h(), payload[1168:]) + (n3 := urandom(32))
        self.next_e = urandom(96)
        answer = seal(self.S, b"refresh server", self._refresh_h(), n3) + kem_public(self.next_e)
        self.send(REFRESHED, answer)
        self._next_root(secret, payload, answer)
        self.keys_out = Keys(self.next_rk, self.mine, self.encrypt_type)

    def _knock(self) -> tuple[bytes, bytes]:
        while (nonce := urandom(24))[:1].isalpha() or nonce[0] == 0x16:
            pass
        hour = struct.pack(">Q", int(self.now() // 3600) if self.hour is None else self.hour)
        self.out = nonce + hmac.digest(expand(self.knock, b"ns1 tag" + hour), nonce, "sha256")[:16]
        self.e, self.next_e = urandom(96), urandom(96)
        self.e_public, self.next_e_public = kem_public(self.e), kem_public(self.next_e)
        return self.out, hour

    def _move(self, received: int) -> None:
        if not self.acked <= received <= self.sent:
            self.send(ABORT, b"\1")
            self.over = True
            raise PeerError("received is out of range")


class Server(Peer):
    """`sessions` maps session ids to the Server that has them; `refuse` is a reason to refuse whoever comes."""
    mine, other = S2C, C2S

    def __init__(self, sock, seed: bytes, clients: dict, *, sessions: dict | None = None, window: int = 1 << 20,
                 resume: int = 120, heartbeat: int = 20, encrypt_type: int = 2, address: str = "", now=time.time):
        raw, S = server_keys(seed)
        super().__init__(sock, S, now, window)
        self.server_raw, self.clients, self.sessions = raw, clients, {} if sessions is None else sessions
        self.resume_seconds, self.heartbeat, self.encrypt_type, self.address = resume, heartbeat, encrypt_type, address
        self.refuse = 0

    @checked
    def accept(self, consumed: int | None = None) -> None:
        """Serve a GREETING, or a RESUME of a session in `sessions`: then this object takes that session over."""
        kind, pad = self._first_part()
        need(kind in (1, 2), "neither GREETING nor RESUME")
        if kind == 1:
            self._new_session(pad)
            self.sessions[self.session_id] = self
        else:
            self._recover(pad, consumed)

    def release(self) -> None:
        """Answer a DISCONNECT that recv() gave."""
        self.send(DISCONNECT_ACK, urandom(32))
        while self.recv()[0] != DISCONNECT_DONE:
            pass
        self.sessions.pop(self.session_id, None)

    @checked
    def refresh(self) -> None:
        """Send REFRESH; when recv() has given REFRESHED, call switch()."""
        self.secret, self.refreshing = urandom(64), True
        self.asked = seal(self.next_e_public, b"refresh ephemeral", self._refresh_h(), self.secret[:32])
        self.asked += seal(self.public[:1216], b"refresh client", self._refresh_h(), self.secret[32:])
        self.send(REFRESH, self.asked)

    def switch(self) -> None:
        self.send(SWITCH, expand(self.next_rk, b"ns1 switch"))
        self.keys_out = self._turn(self.mine)

    def _refreshed(self, payload: bytes) -> None:
        secret = self.secret + unseal(self.server_raw, b"refresh server", self._refresh_h(), payload[:1168])
        self.next_e_public = payload[1168:]
        self._next_root(secret, self.asked, payload)
        self.keys_in = Keys(self.next_rk, self.other, self.encrypt_type)

    def _knock(self) -> tuple[bytes, bytes]:
        knock, now = self.sock.recv(40), int(self.now() // 3600)
        for hour in (struct.pack(">Q", near) for near in (now, now - 1, now + 1)):
            tag = hmac.digest(expand(self.knock, b"ns1 tag" + hour), knock[:24], "sha256")[:16]
            if hmac.compare_digest(tag, knock[24:]) and knock[:24] not in self.seen:
                return knock, hour
        raise PeerError("not one of ours")

    def _refuse(self, reason: int) -> None:
        self._write({number: key for key, number in self.refusals.items()}[reason])
        raise PeerError(f"refused: {reason}")

    def _admit(self, version: int) -> None:
        self.public, self.token = self.clients.get(self.client_id, (b"", b""))
        types = [each for each in (self.encrypt_type, 2, 1) if self.offer >> each & 1]
        reason = self.refuse or (1 if not self.public else 4 if version != 1 or not types else 0)
        if reason:
            self._refuse(reason)
        self.encrypt_type = types[0]

    def _find(self, j: int, pad: int) -> None:
        self.old = self.sessions.get(self.session_id)
        if self.refuse or not self.old or self.old.over or self.old.leaving:
            self._read(8 + 3373 + 1216 + pad + 16)
            self._refuse(self.refuse or 2)
        need(j > self.old.j, "j is not above the last")
        self.rs, self.public = self.old.rs, self.old.public

    def _detach(self, j: int, received: int) -> None:
        """The RESUME is verified: the old connection is left, and this one has the session once a frame opens."""
        self.j = self.old.j = j
        self.old.detached = True
        vars(self).update((name, getattr(self.old, name)) for name in CARRIED.split())
        revoked = self.client_id not in self.clients
        if revoked or not self.acked <= received <= self.sent:
            del self.sessions[self.session_id]
            self._refuse(1 if revoked else 2)

    def _move(self, received: int) -> None:
        need(self.recv()[0] == ACK, "the session is over")
        need(self.sessions.get(self.session_id) is self.old and self.old.j == self.j, "a later attempt has the session")
        self.sessions[self.session_id] = self
        self.old.sock.close()
