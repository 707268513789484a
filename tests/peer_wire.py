"""The bytes of tests/peer.py, like it written from docs/protocol.md alone: keys, sealed frames, the handshakes.

Each handshake message stands here once, for both sides: who writes a part gives its fields, who reads it gets them.
"""
import hashlib
import hmac
import struct
from os import urandom
from secrets import randbelow

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
C2S, S2C, MAX = b"c2s", b"s2c", 65536


class PeerError(Exception):
    pass


def need(condition, text: str) -> None:
    if not condition:
        raise PeerError(text)


def checked(method):
    """Whatever fails is a PeerError and ends the connection."""
    def run(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except (PeerError, InvalidTag, InvalidSignature, ValueError, OSError, struct.error) as error:
            self.sock.close()
            raise error if isinstance(error, PeerError) else PeerError(f"{method.__name__}: {error!r}") from error
    return run


def H(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def expand(prk: bytes, info: bytes, n: int = 32) -> bytes:
    out = block = b""
    for i in range(1, n // 32 + 2):
        out += (block := hmac.digest(prk, block + info + bytes([i]), "sha256"))
    return out[:n]


def hkdf(salt: bytes, ikm: bytes, info: bytes, n: int = 32) -> bytes:
    return expand(hmac.digest(salt, ikm, "sha256"), info, n)


def halves(raw: bytes) -> tuple:
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(raw[:64]), x25519.X25519PrivateKey.from_private_bytes(raw[64:])


def publics(*keys) -> bytes:
    return b"".join(key.public_key().public_bytes_raw() for key in keys)


def kem_public(raw: bytes) -> bytes:
    return publics(*halves(raw))


def seal(pk: bytes, label: bytes, h: bytes, plain: bytes) -> bytes:
    key = mlkem.MLKEM768PublicKey.from_public_bytes(pk[:1184]), x25519.X25519PublicKey.from_public_bytes(pk[1184:])
    return SUITE.encrypt(plain, hpke.MLKEM768X25519PublicKey(*key), info=b"ns1 " + label + h)


def unseal(raw: bytes, label: bytes, h: bytes, sealed: bytes) -> bytes:
    return SUITE.decrypt(sealed, hpke.MLKEM768X25519PrivateKey(*halves(raw)), info=b"ns1 " + label + h)


def server_keys(seed: bytes) -> tuple[bytes, bytes]:
    """The private KEM key, raw, and S."""
    raw = hashlib.shake_256(seed).digest(96)
    return raw, kem_public(raw)


def client_keys(seed: bytes) -> tuple:
    """The private KEM key, raw, the client public key, and the two signing keys."""
    raw, c = server_keys(expand(seed, b"ns1 client kem"))
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(expand(seed, b"ns1 client ed25519"))
    ml = mldsa.MLDSA65PrivateKey.from_seed_bytes(expand(seed, b"ns1 client mldsa65"))
    return raw, c + publics(ed, ml), ed, ml


def client_id(public: bytes) -> bytes:
    return H(b"ns1 client", public)[:16]


def totp(token: bytes, step: int) -> bytes:
    digest = hmac.digest(token, struct.pack(">Q", step), "sha1")
    return b"%06d" % (struct.unpack_from(">I", digest, digest[-1] & 15)[0] % (1 << 31) % 1000000)


class Symmetric:
    """3.1: the running hash and keys of one handshake."""
    def __init__(self, S: bytes):
        self.h = self.ck = H(b"NitroSocks/1 XWing Ed25519+MLDSA65 AESGCM SHA256")
        self.mix_hash(S)

    def mix_hash(self, data: bytes) -> None:
        self.h = H(self.h, data)

    def mix_key(self, x: bytes) -> None:
        self.ck, self.k, self.n = *struct.unpack("32s32s", hkdf(self.ck, x, b"ns1 mix", 64)), 0

    def mix_key_and_hash(self, x: bytes) -> None:
        self.ck, t, self.k, self.n = *struct.unpack("32s32s32s", hkdf(self.ck, x, b"ns1 mixhash", 96)), 0
        self.mix_hash(t)

    def crypt(self, direction: str, data: bytes) -> bytes:
        """Enc ("encrypt") and Dec ("decrypt")."""
        result = getattr(AESGCM(self.k), direction)(struct.pack(">4xQ", self.n), data, self.h)
        self.n += 1
        self.mix_hash(result if direction == "encrypt" else data)
        return result


class Keys:
    """Section 4: one direction in one epoch."""
    def __init__(self, rk: bytes, d: bytes, encrypt_type: int):
        self.aead = AESGCM(expand(rk, b"ns1 key " + d + bytes([encrypt_type]), 16 * encrypt_type))
        self.iv, self.i, self.octets = int.from_bytes(expand(rk, b"ns1 iv " + d, 12)), 0, 0
        self.mask = Cipher(algorithms.AES(expand(rk, b"ns1 mask " + d)), modes.CTR(bytes(16))).encryptor()

    def crypt(self, function, data: bytes, size: int) -> bytes:
        nonce, self.i, self.octets = (self.iv ^ self.i).to_bytes(12), self.i + 1, self.octets + size
        need(self.i <= 1 << 22 and self.octets <= 1 << 36, "frame keys are used up")
        return function(nonce, data, size.to_bytes(3))

    def seal(self, plain: bytes) -> bytes:
        return self.mask.update(len(plain).to_bytes(3)) + self.crypt(self.aead.encrypt, plain, len(plain))

    def open(self, read) -> bytes:
        size = int.from_bytes(self.mask.update(read(3)))
        need(1 <= size <= MAX + 1, "length out of range")
        return self.crypt(self.aead.decrypt, read(size + 16), size)


class Handshake:
    """What both sides do in a handshake, and the keys that come of it; what one side does alone is in peer.py."""
    mine, other = C2S, S2C

    def _write(self, data: bytes = b"") -> None:
        self.out, data = b"", self.out + data
        self.sock.sendall(data)

    def _read(self, n: int) -> bytes:
        if self.out:
            self._write()
        data = b""
        while len(data) < n:
            data += (more := self.sock.recv(n - len(data)))
            need(more, "the connection ended")
        return data

    def _part(self, writer: bytes, form: str, *fields, pad: int = 0) -> tuple:
        need(pad <= 1024, "pad out of range")
        if writer == self.mine:
            self.out += self.t.crypt("encrypt", struct.pack(f">{form}{pad}x", *fields))
            return fields
        plain = self.t.crypt("decrypt", self._read(struct.calcsize(">" + form) + pad + 16))
        need(not any(plain[len(plain) - pad:]), "padding is not zero")
        return struct.unpack(f">{form}{pad}x", plain)

    def _sealed_part(self, writer: bytes, label: bytes, pk: bytes, raw: bytes, plain: bytes, form: str = "", *fields):
        """A part that ends in a Seal to pk, which raw opens: its other fields, and what the Seal holds."""
        h, sealed = self.t.h, seal(pk, label, self.t.h, plain) if writer == self.mine else b""
        *fields, sealed = self._part(writer, f"{form}{len(plain) + 1136}s", *fields, sealed)
        return *fields, plain if writer == self.mine else unseal(raw, label, h, sealed)

    def _signed_part(self, context: bytes, what: bytes, pad: int) -> bytes:
        """The client's part `what` ‖ both signatures ‖ E' ‖ zeros."""
        message, signatures = context + self.t.h, b""
        if self.mine == C2S:
            signatures = self.ed.sign(message + what + self.next_e_public)
            signatures += self.ml.sign(message + what + self.next_e_public, context)
        fields = what, signatures, self.next_e_public
        what, signatures, self.next_e_public = self._part(C2S, f"{len(what)}s3373s1216s", *fields, pad=pad)
        if self.mine != C2S:
            message += what + self.next_e_public
            ed25519.Ed25519PublicKey.from_public_bytes(self.public[1216:1248]).verify(signatures[:64], message)
            mldsa.MLDSA65PublicKey.from_public_bytes(self.public[1248:]).verify(signatures[64:], message, context)
        return what

    def _first_part(self, kind: int = 0) -> tuple[int, int]:
        """Knock and first Enc of GREETING (kind 1) and RESUME (kind 2)."""
        knock, hour = self._knock()
        self.t = Symmetric(self.S)
        self.t.mix_hash(knock)
        self.t.mix_key_and_hash(expand(self.knock, b"ns1 psk" + hour + knock[:24]))
        fields = kind, randbelow(1025)
        kind, pad, s = self._sealed_part(C2S, b"server", self.S, self.server_raw, urandom(32), "BH", *fields)
        self.seen.add(knock[:24])
        need(pad <= 1024, "pad out of range")
        self.t.mix_key(s)
        self.refusals = {expand(self.t.ck, b"ns1 refused" + bytes([reason])): reason for reason in range(1, 6)}
        return kind, pad

    def _salt_part(self) -> int:
        """The start of CHALLENGE and RECOVERED."""
        salt = urandom(32) if self.mine == S2C else self._read(32)
        reason = self.refusals.get(salt)
        self.over |= reason in (1, 2)
        need(not reason, f"refused: {reason}")
        self.out += salt if self.mine == S2C else b""
        self.t.mix_key_and_hash(salt)
        pad, s = self._sealed_part(S2C, b"ephemeral", self.e_public, self.e, urandom(32), "H", randbelow(1025))
        self.t.mix_key(s)
        return pad

    def _new_session(self, pad: int) -> None:
        client, server = self.mine == C2S, self.mine == S2C
        fields = self.client_id, self.e_public, 1, self.offer, self.own_window  # GREETING
        self.client_id, self.e_public, version, self.offer, window = self._part(C2S, "16s1216sIII", *fields, pad=pad)
        need(client or 1 << 16 <= window <= 1 << 26, "window out of bounds")
        if server:
            self._admit(version)
        pad, choice = self._salt_part(), urandom(64) + struct.pack(">II", self.encrypt_type, 1)  # CHALLENGE
        choice, = self._sealed_part(S2C, b"challenge", self.public[:1216], self.client_raw, choice)
        self.encrypt_type, version = struct.unpack(">II", choice[64:])
        offered = self.encrypt_type in (1, 2) and self.offer >> self.encrypt_type & 1
        need(server or offered and version == 1, "encryptType or version was not offered")
        self.t.mix_key(choice[:64])
        self.t.mix_key_and_hash(expand(self.token, b"ns1 token"))
        fields = int(self.now() * 1000), self.certificate_hash
        self.server_ms, self.certificate_hash = self._part(S2C, "Q32s", *fields, pad=pad)
        pad, = self._part(C2S, "H", randbelow(1025))  # RESPONSE
        step = (self.server_ms if client else int(self.now() * 1000)) // 30000
        proofs = [H(H(self.token, choice[:32]), totp(self.token, near)) for near in (step, step - 1, step + 1)]
        proof = self._signed_part(b"ns1 response", proofs[0], pad)
        need(client or sum(hmac.compare_digest(proof, each) for each in proofs), "proof")
        address = struct.pack(">H", len(self.address)) + self.address.encode()  # SESSION
        fields = urandom(32), urandom(16), self.own_window, self.resume_seconds, self.heartbeat
        fields = self._part(S2C, "H32s16sIII", len(address) + randbelow(1025), *fields)
        rest, key, self.session_id, self.window, self.resume_seconds, self.heartbeat = fields
        need(server or 1 << 16 <= self.window <= 1 << 26, "window out of bounds")
        need(server or self.resume_seconds <= 86400 and 5 <= self.heartbeat <= 300, "resume or heartbeat out of bounds")
        need(2 <= rest <= 1281, "rest out of bounds")
        plain, = self._part(S2C, f"{rest}s", address)
        n = int.from_bytes(plain[:2])
        need(n <= 255 and n + 2 <= rest <= n + 1026 and not any(plain[n + 2:]), "address or padding")
        self.address, self.window = plain[2:n + 2].decode(), window if server else self.window
        self.t.mix_key_and_hash(key)
        self._start(False)

    def _recover(self, pad: int, consumed: int | None) -> None:
        fields = self.session_id, self.j, self.e_public  # RESUME
        self.session_id, j, self.e_public = self._part(C2S, "16sI1216s", *fields)
        if self.mine == S2C:
            self._find(j, pad)
        self.t.mix_key_and_hash(self.rs)
        received, = struct.unpack(">Q", self._signed_part(b"ns1 resume", struct.pack(">Q", self.received), pad))
        if self.mine == S2C:
            self._detach(j, received)
        pad = self._salt_part()  # RECOVERED
        key, = self._sealed_part(S2C, b"recovery", self.public[:1216], self.client_raw, urandom(32))
        self.t.mix_key_and_hash(key)
        stated, self.certificate_hash = self._part(S2C, "Q32s", self.received, self.certificate_hash, pad=pad)
        self._start(True)
        received = received if self.mine == S2C else stated
        self._move(received)
        self.ack(consumed)
        for kind, payload in self.kept[received - self.acked:]:
            self.send(kind, payload, again=True)

    def _start(self, resumed: bool) -> None:
        """3.4; `first`: the next frame to come must be an ACK."""
        if self.out:
            self._write()
        self.hs, self.rk, self.epoch = self.t.h, expand(self.t.ck, b"ns1 root"), 0
        self.rs = self.rs if resumed else expand(self.t.ck, b"ns1 resume")
        self.keys_out, self.keys_in = (Keys(self.rk, d, self.encrypt_type) for d in (self.mine, self.other))
        self.next_rk, self.refreshing, self.pings, self.first = b"", False, [], resumed

    def _refresh_h(self) -> bytes:
        return H(self.hs, struct.pack(">I", self.epoch))

    def _next_root(self, secret: bytes, refresh: bytes, refreshed: bytes) -> None:
        self.next_rk = hkdf(self.rk, secret, b"ns1 refresh" + H(refresh, refreshed))

    def _turn(self, d: bytes) -> Keys:
        """The refresh is complete; the new keys of direction d."""
        self.rk, self.next_rk, self.epoch, self.refreshing = self.next_rk, b"", self.epoch + 1, False
        return Keys(self.rk, d, self.encrypt_type)
