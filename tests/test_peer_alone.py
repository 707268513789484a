"""The second endpoint alone: against the recorded runs, and against itself."""
import hashlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path

import peer
import pytest
from peer import C2S, S2C, Client, Feed, Keys, PeerError, Server, client_id, client_keys, expand
from peer_wire import Symmetric, totp

VECTORS = json.loads((Path(__file__).parent / "vectors" / "ns1.json").read_text())
both_runs = pytest.mark.parametrize("run", VECTORS["runs"], ids=["aes128", "aes256"])
SEED, CLIENT_SEED, TOKEN, NOW = b"s" * 32, b"c" * 32, b"t" * 32, 1_800_000_000.5
CLOCK, HOUR, HOST, b = repeat(NOW).__next__, int(NOW // 3600), b"\1\0\7host", bytes.fromhex
PUBLIC, ALIEN, SERVER_PUBLIC = client_keys(CLIENT_SEED)[1], client_keys(TOKEN)[1], peer.server_keys(SEED)[1]
CLIENTS = {(ID := client_id(PUBLIC)): (PUBLIC, TOKEN)}


class Listener(Server):
    """Has the secrets of both sides and reads all messages of a recorded run, in their order."""
    mine, other = b"", b""

    def __init__(self, run, recorded):
        feed, now = Feed(*map(b, recorded["messages"].values())), repeat(run["server_ms"] / 1000).__next__
        super().__init__(feed, b(run["server_seed"]), {}, now=now, encrypt_type=run["encryptType"])
        self.client_raw, self.public, *_ = client_keys(b(run["client_seed"]))
        self.e, self.token, self.rs = b(recorded["ephemeral_raw"]), b(run["token"]), b(run["RS"])

    def _move(self, received):
        self.stated = received


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
    assert side.session_id.hex() == run["session_id"] and not side.sock.data.read()
    return side


@both_runs
def test_recorded_handshake(run, steps):
    assert peer.server_keys(b(run["server_seed"]))[1].hex() == run["server_public"]
    assert client_keys(b(run["client_seed"]))[1].hex() == run["client_public"]
    knock = peer.hkdf(b"", b(run["server_public"]), b"ns1 knock", 32)
    assert client_id(b(run["client_public"])).hex() == run["client_id"] and knock.hex() == run["knock"]
    assert "/" + expand(knock, b"ns1 path", 16).hex() == run["websocket_path"]
    assert 30 + int.from_bytes(expand(knock, b"ns1 late", 2)) % 61 == run["late_seconds"]
    digits = totp(b(run["token"]), run["server_ms"] // 30000)
    proof = peer.H(peer.H(b(run["token"]), b(run["R1"])), digits)
    assert (digits.decode(), proof.hex()) == (run["totp"], run["proof"])
    side = replayed(run, run, steps)
    assert [side.window, side.resume_seconds, side.heartbeat] == run["window_resume_heartbeat"]
    assert (side.server_ms, side.address) == (run["server_ms"], run["address"])
    shown = side.rs.hex(), side.client_id.hex(), side.certificate_hash.hex()
    assert shown == (run["RS"], run["client_id"], run["certificate_hash"])
    assert {str(reason): key.hex() for key, reason in side.refusals.items()} == run["refusals"]
    assert side.next_e_public == peer.kem_public(b(run["next_ephemeral_raw"]))


@both_runs
def test_recorded_recovery(run, steps):
    recorded = run["recovery"]
    assert replayed(run, recorded, steps).stated == recorded["server_received"]
    old = Listener(run, run)  # and now at a server that has the session
    for sent, acked, known, j, error in (
            (7, 0, True, 4, "the connection ended"), (7, 0, True, 5, "j is not above the last"),
            (6, 0, True, 4, "refused: 2"), (9, 8, True, 4, "refused: 2"), (7, 0, False, 4, "refused: 1")):
        old.sent, old.acked, old.j, old.client_id, sessions = sent, acked, j, ID, {b(run["session_id"]): old}
        server = Server(Feed(b(recorded["messages"]["RESUME"])), b(run["server_seed"]), {ID: ()} if known else {},
                        sessions=sessions, now=old.now)
        assert error in together(server.accept)[0]
        assert bool(sessions) == ("refused" not in error) and old.detached and old.j == 5
        assert server.refusals.get(server.sock.written) == (int(error[-1]) if "refused" in error else None)


@both_runs
@pytest.mark.parametrize(("message", "before", "plain"), [  # the Encs before it, and the parts of it that are none
    ("GREETING", 0, 2), ("CHALLENGE", 2, 1), ("RESPONSE", 5, 0), ("SESSION", 7, 0),
    ("RESUME", 0, 2), ("RECOVERED", 3, 1)])
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
        sealing, opening = (Keys(b(run["RK"]), d, run["encryptType"]) for _ in range(2))
        for frame in frames:
            while sealing.i < frame["i"]:
                opening.open(Feed(sealing.seal(b"\x23")).recv)
            plain = b"\x13" + bytes(65536) if frame["wire"] is None else b(frame["plaintext"])
            wire = sealing.seal(plain)
            assert hashlib.sha256(wire).hexdigest() == frame["wire_sha256"] and opening.open(Feed(wire).recv) == plain


@pytest.mark.parametrize("bad", VECTORS["frames_that_must_not_open"]["bad"], ids=lambda bad: bad["why"])
def test_frames_that_must_not_open(bad):
    recorded = VECTORS["frames_that_must_not_open"]
    server = Server(Feed(b(bad["wire"])), SEED, {})
    server.keys_in, keys = (Keys(b(recorded["RK"]), C2S, recorded["encryptType"]) for _ in range(2))
    error, = together(server.recv)
    assert {"tag": "InvalidTag", "length": "length", "incomplete": "ended"}[bad["expect"]] in error
    assert keys.open(Feed(b(recorded["good"])).recv)


@both_runs
def test_recorded_refresh(run):
    side, recorded = Listener(run, run), run["refresh"]
    side.accept()
    side.asked, refreshed, side.refreshing, side.other = b(recorded["REFRESH"]), b(recorded["REFRESHED"]), True, C2S
    side.secret = peer.unseal(b(recorded["ephemeral_raw"]), b"refresh ephemeral", side._refresh_h(), side.asked[:1168])
    side.secret += peer.unseal(side.client_raw, b"refresh client", side._refresh_h(), side.asked[1168:])
    side.keys_in, side.keys_out = (Keys(side.rk, d, side.encrypt_type) for d in (C2S, S2C))
    side.sock = Feed(Keys(side.rk, C2S, side.encrypt_type).seal(b"\x25" + refreshed))
    assert side.recv() == (peer.REFRESHED, refreshed)
    side.switch()
    assert side.sock.written == Keys(b(run["RK"]), S2C, side.encrypt_type).seal(b"\x26" + b(recorded["SWITCH"]))
    check_keys(side, recorded)


def together(*calls):
    """Run the calls at once, each in a thread: what they raised, or "" each."""
    with ThreadPoolExecutor() as pool:
        errors = [future.exception() for future in [pool.submit(call) for call in calls]]
    assert all(isinstance(error, PeerError | None) for error in errors), errors
    return [str(error or "") for error in errors]


@pytest.fixture
def pair():
    with ExitStack() as stack:
        yield lambda: [stack.enter_context(sock) for sock in socket.socketpair()]


def two(socks, options=(), clients=CLIENTS, now=CLOCK, greet=True, **server_options):
    client = Client(socks[0], SERVER_PUBLIC, CLIENT_SEED, TOKEN, **{"now": CLOCK, **dict(options)})
    server = Server(socks[1], SEED, clients, now=now, **server_options)
    assert not greet or together(client.greet, server.accept) == ["", ""]
    return client, server


def reconnected(socks, client, old, clients=CLIENTS, refuse=0):
    server = Server(socks[1], SEED, clients, sessions=old.sessions, now=CLOCK)
    server.refuse = refuse
    return server, together(lambda: client.resume(socks[0]), server.accept)


def passed(sender, receiver, kind, payload=b""):
    sender.send(kind, payload)
    assert receiver.recv() == (kind, payload)


def refreshed(client, server):
    server.refresh()
    client.answer_refresh(client.recv()[1])
    client.send(peer.PAD, b"new keys")
    assert server.recv()[0] == peer.REFRESHED and server.recv() == (peer.PAD, b"new keys")
    passed(server, client, peer.PAD, b"old keys")
    server.switch()
    assert client.recv()[0] == peer.SWITCH and (client.rk, client.epoch) == (server.rk, server.epoch)
    passed(server, client, peer.PAD, b"new keys")


@pytest.mark.parametrize("encrypt_type", [1, 2])
def test_greet_and_frames(pair, encrypt_type):
    options = {"window": 1 << 17, "resume": 7, "heartbeat": 9, "address": "h.test:1", "encrypt_type": encrypt_type}
    client, server = two(pair(), {"hour": HOUR + 1}, **options)
    assert (client.window, client.resume_seconds, client.heartbeat, client.address) == (1 << 17, 7, 9, "h.test:1")
    assert (client.encrypt_type, client.server_ms, server.window) == (encrypt_type, int(NOW * 1000), 1 << 20)
    passed(client, server, peer.OPEN, HOST)
    passed(server, client, peer.OPENED, HOST[1:])
    passed(client, server, peer.DATA, b"x" * 65536)
    passed(server, client, peer.PING, b"12345678")
    client.pong(b"12345678")
    server.ack()
    assert server.recv()[0] == peer.PONG and client.recv() == (peer.ACK, bytes(7) + b"\2")
    assert (client.sent, client.received, client.kept, len(server.kept)) == (2, 1, [], 1)


@pytest.mark.parametrize(("options", "server_options", "errors"), [
    ({"hour": HOUR + 2}, {}, ["", "not one of ours"]), ({}, {"clients": {}}, ["refused: 1", "refused: 1"]),
    ({"window": 65535}, {}, ["ended", "window"]), ({"offer": 8}, {}, ["refused: 4", "refused: 4"]),
    ({}, {"clients": {ID: (PUBLIC, ALIEN[:32])}}, ["InvalidTag", ""]), ({}, {"window": 65535}, ["window", ""]),
    ({}, {"clients": {ID: (ALIEN[:1216] + PUBLIC[1216:], TOKEN)}}, ["InvalidTag", ""]),
    ({}, {"clients": {ID: (PUBLIC[:1216] + ALIEN[1216:1248] + PUBLIC[1248:], TOKEN)}}, ["ended", "Signature"]),
    ({}, {"clients": {ID: (PUBLIC[:1248] + ALIEN[1248:], TOKEN)}}, ["ended", "Signature"]),
    ({}, {"now": iter([NOW, NOW, NOW + 90]).__next__}, ["ended", "proof"]), ({}, {"heartbeat": 4}, ["heartbeat", ""])])
def test_greetings_that_fail(pair, options, server_options, errors):
    client, server = two(pair(), options, greet=False, **server_options)
    assert all(map(str.__contains__, together(client.greet, server.accept), errors))


@pytest.mark.parametrize("reason", [1, 2, 3, 4, 5])
def test_refusals(pair, reason):
    client, server = two(pair(), greet=False)
    server.refuse = reason
    assert together(client.greet, server.accept) == [f"refused: {reason}"] * 2
    client, server = two(pair())
    server.over = reason == 2
    again = reconnected(pair(), client, server, {} if reason == 1 else CLIENTS, reason if reason > 2 else 0)
    assert again[1] == [f"refused: {reason}"] * 2 and client.over == (reason < 3)
    client, server = two(pair())
    client.acked = client.sent = reason
    assert reconnected(pair(), client, server)[1] == ["received is out of range", "the session is over"]


def test_resume_refresh_release(pair):
    client, server = two(pair())
    refreshed(client, server)
    passed(client, server, peer.OPEN, HOST)
    passed(client, server, peer.DATA, b"arrives")
    client.send(peer.DATA, b"lost")
    server.send(peer.OPENED, b"\0\7lost")
    server.refresh()  # this is forgotten
    lost = Feed()
    assert together(lambda: client.resume(lost)) == ["the connection ended"]
    for error in ("the connection ended", "j is not above the last"):
        attempt = Server(Feed(lost.written), SEED, CLIENTS, sessions=server.sessions, now=CLOCK)
        assert together(attempt.accept) == [error] and server.detached and list(server.sessions.values()) == [server]
    again, errors = reconnected(pair(), client, server)
    assert errors == ["", ""] and list(again.sessions.values()) == [again] and client.j == again.j == 2
    assert client.recv() == (peer.ACK, bytes(7) + b"\2") and client.recv() == (peer.OPENED, b"\0\7lost")
    assert again.recv() == (peer.DATA, b"lost") and client.epoch == 0 and client.rs == again.rs
    assert (client.sent, client.received, again.sent, again.received) == (3, 1, 1, 3) and len(client.kept) == 1
    refreshed(client, again)
    passed(client, again, peer.END)
    passed(again, client, peer.END)
    assert together(client.release, lambda: [again.recv(), again.release()]) == ["", ""] and not again.sessions


@pytest.mark.parametrize(("before", "kind", "payload"), [  # before: an OPEN and so many DATA less one
    (0, 0x16, b""), (0, peer.OPENED, HOST), (0, peer.DATA, b"x"), (0, peer.OPEN, b"\4\0\7h"), (0, peer.ABORT, b""),
    (0, peer.OPEN, HOST + b"\xff"), (0, peer.ACK, bytes(7) + b"\1"), (0, peer.PONG, bytes(32)), (0, peer.END, b""),
    (0, peer.REFRESHED, bytes(2384)), (1, peer.OPEN, HOST), (1, peer.DISCONNECT, b""), (1025, peer.DATA, b"x")])
def test_frames_that_a_client_may_not_send(pair, before, kind, payload):
    client, server = two(pair())
    for i in range(before):
        passed(client, server, peer.DATA if i else peer.OPEN, HOST)
    client.send(kind, payload)
    assert together(server.recv) != [""] and server.sock.fileno() == -1


@pytest.mark.parametrize("name", ["conversation", "conversation_2"])
def test_recorded_conversations(pair, name):
    (client, server), rows = two(pair()), VECTORS[name]["frames"]
    turn = next((i for i, row in enumerate(rows) if "reconnection" in row), 99)
    for i, row in enumerate(rows):
        if i == turn:
            server, errors = reconnected(pair(), client, server)
            received = {"client_received": client.received, "server_received": server.received}
            assert errors == ["", ""] and row["reconnection"] == row["reconnection"] | received
            continue
        sender, receiver = (client, server) if row["sender"] == "client" else (server, client)
        kind, payload = b(row["frame"])[0], b(row["frame"])[1:]
        if not turn < i < turn + 5:  # the reconnection itself has sent these
            sender.send(kind, payload)
        if i not in (turn - 2, turn - 1, turn + 1):  # two are lost, and the server has read the first ACK
            assert receiver.recv() == (kind, payload)
        if not turn - 2 <= i < turn + 4:
            now = {"client_kept": len(client.kept), "server_kept": len(server.kept), "client_sent": client.sent,
                   "server_sent": server.sent, "stream": row["after"].get("stream")}
            assert now == now | row["after"]
            if row["after"].get("stream") in ("idle", "opening", "parked"):
                assert client.stream == server.stream in (row["after"]["stream"], "refused")
    assert client.leaving and server.over
