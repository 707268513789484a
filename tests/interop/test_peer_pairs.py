"""The second endpoint against itself: a client and a server of peer.py, under the judge and without it."""

import json
from pathlib import Path
from threading import Thread

import peer
import pytest
from pairs import CLIENT_SEED, CLIENTS, CLOCK, ID, NOW, PUBLIC, SEED, SERVER_PUBLIC, TOKEN, Pairs, passed, refreshed
from peer import client_keys
from peer_judge import Client, Feed, Server, together
from peer_streams import at

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
ALIEN, N, b = client_keys(TOKEN)[1], bytes(3) + b"\1", bytes.fromhex


@pytest.fixture
def pairs():
    with Pairs() as made:
        yield made


@pytest.mark.parametrize("encrypt_type", [1, 2])
def test_greet_and_frames(pairs, encrypt_type):
    options = {"server_window": 1 << 17, "resume_seconds": 7, "heartbeat": 9, "address": "h.test:1"}
    client, server = pairs.two({"now": lambda: NOW + 3600}, encrypt_type=encrypt_type, **options)
    assert {name: getattr(client, name) for name in options} == options
    assert (client.encrypt_type, client.server_ms, server.client_window) == (encrypt_type, int(NOW * 1000), 1 << 18)
    passed(client, server, peer.OPEN, N + at())
    passed(server, client, peer.OPENED, N + at()[1:])
    passed(client, server, peer.DATA, N + b"x" * 65532)
    passed(server, client, peer.PING, b"12345678")
    client.answer(peer.PING, b"12345678")
    server.ack()
    assert server.recv()[0] == peer.PONG and client.recv() == (peer.ACK, bytes(7) + b"\2")
    assert (client.sent, client.received, client.kept, len(server.kept)) == (2, 1, [], 1)


@pytest.mark.parametrize(
    ("options", "server_options", "errors"),
    [
        ({"now": lambda: NOW + 7200}, {}, ["", "not one of ours"]),
        ({}, {"clients": {}}, ["refused: 1", "refused: 1"]),
        ({"client_window": 65535}, {}, ["ended", "window"]),
        ({"offer": 8}, {}, ["refused: 4", "refused: 4"]),
        ({}, {"clients": {ID: (PUBLIC, ALIEN[:32])}}, ["InvalidTag", ""]),
        ({}, {"server_window": 65535}, ["window", ""]),
        ({}, {"clients": {ID: (ALIEN[:1216] + PUBLIC[1216:], TOKEN)}}, ["InvalidTag", ""]),
        ({}, {"clients": {ID: (PUBLIC[:1216] + ALIEN[1216:1248] + PUBLIC[1248:], TOKEN)}}, ["ended", "Signature"]),
        ({}, {"clients": {ID: (PUBLIC[:1248] + ALIEN[1248:], TOKEN)}}, ["ended", "Signature"]),
        ({}, {"now": iter([NOW, NOW, NOW + 90]).__next__}, ["ended", "proof"]),
        ({}, {"heartbeat": 4}, ["heartbeat", ""]),
    ],
)
def test_greetings_that_fail(pairs, options, server_options, errors):
    client, server = pairs.two(options, greet=False, **server_options)
    assert all(map(str.__contains__, together(client.greet, server.accept), errors))


@pytest.mark.parametrize("reason", [1, 2, 3, 4, 5])
def test_refusals(pairs, reason):
    client, server = pairs.two(greet=False)
    server.refuse = reason
    assert together(client.greet, server.accept) == [f"refused: {reason}"] * 2
    client, server = pairs.two()
    server.over = reason == 2
    again = pairs.reconnected(client, server, {} if reason == 1 else CLIENTS, reason if reason > 2 else 0)
    assert again[1] == [f"refused: {reason}"] * 2 and client.over == (reason < 3)
    client, server = pairs.two()
    client.acked = client.sent = reason
    assert pairs.reconnected(client, server)[1] == ["received is out of range", "the session is over"]


def test_resume_refresh_release(pairs):
    client, server = pairs.two()
    refreshed(client, server)
    passed(client, server, peer.OPEN, N + at())
    passed(client, server, peer.DATA, N + b"arrives")
    client.lose()
    client.data(1, b"lost")
    server.opened(1, host="lost")
    server.refresh()  # this is forgotten
    lost = Feed()
    assert together(lambda: client.resume(lost)) == ["the connection ended"]
    for error in ("the connection ended", "j is not above the last"):
        attempt = Server(Feed(lost.written), SEED, CLIENTS, sessions=server.sessions, now=CLOCK)
        assert together(attempt.accept) == [error] and server.detached and list(server.sessions.values()) == [server]
    again, errors = pairs.reconnected(client, server)
    assert errors == ["", ""] and list(again.sessions.values()) == [again] and client.j == again.j == 2
    assert client.recv() == (peer.ACK, bytes(7) + b"\2") and client.recv() == (peer.OPENED, N + b"\0\7lost")
    assert again.recv() == (peer.DATA, N + b"lost") and client.epoch == 0 and client.rs == again.rs
    assert (client.sent, client.received, again.sent, again.received) == (3, 1, 1, 3) and len(client.kept) == 1
    refreshed(client, again)
    passed(client, again, peer.END, N)
    passed(again, client, peer.END, N)
    assert together(client.release, lambda: [again.recv(), again.release()]) == ["", ""] and not again.sessions


