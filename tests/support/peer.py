"""A second NitroSocks/1 endpoint for the tests, written from docs/protocol.md alone and independent of the product.

Blocking, over anything with recv(n) and sendall(b); no timers, no decoy. What raises has ended the connection. recv()
answers nothing, send() frames what it is given. peer_streams.py knows streams, peer_judge.py judges what may come.
"""

import hashlib
import hmac
import struct
import time
from os import urandom
from secrets import randbelow

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from peer_keys import SUITE, H, client_keys, expand, hkdf, kem_keys, seal

OPEN, OPENED, REFUSED, DATA, END, RESET = range(0x10, 0x16)
LISTEN, LISTENING, ACCEPTED, UNLISTEN = range(0x18, 0x1C)
ACK, PING, PONG, PAD, REFRESH, REFRESHED, SWITCH = range(0x20, 0x27)
DISCONNECT, DISCONNECT_ACK, DISCONNECT_DONE, ABORT, GOAWAY = range(0x30, 0x35)
NUMBERED, C2S, S2C = {*range(0x10, 0x16), *range(0x18, 0x1C)}, b"c2s", b"s2c"


class Symmetric:
    """3.1: the running hash and keys of one handshake."""

    def __init__(self, S: bytes):
        self.ck = H(b"NitroSocks/1 XWing Ed25519+MLDSA65 AESGCM SHA256")
        self.h = H(self.ck, S)

    def mix_key(self, x: bytes) -> None:
        self.ck, self.k, self.n = *struct.unpack("32s32s", hkdf(self.ck, x, b"ns1 mix", 64)), 0

    def mix_key_and_hash(self, x: bytes) -> None:
        self.ck, t, self.k, self.n = *struct.unpack("32s32s32s", hkdf(self.ck, x, b"ns1 mixhash", 96)), 0
        self.h = H(self.h, t)

    def crypt(self, direction: str, data: bytes) -> bytes:  # Enc ("encrypt") and Dec ("decrypt")
        result = getattr(AESGCM(self.k), direction)(self.n.to_bytes(12), data, self.h)
        self.n, self.h = self.n + 1, H(self.h, result if direction == "encrypt" else data)
        return result


class Keys:
    """4: the frames of one direction in one epoch. (64 GiB under one key are out of reach here.)"""

    def __init__(self, rk: bytes, d: bytes, encrypt_type: int):
        iv = int.from_bytes(expand(rk, b"ns1 iv " + d, 12))
        self.nonces = ((iv ^ i).to_bytes(12) for i in range(1 << 22))
        self.aead = AESGCM(expand(rk, b"ns1 key " + d + bytes([encrypt_type]), 16 * encrypt_type))
        self.mask = Cipher(algorithms.AES(expand(rk, b"ns1 mask " + d)), modes.CTR(bytes(16))).encryptor()

    def seal(self, plain: bytes) -> bytes:
        size = len(plain).to_bytes(3)
        return self.mask.update(size) + self.aead.encrypt(next(self.nonces), plain, size)

    def open(self, read) -> bytes:
        size = self.mask.update(read(3))
        assert 1 <= int.from_bytes(size) <= 65537, "length out of range"
        return self.aead.decrypt(next(self.nonces), read(int.from_bytes(size) + 16), size)


