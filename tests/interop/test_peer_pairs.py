"""The second endpoint against itself: a client and a server of peer.py, under the judge and without it."""
import json
import socket
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from threading import Thread

import peer
import pytest
from peer import client_keys
from peer_judge import Client, Feed, Server, together

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
SEED, CLIENT_SEED, TOKEN, NOW = b"s" * 32, b"c" * 32, b"t" * 32, 1_800_000_000.5
CLOCK, HOST, b = repeat(NOW).__next__, b"\1\0\7host", bytes.fromhex
PUBLIC, ALIEN, SERVER_PUBLIC = client_keys(CLIENT_SEED)[1], client_keys(TOKEN)[1], Server(None, SEED, {}).S
CLIENTS = {(ID := peer.H(b"ns1 client", PUBLIC)[:16]): (PUBLIC, TOKEN)}


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
    client.answer(*client.recv())
    client.send(peer.PAD, b"new keys")
    assert server.recv()[0] == peer.REFRESHED and server.recv() == (peer.PAD, b"new keys")
    passed(server, client, peer.PAD, b"old keys")
    server.answer(peer.REFRESHED, b"")
    assert client.recv()[0] == peer.SWITCH and (client.rk, client.epoch) == (server.rk, server.epoch)
    passed(server, client, peer.PAD, b"new keys")


@pytest.mark.parametrize("encrypt_type", [1, 2])
def test_greet_and_frames(pair, encrypt_type):
    options = {"server_window": 1 << 17, "resume_seconds": 7, "heartbeat": 9, "address": "h.test:1"}
    client, server = two(pair(), {"now": lambda: NOW + 3600}, encrypt_type=encrypt_type, **options)
    assert {name: getattr(client, name) for name in options} == options
    assert (client.encrypt_type, client.server_ms, server.client_window) == (encrypt_type, int(NOW * 1000), 1 << 20)
    passed(client, server, peer.OPEN, HOST)
    passed(server, client, peer.OPENED, HOST[1:])
    passed(client, server, peer.DATA, b"x" * 65536)
    passed(server, client, peer.PING, b"12345678")
    client.answer(peer.PING, b"12345678")
    server.ack()
    assert server.recv()[0] == peer.PONG and client.recv() == (peer.ACK, bytes(7) + b"\2")
    assert (client.sent, client.received, client.kept, len(server.kept)) == (2, 1, [], 1)


@pytest.mark.parametrize(("options", "server_options", "errors"), [
    ({"now": lambda: NOW + 7200}, {}, ["", "not one of ours"]), ({}, {"clients": {}}, ["refused: 1", "refused: 1"]),
    ({"client_window": 65535}, {}, ["ended", "window"]), ({"offer": 8}, {}, ["refused: 4", "refused: 4"]),
    ({}, {"clients": {ID: (PUBLIC, ALIEN[:32])}}, ["InvalidTag", ""]), ({}, {"server_window": 65535}, ["window", ""]),
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


def test_an_endpoint_needs_no_judge(pair):
    """Both sides as they are in peer.py, and no more: a session with frames, a refresh, a resumption and a release."""
    (near, far), (near_again, far_again) = pair(), pair()
    client = peer.Client(near, SERVER_PUBLIC, CLIENT_SEED, TOKEN)
    server = peer.Server(far, SEED, CLIENTS)

    def serve():
        server.greet()
        assert server.recv() == (peer.OPEN, HOST)
        server.send(peer.OPENED, HOST[1:])
        server.refresh()
        while (frame := server.recv())[0] != peer.ACK:
            server.answer(*frame)
        server.send(peer.DATA, b"lost")
        server.greet(far_again)
        while not server.leaving:
            server.answer(*server.recv())
        server.release()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    client.greet()
    client.send(peer.OPEN, HOST)
    assert client.recv() == (peer.OPENED, HOST[1:])
    client.answer(*client.recv())
    client.send(peer.PING, b"12345678")
    assert [client.recv()[0], client.recv()] == [peer.SWITCH, (peer.PONG, peer.H(b"12345678"))] and client.epoch == 1
    client.ack()
    client.greet(near_again)
    assert [client.recv()[0], client.recv()] == [peer.ACK, (peer.DATA, b"lost")] and client.epoch == 0
    client.release()
    thread.join(20)
    assert server.over and (server.received, server.j, server.rs) == (1, 1, client.rs)


def test_the_judge_knows_the_options():
    with pytest.raises(TypeError, match="window"):
        Client(None, SERVER_PUBLIC, CLIENT_SEED, TOKEN, window=1 << 20)