def test_what_was_received_frees_what_is_kept_also_in_a_resumption(pairs):
    client, server = pairs.two()
    for frame in (N + at(), b"\0\0\0\3" + at()):
        passed(client, server, peer.OPEN, frame)
    assert len(client.kept) == 2
    server, errors = pairs.reconnected(client, server)
    assert errors == ["", ""] and (client.kept, client.acked) == ([], 2)
    client.recv()
    server.received = 1  # an ACK below it is wrong
    server.ack()
    assert "ACK out of range" in together(client.recv)[0]


# The recorded conversations


class Replay:
    """The rows of a conversation, said by both sides; what an ACK of a reconnection restates was raised before."""

    def __init__(self, pairs):
        self.pairs, self.streams = pairs, {}
        self.client, self.server = pairs.two({"client_window": 65536}, server_window=65536)

    def row(self, row, lost):
        """One frame, which does not arrive if it is `lost`; then both sides are as it says."""
        sender, receiver = (self.client, self.server) if row["sender"] == "client" else (self.server, self.client)
        kind, payload = b(row["frame"])[0], b(row["frame"])[1:]
        sender.send(kind, payload)
        self.streams = row["after"].get("streams", self.streams)
        if not lost:
            assert receiver.recv() == (kind, payload)
            self.check(row)

    def check(self, row):
        for name in ("client", "server"):
            side, after = getattr(self, name), row["after"]
            assert side.sent == after.get(f"{name}_sent", side.sent)
            assert len(side.kept) == after.get(f"{name}_kept", len(side.kept))
            raised = {int(number): limit for number, limit in after.get(f"{name}_limits", {}).items()}
            assert raised.items() <= {number: stream.may for number, stream in side.streams.items()}.items()
            assert {str(number): stream.state for number, stream in side.alive().items()} == self.streams

    def reconnection(self, row, behind):
        """Cuts; `behind` are the rows that the reconnection itself says: an ACK each, and what is sent again."""
        for number, stream in self.client.alive().items():
            stream.granted = stream.taken + 65536 if number == 2 else stream.granted
        self.server, errors = self.pairs.reconnected(self.client, self.server)
        assert errors == ["", ""]
        received = {"client_received": self.client.received, "server_received": self.server.received}
        assert row["reconnection"] == row["reconnection"] | received
        readers = {"client": self.server, "server": self.client}
        first, *others = [(readers[row["sender"]], b(row["frame"])) for row in behind]
        assert first[0].heard[-1] == (first[1][0], first[1][1:])  # with that it moved
        for receiver, frame in others:
            assert receiver.recv() == (frame[0], frame[1:])
        assert self.client.unrestated == self.server.unrestated == {}


@pytest.mark.parametrize("name", ["conversation", "conversation_2"])
def test_recorded_conversations(pairs, name):
    replay, rows = Replay(pairs), VECTORS[name]["frames"]
    again = [row["frame"] for row in rows if row.get("again")]
    turn = next((i for i, row in enumerate(rows) if "reconnection" in row), len(rows))
    for i, row in enumerate(rows[:turn]):
        replay.row(row, lost=row["frame"] in again and i > turn - 4)
    if turn < len(rows):
        moved = turn + 3 + len(again)
        replay.reconnection(rows[turn], rows[turn + 1 : moved])
        replay.check(rows[moved - 1])
        for row in rows[moved:]:
            replay.row(row, lost=False)
    assert replay.client.leaving and replay.server.over


def test_an_endpoint_needs_no_judge(pairs):
    """Both sides as they are in peer.py, and no more: a session with frames, a refresh, a resumption and a release."""
    (near, far), (near_again, far_again) = pairs.socks(), pairs.socks()
    client = peer.Client(near, SERVER_PUBLIC, CLIENT_SEED, TOKEN)
    server = peer.Server(far, SEED, CLIENTS)

    def serve():
        server.greet()
        assert server.recv() == (peer.OPEN, N + at())
        server.send(peer.OPENED, N + at()[1:])
        server.refresh()
        while (frame := server.recv())[0] != peer.ACK:
            server.answer(*frame)
        server.send(peer.DATA, N + b"lost")
        server.greet(far_again)
        while not server.leaving:
            server.answer(*server.recv())
        server.release()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    client.greet()
    client.send(peer.OPEN, N + at())
    assert client.recv() == (peer.OPENED, N + at()[1:])
    client.answer(*client.recv())
    client.send(peer.PING, b"12345678")
    assert [client.recv()[0], client.recv()] == [peer.SWITCH, (peer.PONG, peer.H(b"12345678"))] and client.epoch == 1
    client.ack()
    client.greet(near_again)
    assert [client.recv()[0], client.recv()] == [peer.ACK, (peer.DATA, N + b"lost")] and client.epoch == 0
    client.release()
    thread.join(20)
    assert server.over and (server.received, server.j, server.rs) == (1, 1, client.rs)


def test_the_judge_knows_the_options():
    with pytest.raises(TypeError, match="window"):
        Client(None, SERVER_PUBLIC, CLIENT_SEED, TOKEN, window=1 << 20)
