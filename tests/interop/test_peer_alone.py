"""The second endpoint alone: against the recorded runs. Against itself it is in test_peer_pairs.py."""

import base64
import hashlib
import hmac
import json
from itertools import repeat
from pathlib import Path

import peer
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from peer import C2S, S2C, Keys, Symmetric, client_keys, expand
from peer_judge import Client, Feed, Server, together

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
both_runs = pytest.mark.parametrize("run", VECTORS["runs"], ids=["aes128", "aes256"])
b, ID = bytes.fromhex, bytes(16)


class Listener(Server):
    """Has the secrets of both sides and reads all messages of a recorded run, in their order."""

    mine, other = b"", b""

    def __init__(self, run, recorded):
        feed, now = Feed(*map(b, recorded["messages"].values())), repeat(run["server_ms"] / 1000).__next__
        super().__init__(feed, b(run["server_seed"]), {}, now=now, encrypt_type=run["encryptType"])
        self.client_kem, self.public, *_ = client_keys(b(run["client_seed"]))
        self.recorded_e, self.token, self.rs = b(recorded["ephemeral_raw"]), b(run["token"]), b(run["RS"])

    def _salt_part(self):
        self.e, _ = peer.kem_keys(self.recorded_e)
        super()._salt_part()

    def _move(self):
        """There is nobody to move it."""


@pytest.fixture
def steps(monkeypatch):
    """The operations on the symmetric state, as the recorded runs have them."""

    def logged(op, method):
        def run(self, *args):
            out = method(self, *args)
            done.append((op, (out or args[0]).hex(), self.h.hex(), self.ck.hex()))
            return out

        return run

    done, names = [], {"__init__": "start", "mix_key": "MixKey", "mix_key_and_hash": "MixKeyAndHash", "crypt": "Enc"}
    for name, op in names.items():
        monkeypatch.setattr(Symmetric, name, logged(op, getattr(Symmetric, name)))
    return done


def token(knock, hour, ident, what, n):
    """6: the path of a carrier's request."""
    hour = hour.to_bytes(8)
    aes = Cipher(algorithms.AES(expand(knock, b"ns1 carrier" + hour)), modes.ECB()).encryptor()
    block = aes.update(ident + bytes([what]) + n.to_bytes(5))
    tag = hmac.digest(expand(knock, b"ns1 carrier tag" + hour), block, "sha256")[:16]
    return base64.urlsafe_b64encode(block + tag).decode().rstrip("=")


@both_runs
def test_recorded_tokens_of_carriers(run):
    recorded = run["carrier"]
    for row in recorded["tokens"]:
        assert token(b(run["knock"]), recorded["hour"], b(recorded["id"]), row["what"], row["n"]) == row["token"]


def check_keys(side, recorded):
    assert (side.hs.hex(), side.rk.hex()) == (recorded.get("hs", side.hs.hex()), recorded["RK"])
    for name, key in recorded["frame_keys"].items():
        info = f"ns1 {name}".encode() + (bytes([side.encrypt_type]) if "key" in name else b"")
        assert expand(side.rk, info, len(b(key))).hex() == key


def replayed(run, recorded, steps):
    side = Listener(run, recorded)
    side.accept()
    assert steps == [(step["op"], step["input"], step["h"], step["ck"]) for step in recorded["steps"]]
    check_keys(side, recorded)
    session_id = side.asked_id if side.kind == 2 else side.session_id
    assert session_id.hex() == run["session_id"] and not side.sock.data.read()
    return side