class Peer:
    """What both sides do. Each message stands here once: who writes a part packs the attributes that it names, and who
    reads it sets them; so what a reader has drawn beforehand is replaced. Options are attributes, too."""

    mine = other = server_kem = client_kem = e = secret = session_id = out = b""
    now, version, offer, encrypt_type, client_window, server_window = time.time, 1, 6, 2, 1 << 18, 1 << 18
    resume_seconds, heartbeat, address, certificate_hash = 120, 20, "", bytes(32)
    pad, j, sent, received, acked, refuse, over, leaving = 0, 0, 0, 0, 0, 0, False, False

    def __init__(self, sock, S: bytes, **options):
        vars(self).update(options, sock=sock, S=S, knock=hkdf(b"", S, b"ns1 knock"), kept=[], seen=set())

    def _read(self, n: int) -> bytes:
        """Writes the message that is ready, then reads so many bytes."""
        if self.out:
            self.sock.sendall(self.out)
        self.out = data = b""
        while len(data) < n:
            data += (more := self.sock.recv(n - len(data)))
            assert more, "the connection ended"
        return data

    def _part(self, writer: bytes, form: str, names: str) -> None:
        """One Enc."""
        form, names, self.zeros = ">" + form, names.split(), b""
        if writer == self.mine:
            self.pad = randbelow(1025) if "pad" in names else self.pad
            self.out += self.t.crypt("encrypt", struct.pack(form, *(getattr(self, name) for name in names)))
        else:
            plain = self.t.crypt("decrypt", self._read(struct.calcsize(form) + 16))
            vars(self).update(zip(names, struct.unpack(form, plain), strict=True))
        assert self.pad <= 1024 and not any(self.zeros), "padding is wrong"

    def _sealed_part(self, writer: bytes, label: bytes, pk: bytes, private, plain: bytes, form="", names="") -> bytes:
        """One Enc with a Seal at its end; both sides get what is in the Seal."""
        h, self.sealed = self.t.h, seal(pk, label, self.t.h, plain) if writer == self.mine else b""
        self._part(writer, f"{form}{len(plain) + 1136}s", f"{names} sealed")
        return plain if writer == self.mine else SUITE.decrypt(self.sealed, private, info=b"ns1 " + label + h)

    def _signed_part(self, context: bytes, signed: bytes) -> bytes:
        """The Enc in which a client signs; both sides get what it signed."""
        h, self.signed, names = context + self.t.h, signed, "signed signature ml_signature next_e_public zeros"
        if self.mine == C2S:
            self.signature = self.ed.sign(h + signed + self.next_e_public)
            self.ml_signature = self.ml.sign(h + signed + self.next_e_public, context)
        self._part(C2S, f"{len(signed)}s64s3309s1216s{self.pad}s", names)
        message = h + self.signed + self.next_e_public
        ed25519.Ed25519PublicKey.from_public_bytes(self.public[1216:1248]).verify(self.signature, message)
        mldsa.MLDSA65PublicKey.from_public_bytes(self.public[1248:]).verify(self.ml_signature, message, context)
        return self.signed

    def greet(self, again=None) -> None:
        """A handshake, from knock to 3.4: for a new session, or to resume this one over another socket, `again`."""
        self.sock, self.out, self.kind, self.reason = again or self.sock, b"", 2 if again else 1, self.refuse
        (self.e, self.e_public), (self.next_e, self.next_e_public) = kem_keys(urandom(96)), kem_keys(urandom(96))
        knock, now = urandom(24) if self.mine == C2S else self._read(40), int(self.now() // 3600)
        while self.mine == C2S and (knock[:1].isalpha() or knock[0] == 0x16):
            knock = urandom(24)
        nonce, hours = knock[:24], [struct.pack(">Q", near) for near in (now, now - 1, now + 1)]
        tags = {hmac.digest(expand(self.knock, b"ns1 tag" + hour), nonce, "sha256")[:16]: hour for hour in hours}
        tag = knock[24:] or next(iter(tags))
        assert tag in tags and nonce not in self.seen, "not one of ours"
        self.out, self.t = nonce + tag if self.mine == C2S else b"", Symmetric(self.S)
        self.t.h = H(self.t.h, nonce, tag)
        self.t.mix_key_and_hash(expand(self.knock, b"ns1 psk" + tags[tag] + nonce))
        self.t.mix_key(self._sealed_part(C2S, b"server", self.S, self.server_kem, urandom(32), "BH", "kind pad"))
        self.seen.add(nonce)
        self.salts = [urandom(32), *(expand(self.t.ck, b"ns1 refused" + bytes([reason])) for reason in range(1, 6))]
        self._new_session() if self.kind == 1 else self._recover()
        self._read(0)
        self.hs, self.rk, self.epoch, self.next_rk, self.secret = self.t.h, expand(self.t.ck, b"ns1 root"), 0, b"", b""
        self.keys = {d: Keys(self.rk, d, self.encrypt_type) for d in (C2S, S2C)}
        if self.kind == 2:
            self._move()

    def _salt_part(self) -> None:
        """The start of CHALLENGE and RECOVERED, or a refusal in its place."""
        salt = self.salts[self.reason] if self.mine == S2C else self._read(32)
        self.out += salt if self.mine == S2C else b""
        if salt in self.salts[1:]:
            self._read(0)
            self.over |= self.salts.index(salt) <= 2
            raise AssertionError(f"refused: {self.salts.index(salt)}")
        self.t.mix_key_and_hash(salt)
        self.t.mix_key(self._sealed_part(S2C, b"ephemeral", self.e_public, self.e, urandom(32), "H", "pad"))

    def _new_session(self) -> None:
        """3.3, behind the first Enc of GREETING."""
        self._part(C2S, f"16s1216sIII{self.pad}s", "client_id e_public version offer client_window zeros")
        if self.mine == S2C:
            self.public, self.token = self.clients.get(self.client_id, (b"", b""))
            self.encrypt_type = next((each for each in (self.encrypt_type, 2, 1) if self.offer >> each & 1), 0)
            self.reason = self.reason or (1 if not self.public else 0 if self.version == 1 and self.encrypt_type else 4)
        self._salt_part()  # CHALLENGE
        choice, self.server_ms = urandom(64) + struct.pack(">II", self.encrypt_type, 1), int(self.now() * 1000)
        choice = self._sealed_part(S2C, b"challenge", self.public[:1216], self.client_kem, choice)
        self.encrypt_type, version = struct.unpack(">II", choice[64:])
        assert version == 1 and self.encrypt_type in (1, 2) and self.offer >> self.encrypt_type & 1, "not offered"
        self.t.mix_key(choice[:64])
        self.t.mix_key_and_hash(expand(self.token, b"ns1 token"))
        self._part(S2C, f"Q32s{self.pad}s", "server_ms certificate_hash zeros")
        self._part(C2S, "H", "pad")  # RESPONSE
        now, totp = self.server_ms / 1000 if self.mine == C2S else self.now(), TOTP(self.token, 6, hashes.SHA1(), 30)
        proofs = [H(H(self.token, choice[:32]), totp.generate(near)) for near in (now, now - 30, now + 30)]
        proof = self._signed_part(b"ns1 response", proofs[0])
        assert sum(hmac.compare_digest(proof, each) for each in proofs), "the proof is wrong"
        self.tail = struct.pack(">H", len(self.address.encode())) + self.address.encode()  # SESSION
        self.key, self.session_id, self.rest = urandom(32), urandom(16), len(self.tail) + randbelow(1025)
        self._part(S2C, "H32s16sIII", "rest key session_id server_window resume_seconds heartbeat")
        self._part(S2C, f"{self.rest}s", "tail")
        self.address = self.tail[2 : 2 + int.from_bytes(self.tail[:2])].decode()
        self.t.mix_key_and_hash(self.key)
        self.rs = expand(self.t.ck, b"ns1 resume")

    def _recover(self) -> None:
        """3.5, behind the first Enc of RESUME."""
        self.asked_id, self.attempt = self.session_id, self.j + 1
        self._part(C2S, "16sI1216s", "asked_id attempt e_public")
        if self.mine == S2C and (self.reason or self.asked_id != self.session_id or self.over or self.leaving):
            self.reason = self.reason or 2
            self._read(8 + 3373 + 1216 + self.pad + 16)  # else the end of the connection may overtake the refusal
            self._salt_part()
        assert self.attempt > self.j, "j is not above the last"
        self.t.mix_key_and_hash(self.rs)
        theirs = int.from_bytes(self._signed_part(b"ns1 resume", struct.pack(">Q", self.received)))
        self.j, self.stated = self.attempt, self.received
        if self.mine == S2C:
            self.reason = 1 if self.client_id not in self.clients else 0 if self.acked <= theirs <= self.sent else 2
        self._salt_part()  # RECOVERED
        self.t.mix_key_and_hash(self._sealed_part(S2C, b"recovery", self.public[:1216], self.client_kem, urandom(32)))
        self._part(S2C, f"Q32s{self.pad}s", "stated certificate_hash zeros")
        self.stated = theirs if self.mine == S2C else self.stated

    def _move(self) -> None:
        """The session is on this connection once the client's first frame opens; then what was lost is sent again."""
        if self.mine == C2S and not self.acked <= self.stated <= self.sent:
            self.send(ABORT, b"\1")
            raise AssertionError("received is out of range")
        self.kept, self.acked = self.kept[self.stated - self.acked :], self.stated
        assert self.mine == C2S or self.recv()[0] == ACK, "the session is over"
        self.ack()
        for kind, payload in self.kept:
            self.sock.sendall(self.keys[self.mine].seal(bytes([kind]) + payload))

    def send(self, kind: int, payload: bytes = b"") -> None:
        frame = self.keys[self.mine].seal(bytes([kind]) + payload)
        self._passed(self.mine, kind, payload)
        self.sock.sendall(frame)

    def recv(self) -> tuple[int, bytes]:
        plain = self.keys[self.other].open(self._read)
        self._passed(self.other, plain[0], plain[1:])
        return plain[0], plain[1:]

    def _passed(self, d: bytes, kind: int, payload: bytes) -> None:
        """What a frame in direction d changes, for who sends it and for who reads it."""
        if kind in NUMBERED and d == self.mine:
            self.sent, self.kept = self.sent + 1, [*self.kept, (kind, payload)]
        elif kind in NUMBERED:
            self.received += 1
        elif kind == ACK and d == self.other:
            self.kept, self.acked = self.kept[int.from_bytes(payload[:8]) - self.acked :], int.from_bytes(payload[:8])
        elif kind == REFRESHED and self.secret:
            if d == self.other:
                h, self.next_e_public = H(self.hs, struct.pack(">I", self.epoch)), payload[1168:]
                self.secret += SUITE.decrypt(payload[:1168], self.server_kem, info=b"ns1 refresh server" + h)
            self.next_rk = hkdf(self.rk, self.secret, b"ns1 refresh" + H(self.asked, payload))
            self.keys[C2S], self.secret = Keys(self.next_rk, C2S, self.encrypt_type), b""
        elif kind == SWITCH and self.next_rk:
            assert d == self.mine or hmac.compare_digest(payload, expand(self.next_rk, b"ns1 switch")), "wrong SWITCH"
            self.rk, self.next_rk, self.epoch = self.next_rk, b"", self.epoch + 1
            self.keys[S2C] = Keys(self.rk, S2C, self.encrypt_type)
        self.leaving |= kind == DISCONNECT
        self.over |= kind in (ABORT, DISCONNECT_DONE)

    def ack(self, limits: bytes = b"") -> None:
        self.send(ACK, struct.pack(">Q", self.received) + limits)

    def refresh(self) -> None:
        """A server's REFRESH; answer() does the rest on either side."""
        h, self.secret = H(self.hs, struct.pack(">I", self.epoch)), urandom(64)
        self.asked = seal(self.next_e_public, b"refresh ephemeral", h, self.secret[:32])
        self.asked += seal(self.public[:1216], b"refresh client", h, self.secret[32:])
        self.send(REFRESH, self.asked)

    def answer(self, kind: int, payload: bytes) -> None:
        """What is to be said at once to a frame that recv() gave."""
        if kind == REFRESH and not self.leaving:
            h, n3, self.asked = H(self.hs, struct.pack(">I", self.epoch)), urandom(32), payload
            self.secret = SUITE.decrypt(payload[:1168], self.next_e, info=b"ns1 refresh ephemeral" + h)
            self.secret += SUITE.decrypt(payload[1168:], self.client_kem, info=b"ns1 refresh client" + h) + n3
            self.next_e, e_public = kem_keys(urandom(96))
            self.send(REFRESHED, seal(self.S, b"refresh server", h, n3) + e_public)
        answers = {
            PING: (PONG, H(payload)),
            REFRESHED: (SWITCH, expand(self.next_rk, b"ns1 switch")),
            DISCONNECT: (DISCONNECT_ACK, urandom(32)),
            DISCONNECT_ACK: (DISCONNECT_DONE, H(payload)),
        }
        if kind in answers:
            self.send(*answers[kind])

    def release(self) -> None:
        """DISCONNECT and what follows; a server does so when recv() has given DISCONNECT."""
        self.send(DISCONNECT) if self.mine == C2S else self.answer(DISCONNECT, b"")
        while not self.over:
            self.answer(*self.recv())


class Client(Peer):
    mine, other = C2S, S2C

    def __init__(self, sock, S: bytes, seed: bytes, token: bytes, **options):
        super().__init__(sock, S, token=token, **options)
        self.client_kem, self.public, self.ed, self.ml = client_keys(seed)
        self.client_id = H(b"ns1 client", self.public)[:16]


class Server(Peer):
    mine, other, refuse = S2C, C2S, 0  # `refuse` is a reason to refuse whoever comes

    def __init__(self, sock, seed: bytes, clients: dict, **options):
        self.server_kem, S = kem_keys(hashlib.shake_256(seed).digest(96))
        super().__init__(sock, S, clients=clients, **options)