@both_runs
def test_recorded_handshake(run, steps):
    assert Server(None, b(run["server_seed"]), {}).S.hex() == run["server_public"]
    assert client_keys(b(run["client_seed"]))[1].hex() == run["client_public"]
    knock = peer.hkdf(b"", b(run["server_public"]), b"ns1 knock", 32)
    client = Client(None, b(run["server_public"]), b(run["client_seed"]), b"")
    assert (client.client_id.hex(), client.knock.hex(), knock) == (run["client_id"], run["knock"], client.knock)
    assert 30 + int.from_bytes(expand(knock, b"ns1 late", 2)) % 61 == run["late_seconds"]
    digits = TOTP(b(run["token"]), 6, hashes.SHA1(), 30).generate(run["server_ms"] // 1000)
    proof = peer.H(peer.H(b(run["token"]), b(run["R1"])), digits)
    assert (digits.decode(), proof.hex()) == (run["totp"], run["proof"])
    side = replayed(run, run, steps)
    assert [side.server_window, side.resume_seconds, side.heartbeat] == run["window_resume_heartbeat"]
    assert (side.server_ms, side.address) == (run["server_ms"], run["address"])
    shown = side.rs.hex(), side.client_id.hex(), side.certificate_hash.hex()
    assert shown == (run["RS"], run["client_id"], run["certificate_hash"])
    assert {str(reason): key.hex() for reason, key in enumerate(side.salts[1:], 1)} == run["refusals"]
    assert side.next_e_public == peer.kem_keys(b(run["next_ephemeral_raw"]))[1]


@both_runs
def test_recorded_recovery(run, steps):
    recorded = run["recovery"]
    assert replayed(run, recorded, steps).stated == recorded["server_received"]
    old = Listener(run, run)  # and now at a server that has the session
    for sent, acked, known, j, error in (
        (7, 0, True, 4, "the connection ended"),
        (7, 0, True, 5, "j is not above the last"),
        (6, 0, True, 4, "refused: 2"),
        (9, 8, True, 4, "refused: 2"),
        (7, 0, False, 4, "refused: 1"),
    ):
        old.sent, old.acked, old.j, old.client_id, old.session_id = sent, acked, j, ID, b(run["session_id"])
        sessions = {old.session_id: old}
        server = Server(
            Feed(b(recorded["messages"]["RESUME"])),
            b(run["server_seed"]),
            {ID: ()} if known else {},
            sessions=sessions,
            now=old.now,
        )
        assert error in together(server.accept)[0]
        assert bool(sessions) == ("refused" not in error) and old.detached and old.j == 5
        refusals = {key: reason for reason, key in enumerate(server.salts[1:], 1)}
        assert refusals.get(server.sock.written) == (int(error[-1]) if "refused" in error else None)


@both_runs
@pytest.mark.parametrize(
    ("message", "before", "plain"),
    [  # the Encs before it, and the parts of it that are none
        ("GREETING", 0, 2),
        ("CHALLENGE", 2, 1),
        ("RESPONSE", 5, 0),
        ("SESSION", 7, 0),
        ("RESUME", 0, 2),
        ("RECOVERED", 3, 1),
    ],
)
def test_a_flipped_bit_fails_in_its_part(run, steps, message, before, plain):
    recorded = run if message in run["messages"] else run["recovery"]
    for part, at in enumerate(recorded["part_offsets"][message]):
        flipped = bytearray(b(recorded["messages"][message]))
        flipped[at] ^= 1
        side = Listener(run, recorded | {"messages": recorded["messages"] | {message: flipped.hex()}})
        steps.clear()
        assert together(side.accept) != [""] and side.sock.closed
        assert [step[0] for step in steps].count("Enc") == before + max(0, part - plain)


@both_runs
def test_recorded_frames(run):
    for d, frames in ((C2S, run["frames_c2s"]), (S2C, run["frames_s2c"])):
        sealing, opening, i = *(Keys(b(run["RK"]), d, run["encryptType"]) for _ in range(2)), 0
        for frame in frames:
            for _ in range(i, frame["i"]):
                opening.open(Feed(sealing.seal(b"\x23")).recv)
            i = frame["i"] + 1
            plain = b"\x13" + bytes(65536) if frame["wire"] is None else b(frame["plaintext"])
            wire = sealing.seal(plain)
            assert hashlib.sha256(wire).hexdigest() == frame["wire_sha256"] and opening.open(Feed(wire).recv) == plain


@pytest.mark.parametrize("bad", VECTORS["frames_that_must_not_open"]["bad"], ids=lambda bad: bad["why"])
def test_frames_that_must_not_open(bad):
    recorded = VECTORS["frames_that_must_not_open"]
    server = Server(Feed(b(bad["wire"])), bytes(32), {})
    server.keys, keys = ({C2S: Keys(b(recorded["RK"]), C2S, recorded["encryptType"])} for _ in range(2))
    (error,) = together(server.recv)
    assert {"tag": "InvalidTag", "length": "length", "incomplete": "ended"}[bad["expect"]] in error
    assert keys[C2S].open(Feed(b(recorded["good"])).recv)


@both_runs
def test_recorded_refresh(run):
    side, recorded = Listener(run, run), run["refresh"]
    side.accept()
    side.asked, refreshed, side.mine, side.other = b(recorded["REFRESH"]), b(recorded["REFRESHED"]), S2C, C2S
    (e, _), h = peer.kem_keys(b(recorded["ephemeral_raw"])), peer.H(side.hs, bytes(4))
    side.secret = peer.SUITE.decrypt(side.asked[:1168], e, info=b"ns1 refresh ephemeral" + h)
    side.secret += peer.SUITE.decrypt(side.asked[1168:], side.client_kem, info=b"ns1 refresh client" + h)
    side.sock = Feed(Keys(side.rk, C2S, side.encrypt_type).seal(b"\x25" + refreshed))
    assert side.recv() == (peer.REFRESHED, refreshed)
    side.answer(peer.REFRESHED, refreshed)
    assert side.sock.written == Keys(b(run["RK"]), S2C, side.encrypt_type).seal(b"\x26" + b(recorded["SWITCH"]))
    check_keys(side, recorded)
